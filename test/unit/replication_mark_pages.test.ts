/** Marks of trees with very many objects: bits in pages instead of an object each. */
import t from "tap";
import { BLOCK_BYTES, Level } from "../../core/replication/marks.ts";
import { exportMarks } from "../../core/replication/marks_export.ts";
import { unionMarks } from "../../core/replication/marks_recovery.ts";
import { copyObject, fresh, MIB, recovered } from "./marks_disk.ts";

const MANY = 5000;
const ids = [...Array(MANY).keys()].map((index) => 2 ** 45 + 3 * index);

t.test("very many objects are marked in pages, which a crash and the peer understand", async (t) => {
  const { marks, disk } = fresh({ mostObjects: 10 });
  for (const id of ids) marks.markWhole(id, false, true);
  t.ok(marks.objects.size <= 10, `${marks.objects.size} objects have marks of their own`);
  disk.flush(marks);
  const { marks: after } = recovered(disk, { mostObjects: 10 });
  t.same(
    [...after.dirtyObjects()].sort((a, b) => a - b),
    ids,
    "each is dirty after a crash, and no other",
  );
  t.equal(after.worthlessFrom(ids[77]!), 0);
  const peer = fresh().marks;
  for (const chunk of exportMarks(after)) t.ok(unionMarks(peer, chunk));
  t.equal([...peer.dirtyObjects()].length, MANY);
});

t.test(
  "an object in a page is touched once it is copied, and clean after a durable point; until then a crash makes it dirty",
  async (t) => {
    const { marks, disk } = fresh({ mostObjects: 0 });
    for (const id of ids) marks.markWhole(id, false, true);
    disk.flush(marks);
    t.same(copyObject(marks, ids[0]!, 100, MIB), [0, 100]);
    t.same(copyObject(marks, ids[1]!, 0, MIB), [], "an empty one has no data to copy");
    t.same(
      copyObject(marks, ids[2]!, 3 * MIB, MIB),
      [0, MIB, MIB, MIB, 2 * MIB, MIB],
      "a large one, in pieces",
    );
    t.notOk(ids.slice(0, 3).some((id) => marks.hasDirtyContent(id)));
    disk.flush(marks);
    t.equal([...recovered(disk).marks.dirtyObjects()].length, MANY, "copied is not durable");
    marks.beginPoint();
    copyObject(marks, ids[3]!, 100, MIB);
    const synced = new Set([...marks.pointObjects()].map(({ id }) => id));
    t.same(
      ids.slice(0, 4).map((id) => synced.has(id)),
      [true, true, true, false],
      "the point is about what was copied before it",
    );
    marks.confirmPoint();
    disk.flush(marks);
    const left = new Set(recovered(disk).marks.dirtyObjects());
    t.same(
      ids.filter((id) => !left.has(id)),
      ids.slice(0, 3),
      "what came after it is dirty after a crash",
    );
    marks.peerGone();
    t.same(
      [...marks.dirtyObjects()].sort((a, b) => a - b),
      ids.slice(3),
      "and when the peer goes",
    );
  },
);

t.test("what changes while an object of a page is copied is not forgotten", async (t) => {
  const { marks } = fresh({ mostObjects: 0 });
  const [one, two] = [ids[0]!, ids[1]!];
  for (const id of [one, two]) marks.markWhole(id, false, true);
  marks.copiedAttributes(one);
  marks.touchAttributes(one, Level.DIRTY);
  const range = marks.nextDirty(one, 100, MIB)!;
  marks.copiedData(one, range, 100);
  t.ok(marks.hasDirtyContent(one), "attributes that changed after they were sent");
  t.equal(marks.nextDirty(one, 100, MIB), null, "the data need not be sent again");
  const large = ids[2]!;
  marks.markWhole(large, false, true);
  marks.copiedAttributes(large);
  marks.touchAttributes(large, Level.DIRTY);
  for (let at = marks.nextDirty(large, 3 * MIB, MIB); at !== null; at = marks.nextDirty(large, 3 * MIB, MIB))
    marks.copiedData(large, at, 3 * MIB);
  t.ok(marks.hasDirtyContent(large), "nor those of one that is copied in pieces");
  copyObject(marks, two, 100, MIB);
  marks.touchData(two, 0, 1, Level.DIRTY);
  t.same(copyObject(marks, two, 100, MIB), [0, 100], "data that changed after they were sent");
});

