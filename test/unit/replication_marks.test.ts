import t from "tap";
import { crc32, putU32 } from "../../core/replication/binary.ts";
import { objectFor } from "../../core/replication/marked_objects.ts";
import {
  BLOCK_BYTES,
  EXTENT_BYTES,
  firstNewIdentity,
  IDENTITY_BLOCK,
  Level,
} from "../../core/replication/marks.ts";
import { exportMarks } from "../../core/replication/marks_export.ts";
import { unionMarks } from "../../core/replication/marks_recovery.ts";
import { Decision, Reintegration } from "../../core/replication/reintegration.ts";
import { copyObject, fresh, MIB, recovered } from "./marks_disk.ts";

t.test("trap 2: the mark is on disk before the data can be", async (t) => {
  const { marks, disk } = fresh();
  t.notOk(marks.admitData(7, 5 * MIB, 10), "not before the log is durable");
  t.notOk(marks.admitData(7, 5 * MIB, 10));
  disk.flush(marks);
  t.ok(marks.admitData(7, 5 * MIB, 10));
  t.equal(marks.takeLog(), null, "a second write to an active extent costs nothing");
  t.ok(marks.admitAttributes(7), "the mtime follows: the attributes became active with the data");
  const { marks: after, fault } = recovered(disk);
  t.equal(fault, null);
  t.ok(after.isRangeDirty(7, 4 * MIB, 4 * MIB), "the whole extent, whether it was written or not");
  t.notOk(after.isRangeDirty(7, 0, 10));
  t.same(objectFor(after.objects, 7).place, { parent: 1, name: "n7" }, "and it can be found again");
});

t.test(
  "trap 3: touched is dirty when the peer goes, clean after a durable point, and a later touch stays",
  async (t) => {
    const { marks, disk } = fresh();
    marks.admitData(7, 0, 3 * BLOCK_BYTES);
    disk.flush(marks);
    marks.touchData(7, 0, BLOCK_BYTES, Level.TOUCHED);
    t.ok(marks.beginPoint());
    t.notOk(marks.beginPoint(), "one at a time");
    marks.touchData(7, BLOCK_BYTES, BLOCK_BYTES, Level.TOUCHED);
    marks.confirmPoint();
    marks.peerGone();
    t.notOk(marks.isRangeDirty(7, 0, BLOCK_BYTES), "confirmed");
    t.ok(marks.isRangeDirty(7, BLOCK_BYTES, BLOCK_BYTES), "touched after the point began");
    t.same(marks.nextDirty(7, MIB, MIB), { offset: BLOCK_BYTES, length: BLOCK_BYTES });
    t.equal(marks.dirtyBytes(7, MIB), BLOCK_BYTES);
  },
);

t.test("an extent leaves the active set clean, or with its dirty bits on disk", async (t) => {
  const { marks, disk } = fresh({ activeExtents: 2 });
  const write = (extent: number, level: Level) => {
    if (!marks.admitData(7, extent * EXTENT_BYTES, 1)) disk.flush(marks);
    if (!marks.admitData(7, extent * EXTENT_BYTES, 1)) return false;
    marks.touchData(7, extent * EXTENT_BYTES, 1, level);
    return true;
  };
  t.ok(write(0, Level.TOUCHED));
  t.ok(write(1, Level.TOUCHED));
  t.notOk(write(2, Level.TOUCHED), "both wait for a durable point");
  t.ok(marks.wantsPoint);
  marks.beginPoint();
  marks.confirmPoint();
  t.ok(write(2, Level.TOUCHED));
  marks.peerGone();
  t.ok(write(3, Level.DIRTY));
  t.ok(write(4, Level.DIRTY));
  const { marks: after } = recovered(disk);
  t.notOk(after.isRangeDirty(7, 0, 1), "left clean");
  t.ok(after.isRangeDirty(7, 2 * EXTENT_BYTES, 1), "left with its bits");
  t.notOk(after.isRangeDirty(7, 2 * EXTENT_BYTES + BLOCK_BYTES, 1), "and no more than its bits");
  t.ok(after.isRangeDirty(7, 3 * EXTENT_BYTES, EXTENT_BYTES), "active: the whole extent");
});

