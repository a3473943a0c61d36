/** Descriptions of directories: the same in whatever order the names come, and of one moment only. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { DirectoryDescription, unreadableParts } from "../../core/filesystem/verify/object_description.ts";
import { O_DIRECTORY, O_RDONLY } from "../../core/platform/linux/constants.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import { close, open } from "../../core/platform/linux/libc.ts";
import type { Entry } from "../../core/replication/names.ts";

const directory = mkdtempSync(join(tmpdir(), "holdfast-description-"));
const fd = open(directory, O_RDONLY | O_DIRECTORY);
t.teardown(() => {
  close(fd);
  rmSync(directory, { recursive: true });
});

const entries = (count: number): Entry[] =>
  Array.from({ length: count }, (_, at) => ({ name: `name-${at}`, type: 8, id: 1000 + at }));

/** Describes the directory as if it held these, given in pieces of so many. */
function textOf(found: readonly Entry[], piece: number): string {
  const description = new DirectoryDescription(fd);
  for (let at = 0; at < found.length; at += piece) description.add(found.slice(at, at + piece));
  return description.text(0);
}

for (const count of [100, 4096, 4097, 10_000]) {
  t.test(`${count} names`, (t) => {
    const found = entries(count);
    const text = textOf(found, 100);
    t.equal(textOf([...found].reverse(), 333), text, "in another order, in other pieces");
    t.not(textOf(found.slice(1), 100), text, "one name less");
    const other = found.map((entry, at) => (at === count - 1 ? { ...entry, id: 1 } : entry));
    t.not(textOf(other, 100), text, "another object behind a name");
    t.equal(text.split("\n").filter((line) => line.startsWith("name ")).length, count > 4096 ? 0 : count);
    t.end();
  });
}

t.test("a directory that changed on the way", (t) => {
  const description = new DirectoryDescription(fd);
  t.notOk(description.isTorn);
  writeFileSync(join(directory, "new"), "");
  t.ok(description.isTorn);
  t.notOk(new DirectoryDescription(fd).isTorn);
  t.end();
});

t.test("a directory that cannot be listed", (t) => {
  const text = new DirectoryDescription(fd).text(-errnos.EIO);
  t.same(unreadableParts(text), [{ what: "names", error: "EIO" }]);
  t.end();
});