t.test("very many small changes made alone move into pages when the map is written", async (t) => {
  const { marks, disk } = fresh({ mostObjects: 10, activeItems: 4, activeExtents: 4 });
  marks.peerGone();
  const change = (admit: () => boolean): void => {
    for (let tries = 0; !admit(); tries++) {
      disk.flush(marks);
      if (tries > 5) throw new Error("never admitted");
    }
  };
  for (const id of ids.slice(0, 500)) {
    change(() => marks.admitAttributes(id));
    marks.touchAttributes(id, Level.DIRTY);
  }
  for (const id of ids.slice(500, 1000)) {
    change(() => marks.admitData(id, 0, 10));
    marks.touchData(id, 0, 10, Level.DIRTY);
  }
  const large = ids[1000]!;
  change(() => marks.admitData(large, 9 * MIB, 10));
  marks.touchData(large, 9 * MIB, 10, Level.DIRTY);
  disk.map = marks.startRewrite();
  disk.log = marks.rewritten() as Uint8Array<ArrayBuffer>;
  t.ok(marks.objects.size < 30, `${marks.objects.size} objects have marks of their own`);
  for (const side of [marks, recovered(disk).marks]) {
    t.same(
      [...side.dirtyObjects()].sort((a, b) => a - b),
      ids.slice(0, 1001),
    );
    t.equal(side.dirtyBytes(ids[3]!, 4 * MIB), 0, "of which the attributes changed, no data is copied");
  }
  t.equal(
    marks.dirtyBytes(large, 20 * MIB),
    BLOCK_BYTES,
    "what lies deep in a large object is known block by block",
  );
});

t.test("of very many large files with a block changed each, that block is copied and no more", async (t) => {
  const { marks, disk } = fresh({ mostObjects: 10 });
  const size = 1024 * MIB;
  const blockOf = (index: number): number => (index % 29) * BLOCK_BYTES;
  for (const [index, id] of ids.entries()) marks.touchData(id, blockOf(index), 10, Level.DIRTY);
  disk.map = marks.startRewrite();
  disk.log = marks.rewritten() as Uint8Array<ArrayBuffer>;
  t.ok(marks.objects.size < 10, `${marks.objects.size} objects have marks of their own`);
  const after = recovered(disk, { mostObjects: 10 }).marks;
  t.ok(after.objects.size < 10, "nor after a crash");
  t.ok(disk.map.length < MANY * 16, `${disk.map.length} bytes are written at once`);
  const peer = fresh().marks;
  peer.touchData(ids[6]!, 5 * MIB, 10, Level.DIRTY);
  for (const chunk of exportMarks(after)) t.ok(unionMarks(peer, chunk));
  t.same(
    copyObject(peer, ids[6]!, size, MIB),
    [5 * MIB, BLOCK_BYTES, blockOf(6), BLOCK_BYTES],
    "of both nodes",
  );
  peer.touchData(ids[6]!, blockOf(6), 10, Level.DIRTY);
  for (const side of [marks, after, peer]) {
    t.same(new Set(side.dirtyObjects()), new Set(ids));
    t.equal(side.dirtyBytes(ids[7]!, size), BLOCK_BYTES);
    t.same(copyObject(side, ids[7]!, size, MIB), [blockOf(7), BLOCK_BYTES]);
    side.touchData(ids[8]!, 5 * MIB, 10, Level.DIRTY);
    t.same(copyObject(side, ids[8]!, size, MIB), [blockOf(8), BLOCK_BYTES, 5 * MIB, BLOCK_BYTES]);
    side.lapsed(ids[9]!);
    t.notOk(side.hasDirtyContent(ids[9]!), "one that is gone is not copied");
    t.equal([...side.dirtyObjects()].length, MANY - 3);
  }
  marks.beginPoint();
  marks.confirmPoint();
  disk.flush(marks);
  const left = recovered(disk).marks;
  t.notOk(left.hasDirtyContent(ids[7]!), "copied and durable on both: a crash does not bring it back");
  t.ok(left.hasDirtyContent(ids[6]!));
});