t.test("new objects: identities never come twice, and are dirty without a mark each", async (t) => {
  const { marks, disk } = fresh();
  t.equal(marks.newIdentity(), 0, "not before the reservation is durable");
  disk.flush(marks);
  const first = firstNewIdentity(1);
  t.equal(marks.newIdentity(), first);
  t.ok(marks.admitData(first, 0, 100 * MIB), "a new object needs no place in the log");
  marks.created(first, false, Level.TOUCHED);
  marks.touchData(first, 0, 100 * MIB, Level.TOUCHED);
  const crash = recovered(disk).marks;
  t.ok(crash.isInDirtyRange(first));
  t.equal(crash.made.next, first + IDENTITY_BLOCK, "goes on behind the reservation");
  marks.beginPoint();
  marks.touchData(first, 0, 10, Level.TOUCHED);
  marks.confirmPoint();
  disk.flush(marks);
  const later = recovered(disk).marks;
  t.notOk(later.isInDirtyRange(first), "old after the durable point");
  t.ok(later.hasDirtyContent(first), "but what was touched meanwhile is active by itself");
  marks.peerGone();
  const before = marks.objects.size;
  for (let index = 0; index < 500; index++) {
    const id = marks.newIdentity();
    marks.created(id, false, Level.DIRTY);
    marks.touchData(id, 0, MIB, Level.DIRTY);
  }
  t.equal(marks.objects.size, before, "memory does not grow with objects made alone");
  marks.peerBack();
  t.ok(marks.isInDirtyRange(first + 100));
  let last = 0;
  for (let index = 0; index < 3 * IDENTITY_BLOCK; index++) {
    let id = marks.newIdentity();
    if (id === 0) {
      disk.flush(marks);
      id = marks.newIdentity();
    }
    if (id <= last) t.fail("an identity came twice");
    last = id;
  }
});

t.test("a truncate marks everything behind it, however long the object grows again", async (t) => {
  const { marks, disk } = fresh();
  marks.admitTail(7, 10 * BLOCK_BYTES);
  disk.flush(marks);
  t.ok(marks.admitTail(7, 20 * BLOCK_BYTES));
  t.notOk(marks.admitTail(7, 0), "further to the front: again");
  disk.flush(marks);
  t.ok(marks.admitTail(7, 0));
  t.equal(recovered(disk).marks.worthlessFrom(7), 0);
  marks.touchTail(7, 10 * BLOCK_BYTES, Level.DIRTY);
  t.equal(marks.worthlessFrom(7), 10 * BLOCK_BYTES);
  t.same(marks.nextDirty(7, 13 * BLOCK_BYTES, 2 * BLOCK_BYTES), {
    offset: 10 * BLOCK_BYTES,
    length: 2 * BLOCK_BYTES,
  });
  marks.copiedData(7, { offset: 10 * BLOCK_BYTES, length: 2 * BLOCK_BYTES }, 13 * BLOCK_BYTES);
  marks.copiedData(7, { offset: 12 * BLOCK_BYTES, length: BLOCK_BYTES }, 13 * BLOCK_BYTES);
  t.equal(marks.nextDirty(7, 13 * BLOCK_BYTES, MIB), null);
  marks.peerGone();
  t.equal(
    marks.worthlessFrom(7),
    10 * BLOCK_BYTES,
    "copied is touched: interrupted before a durable point, it is copied again",
  );
});

t.test(
  "a new object truncated while a durable point was under way stays dirty from there on after a crash",
  async (t) => {
    const { marks, disk } = fresh();
    marks.newIdentity();
    disk.flush(marks);
    const id = marks.newIdentity();
    marks.created(id, false, Level.TOUCHED);
    marks.beginPoint();
    marks.touchTail(id, 2 * BLOCK_BYTES, Level.TOUCHED);
    marks.confirmPoint();
    disk.flush(marks);
    t.equal(recovered(disk).marks.worthlessFrom(id), 2 * BLOCK_BYTES);
  },
);

t.test("after a crash of both, the union of both logs is dirty", async (t) => {
  const one = fresh();
  const two = fresh({ nodeNumber: 2 });
  one.marks.admitNames(1);
  two.marks.admitData(9, 0, 1);
  two.marks.newIdentity();
  one.disk.flush(one.marks);
  two.disk.flush(two.marks);
  const mine = recovered(one.disk).marks;
  const theirs = recovered(two.disk, { nodeNumber: 2 }).marks;
  for (const chunk of exportMarks(theirs)) t.ok(unionMarks(mine, chunk));
  t.same([...mine.dirtyDirectories()], [1]);
  t.same([...mine.dirtyObjects()], [9]);
  t.ok(mine.isInDirtyRange(firstNewIdentity(2)));
  t.notOk(unionMarks(mine, new Uint8Array(40)), "not records");
});

