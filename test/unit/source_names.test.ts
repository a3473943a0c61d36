/** What PRIM sends of names is bounded by what the target has made of them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { KnownPlaces } from "../../core/filesystem/objects/known_places.ts";
import { BackingTree } from "../../core/filesystem/objects/source_tree.ts";
import { SourceNames } from "../../core/filesystem/primary/reintegration/source_names.ts";
import { ReplicaRoots } from "../../core/filesystem/replica/replica_identity.ts";
import { OrderedStream } from "../../core/filesystem/stream/ordered_stream.ts";
import { StreamReader, StreamWriter } from "../../core/filesystem/stream/stream_buffers.ts";
import { Marks } from "../../core/replication/marks.ts";
import { FrameType } from "../../core/replication/operation.ts";
import { Reintegration } from "../../core/replication/reintegration.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: identities are trusted attributes");

t.test("the names of a large directory are waited for, before more is sent", (t) => {
  const top = mkdtempSync(join(tmpdir(), "holdfast-names-"));
  const large = 5000;
  for (const directory of ["a", "b"]) {
    mkdirSync(join(top, directory));
    for (let file = 0; file < large; file++) writeFileSync(join(top, directory, `${file}`), "");
  }
  const roots = new ReplicaRoots([top], 1);
  const tops = roots.tops([null]);
  const places = new KnownPlaces();
  const marks = new Marks({ nodeNumber: 1, placeOf: (id) => places.get(id) });
  const tree = new BackingTree(tops, places, marks);
  t.teardown(() => {
    tree.close();
    roots.close();
    rmSync(top, { recursive: true });
  });
  const writer = new StreamWriter();
  const outbound = new OrderedStream(marks, writer, places);
  const reintegration = new Reintegration(
    marks,
    tree,
    tops.map(({ id }) => id),
    true,
  );
  const names = new SourceNames(outbound, writer, tree, reintegration, (_, result) => {
    t.fail(`cannot be listed: ${result}`);
  });
  /** Sends until the target is waited for, or all names are sent. */
  const send = (): string => {
    for (;;) {
      names.announce();
      if (names.isHeld) return "held";
      const step = reintegration.next();
      if (step.do === "list") names.list(step.directory);
      else if (step.do === "names") names.send(step.directory);
      else return step.do;
    }
  };
  const held: number[] = [];
  for (let before = outbound.sequence; send() === "held"; before = outbound.sequence) {
    t.equal(names.isHeld, true);
    held.push(outbound.sequence - before);
    outbound.applied = outbound.sequence;
  }
  t.equal(held.length, 3, `announced, and one large directory each time: ${held.join(", ")} frames`);
  t.end();
});

t.test("what is received while a frame is dealt with waits, as long as there is room", (t) => {
  const writer = new StreamWriter();
  const reader = new StreamReader();
  t.teardown(() => {
    reader.close();
  });
  const sealed = new Uint8Array(1 << 20);
  const pushed: number[] = [];
  const { room } = reader;
  // Frames as the writer makes them, cut anywhere.
  let sent = 0;
  const link = {
    isIdle: () => true,
    sendFrame: (plain: Uint8Array) => {
      reader.push(plain);
      pushed.push(plain.length);
    },
  } as unknown as Parameters<StreamWriter["flush"]>[0];
  while (reader.room > 4 * sealed.length) {
    writer.frame.type = FrameType.DATA;
    writer.frame.id = 2 ** 45 + 1;
    writer.frame.sequence = ++sent;
    writer.frame.data.set(sealed, 0, 300_000);
    writer.add();
    writer.flush(link);
  }
  t.equal(reader.room, room - pushed.reduce((sum, length) => sum + length, 0));
  for (let sequence = 1; sequence <= sent; sequence++) {
    if (!reader.next() || reader.frame.sequence !== sequence) t.fail(`frame ${sequence}`);
  }
  t.equal(reader.next(), false);
  t.equal(reader.room, room);
  t.end();
});
