/** How PRIM finds what is not where it was last seen: a little in each turn, however large the tree is. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { KnownPlaces } from "../../core/filesystem/objects/known_places.ts";
import { BackingTree } from "../../core/filesystem/objects/source_tree.ts";
import { ReplicaRoots } from "../../core/filesystem/replica/replica_identity.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import { close } from "../../core/platform/linux/libc.ts";
import { Marks } from "../../core/replication/marks.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: identities are trusted attributes");
const DIRECTORIES = 40;
/** No object has this identity. */
const NOWHERE = 2 ** 45 + 2 ** 30;

t.test("a lost object is looked for a little at a time, and nothing is gone before the end of that", (t) => {
  const top = mkdtempSync(join(tmpdir(), "holdfast-source-"));
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    mkdirSync(join(top, `d${directory}`));
    writeFileSync(join(top, `d${directory}/file`), "");
  }
  const roots = new ReplicaRoots([top], 1);
  const tops = roots.tops([null]);
  const marks = new Marks({ nodeNumber: 1, placeOf: () => null });
  const places = new KnownPlaces();
  const all = new BackingTree(tops, places, marks);
  const known = (path: string): number =>
    path.split("/").reduce((id, name) => {
      const found = all.list(id);
      return typeof found === "number" ? found : found.find((entry) => entry.name === name)!.id;
    }, tops[0]!.id);
  const [file, directory] = [known("d7/file"), known("d9")];
  t.teardown(() => {
    all.close();
    roots.close();
    rmSync(top, { recursive: true });
  });
  // Nothing is known any more, as after a restart.
  const tree = new BackingTree(tops, new KnownPlaces(), marks);
  t.teardown(() => tree.close());
  renameSync(join(top, "d7/file"), join(top, "d30/moved"));
  let turns = 0;
  let fd = tree.opening(file);
  for (; fd === -errnos.EAGAIN; fd = tree.opening(file)) {
    turns++;
    if (turns === 2) t.equal(tree.opening(NOWHERE), -errnos.EAGAIN, "not found so far is not gone");
  }
  t.ok(fd >= 0, "found");
  close(fd);
  t.ok(turns > 1, `in ${turns} turns`);
  const listing = tree.beginListing(directory);
  if (typeof listing === "number") t.fail("a directory that the walk met is known");
  else listing.close();
  let gone = tree.opening(NOWHERE);
  while (gone === -errnos.EAGAIN) gone = tree.opening(NOWHERE);
  t.equal(gone, -errnos.ENOENT, "not found anywhere is gone");
  t.end();
});