t.test("a torn tail is tolerated, anything else makes everything dirty", async (t) => {
  const { marks, disk } = fresh();
  for (let id = 10; id < 40; id++) marks.admitNames(id);
  disk.flush(marks);
  for (let cut = 0; cut <= disk.log.length; cut += 5) {
    const { marks: after, fault } = recovered({ map: disk.map, log: disk.log.slice(0, cut) });
    if (fault !== null || after.everything) t.fail(`cut at ${cut}: ${fault}`);
  }
  const zeros = new Uint8Array(disk.log.length + 4096);
  zeros.set(disk.log);
  t.equal(recovered({ map: disk.map, log: zeros }).fault, null, "a preallocated tail");
  for (let at = 0; at < disk.log.length - 64; at += 7) {
    const broken = disk.log.slice();
    broken[at]! ^= 0x10;
    const { marks: after } = recovered({ map: disk.map, log: broken });
    if (!after.everything) t.fail(`a damaged byte at ${at} of the log went unseen`);
    if (after.made.next < marks.made.reservedTo) t.fail("identities would come twice");
  }
  for (let at = 0; at < disk.map!.length; at += 3) {
    const broken = disk.map!.slice();
    broken[at]! ^= 0x10;
    if (!recovered({ map: broken, log: disk.log }).marks.everything)
      t.fail(`a damaged byte at ${at} of the map went unseen`);
  }
  t.ok(recovered({ map: null, log: disk.log }).marks.everything, "no map");
});

t.test("a crash between the new map and the new log, and a log that outgrew its map", async (t) => {
  const { marks, disk } = fresh({ activeItems: 4 });
  const oldLog = () => disk.log.slice();
  marks.admitNames(1);
  disk.flush(marks);
  const before = oldLog();
  marks.clear();
  t.ok(marks.wantsRewrite);
  disk.map = marks.startRewrite();
  const { marks: after, fault } = recovered({ map: disk.map, log: before });
  t.equal(fault, null);
  t.notOk(after.areNamesDirty(1), "the map holds all that the old log said");
  disk.log = marks.rewritten() as Uint8Array<ArrayBuffer>;
  let rewrites = 0;
  for (let round = 0; round < 60_000; round++) {
    marks.admitNames(round % 9);
    if (marks.wantsRewrite) rewrites++;
    disk.flush(marks);
  }
  t.ok(rewrites > 0 && disk.log.length < 2 * MIB, `rewritten ${rewrites} times, ${disk.log.length} bytes`);
  t.ok(marks.objects.size < 20);
  const tampered = recovered({ map: before, log: disk.log });
  t.ok(tampered.marks.everything, "a log newer than its map");
});

t.test(
  "what was copied and settled stays done after a crash of the source, and not a block more",
  async (t) => {
    const { marks, disk } = fresh();
    marks.peerGone();
    marks.markWhole(7, true, true);
    marks.markWhole(8, false, true);
    marks.admitData(9, 0, 8 * BLOCK_BYTES);
    marks.touchData(9, 0, 8 * BLOCK_BYTES, Level.DIRTY);
    disk.flush(marks);
    const start = recovered(disk).marks;
    disk.map = start.startRewrite();
    disk.log = start.rewritten() as Uint8Array<ArrayBuffer>;
    start.peerBack();
    const size = 4 * BLOCK_BYTES;
    start.copiedNames(7);
    start.copiedAttributes(7);
    start.copiedAttributes(8);
    start.copiedData(8, { offset: 0, length: 2 * BLOCK_BYTES }, size);
    start.copiedData(9, { offset: 0, length: BLOCK_BYTES }, 8 * BLOCK_BYTES);
    start.beginPoint();
    start.copiedData(8, { offset: 2 * BLOCK_BYTES, length: BLOCK_BYTES }, size);
    disk.flush(start);
    t.equal(recovered(disk).marks.worthlessFrom(8), 0, "not before the durable point");
    start.confirmPoint();
    disk.flush(start);
    const { marks: after } = recovered(disk);
    t.notOk(after.areNamesDirty(7));
    t.equal(after.worthlessFrom(8), 2 * BLOCK_BYTES, "sent after the point began: again");
    t.same(after.nextDirty(9, 8 * BLOCK_BYTES, MIB), { offset: BLOCK_BYTES, length: 7 * BLOCK_BYTES });
  },
);

t.test(
  "names that are clean again stay known while objects made without a peer are found through them",
  async (t) => {
    const { marks, disk } = fresh();
    marks.peerGone();
    disk.flush(marks);
    marks.admitNames(1);
    marks.newIdentity();
    disk.flush(marks);
    const id = marks.newIdentity();
    marks.admitNames(1);
    marks.created(id, false, Level.DIRTY);
    marks.touchNames(1, Level.DIRTY);
    marks.touchNames(2, Level.DIRTY);
    marks.peerGone();
    disk.flush(marks);
    // The reintegration: both directories are listed, the names of the first are sent, and a durable point falls between.
    const { marks: source } = recovered(disk);
    disk.flush(source);
    source.peerBack();
    source.markWhole(id, false, false);
    source.resolveDirtyRanges();
    source.copiedNames(1);
    source.beginPoint();
    source.confirmPoint();
    disk.flush(source);
    const { marks: after } = recovered(disk);
    t.ok(after.isInDirtyRange(id), "the object itself was not copied");
    t.notOk(after.hasDirtyContent(id), "and has no mark of its own on disk");
    t.ok(after.areNamesDirty(1), "so a directory that is looked through must lead to it");
  },
);

t.test(
  "a hard link sent during a reintegration: a peer that never gets it finds the object where it was",
  async (t) => {
    const { marks } = fresh();
    const tree = { parentOf: (id: number) => (id === 1 ? 0 : 1), nameOf: (id: number) => `n${id}` };
    const reintegration = new Reintegration(marks, tree, [1], false);
    t.equal(reintegration.next().do, "namesDone", "everything is placed");
    t.equal(reintegration.link(7, 2, 3), Decision.SEND);
    marks.peerGone();
    t.same([...marks.dirtyDirectories()].sort(), [2, 3]);
  },
);

t.test("that the peer's marks tell all replaces everything, durably", async (t) => {
  const { marks, disk } = fresh();
  marks.everything = true;
  t.ok(marks.owesEverything);
  marks.resolveDirtyRanges();
  t.notOk(marks.everything);
  t.ok(marks.owesEverything, "still, until the names are on both disks");
  marks.peerTells();
  t.notOk(marks.owesEverything);
  disk.flush(marks);
  t.notOk(recovered(disk).marks.everything);
});

t.test("a map of the former version is read, one of a later version is worth nothing", async (t) => {
  const { marks, disk } = fresh();
  marks.touchData(7, 0, 10, Level.DIRTY);
  disk.map = marks.startRewrite();
  disk.log = marks.rewritten() as Uint8Array<ArrayBuffer>;
  for (const [version, isRead] of [
    [2, true],
    [3, true],
    [4, false],
  ] as const) {
    for (const file of [disk.map, disk.log]) {
      putU32(file, 4, version);
      putU32(file, 20, crc32(file, 0, 20));
    }
    const { marks: after, fault } = recovered(disk);
    t.equal(fault === null, isRead, `version ${version}`);
    t.equal(after.everything, !isRead);
    t.equal(after.isRangeDirty(7, 0, 10), isRead);
  }
});

t.test(
  "an object that was cut after its attributes were sent is cut at the peer, even if it has grown again",
  async (t) => {
    for (const mostObjects of [10, 0]) {
      const { marks } = fresh({ mostObjects });
      const blocks = (count: number): number => count * BLOCK_BYTES;
      marks.markWhole(7, false, true);
      marks.copiedAttributes(7);
      t.same(marks.nextDirty(7, blocks(8), blocks(8)), { offset: 0, length: blocks(8) });
      marks.touchTail(7, blocks(5), Level.DIRTY);
      marks.copiedData(7, { offset: 0, length: blocks(8) }, blocks(5));
      t.equal(marks.nextDirty(7, blocks(5), MIB), null, "there is nothing left to read");
      t.ok(marks.isRangeDirty(7, blocks(9), 10), "what is written behind the end is copied, not sent");
      marks.touchData(7, blocks(9), 10, Level.DIRTY);
      t.equal(marks.worthlessFrom(7), blocks(5), "the peer cuts off what it has behind the end");
      marks.copiedAttributes(7);
      t.same(copyObject(marks, 7, blocks(10), MIB), [blocks(5), blocks(5)]);
      t.notOk(marks.hasDirtyContent(7));
    }
  },
);

t.test("trap 8: what is in doubt is dirty after a crash, whatever durable points came", async (t) => {
  const { marks, disk } = fresh();
  for (const id of [7, 8]) marks.admitData(id, 0, 10);
  marks.admitNames(9);
  disk.flush(marks);
  for (const id of [7, 8]) marks.touchData(id, 0, 10, Level.TOUCHED);
  marks.touchNames(9, Level.TOUCHED);
  for (const id of [7, 9]) marks.doubt(id);
  marks.beginPoint();
  for (const id of [7, 9]) marks.doubt(id);
  marks.confirmPoint();
  disk.flush(marks);
  const { marks: after } = recovered(disk);
  t.ok(after.isRangeDirty(7, 5 * MIB, 10), "all of it");
  t.ok(after.areNamesDirty(9));
});
