/** PRIM's durable points: when the next one is due, and what none vouches for. */
import t from "tap";
import type { CopyRecord } from "../../core/filesystem/copy/copy_record.ts";
import type { MarksStore } from "../../core/filesystem/copy/marks_store.ts";
import type { Host } from "../../core/filesystem/host.ts";
import type { Completion, Pool } from "../../core/filesystem/loop/pool.ts";
import { KnownPlaces } from "../../core/filesystem/objects/known_places.ts";
import type { TreeRoot } from "../../core/filesystem/objects/source_tree.ts";
import { DurablePoints } from "../../core/filesystem/primary/durable_points.ts";
import { Outbound } from "../../core/filesystem/primary/outbound.ts";
import { StreamWriter } from "../../core/filesystem/stream/stream_buffers.ts";
import type { Memory } from "../../core/platform/linux/memory.ts";
import { Level, Marks } from "../../core/replication/marks.ts";

/** A disk that ends its syncs when the test says so. */
class SlowDisk {
  readonly root = { fd: 7, id: 1 } as TreeRoot;
  readonly jobs: { owner: Completion; cookie: number }[] = [];
  submit(...job: Parameters<Pool["submit"]>): boolean {
    this.jobs.push({ owner: job[5], cookie: job[6] });
    return true;
  }
  finish(result = 0): void {
    const job = this.jobs.shift()!;
    job.owner.completed(job.cookie, result, {} as Memory);
  }
}

/** A primary's points, without a link to a peer. */
function pointsOf(pool: unknown, roots: TreeRoot[] = []) {
  const places = new KnownPlaces();
  const marks = new Marks({ nodeNumber: 1, placeOf: (id) => places.get(id) });
  const writer = new StreamWriter();
  const outbound = new Outbound(marks, writer, places);
  const reports: string[] = [];
  const report = ({ detail }: { detail: string }): unknown => reports.push(detail);
  const host = { counters: { bytesSent: 0, durablePoints: 0 }, pool, report } as unknown as Host;
  const disk = { recordErrno: 0 };
  const record = {
    word: { peer: null },
    write: (_: number, __: unknown, done: (errno: number) => void): void => done(disk.recordErrno),
  };
  const points = new DurablePoints(
    host,
    { marks } as unknown as MarksStore,
    record as unknown as CopyRecord,
    outbound,
    writer,
    places,
    roots,
  );
  return { points, outbound, marks, reports, writer, disk };
}

t.test("the loop sleeps while a durable point takes longer than the next is away", async (t) => {
  // A disk that does not answer.
  const { points } = pointsOf({ submit: () => true });
  points.begin(0);
  t.equal(points.schedule(1000, true), 5000);
  points.schedule(5000, true);
  t.equal(points.isUnderWay, true);
  t.ok(points.schedule(11_000, true) > 11_000, "until something comes");
  points.end();
  t.equal(points.isUnderWay, false);
});

t.test("trap 8: no durable point vouches for what this disk failed to sync once", async (t) => {
  const { points, outbound, marks } = pointsOf({ submit: () => true });
  const [kept, lost] = [100, 200];
  marks.peerBack();
  outbound.streaming = true;
  points.begin(0);
  for (const id of [kept, lost]) marks.touchData(id, 0, 8192, Level.TOUCHED);
  outbound.diskFailed(lost);
  for (let point = 1; point <= 3; point++) {
    points.schedule(point * 5000, true);
    t.equal(points.isUnderWay, true);
    points.reached();
    t.equal(points.isUnderWay, false, "on both disks, as far as they tell");
  }
  marks.peerGone();
  t.equal(marks.hasDirtyContent(kept), false);
  t.equal(marks.hasDirtyContent(lost), true, "it is copied from who takes over");
  t.equal(marks.isRangeDirty(lost, 0, 1 << 20), true, "all of it");
});

t.test("what failed halfway is copied from who takes over, and to who comes back", async (t) => {
  const { points, outbound, marks } = pointsOf({ submit: () => true });
  const [alone, together] = [100, 200];
  outbound.failedHalfway(alone, 4096, 4096);
  t.equal(marks.isRangeDirty(alone, 4096, 4096), true);
  t.equal(marks.isRangeDirty(alone, 8192, 4096), false);
  marks.clear();
  marks.peerBack();
  outbound.streaming = true;
  outbound.failedHalfway(together, 4096, 4096);
  points.begin(0);
  points.schedule(5000, true);
  points.reached();
  marks.peerGone();
  t.equal(marks.isRangeDirty(together, 4096, 4096), true);
});

t.test("a durable point that failed on this disk comes again, later each time", async (t) => {
  const disk = new SlowDisk();
  const { points, outbound, marks, reports, writer } = pointsOf(disk, [disk.root]);
  marks.peerBack();
  outbound.streaming = true;
  points.begin(0);
  marks.touchData(100, 0, 8192, Level.TOUCHED);
  points.schedule(5000, true);
  const ticket = writer.frame.ticket;
  disk.finish(-5);
  t.same(reports, ["a durable point failed on this copy (errno 5)"]);
  t.equal(points.isUnderWay, true, "the peer has still to answer, or its word would count for the next");
  points.reached();
  t.equal(points.isUnderWay, false);
  t.equal(points.schedule(5100, true), 7100, "after a pause");
  t.equal(points.schedule(7100, true), 10_000, "and when one is due");
  marks.touchData(200, 0, 8192, Level.TOUCHED);
  points.schedule(10_000, true);
  disk.finish(-5);
  points.reached();
  t.equal(points.schedule(10_000, true), 14_000, "twice the pause");
  points.schedule(15_000, true);
  t.equal(writer.frame.ticket, ticket, "the next number would say that this one is on this disk");
  marks.touchData(300, 0, 8192, Level.TOUCHED);
  disk.finish();
  points.reached();
  points.schedule(20_000, true);
  t.equal(writer.frame.ticket, ticket + 1);
  disk.finish();
  points.reached();
  marks.peerGone();
  t.equal(marks.hasDirtyContent(300), false);
  for (const lost of [100, 200])
    t.equal(
      marks.isRangeDirty(lost, 0, 1 << 20),
      true,
      "what was not synced once is copied from who takes over",
    );
});

t.test("a durable point that could not be recorded comes again, and nothing is in doubt", async (t) => {
  const slow = new SlowDisk();
  const { points, outbound, marks, reports, disk } = pointsOf(slow, [slow.root]);
  marks.peerBack();
  outbound.streaming = true;
  points.begin(0);
  marks.touchData(100, 0, 8192, Level.TOUCHED);
  for (const [now, errno] of [
    [5000, 5],
    [10_000, 0],
  ] as const) {
    disk.recordErrno = errno;
    points.schedule(now, true);
    slow.finish();
    points.reached();
    points.schedule(now, true);
  }
  t.equal(reports.length, 1);
  marks.peerGone();
  t.equal(marks.hasDirtyContent(100), false);
});

t.test("trap 8: what is copied after the whole disk failed is not vouched for", async (t) => {
  const disk = new SlowDisk();
  const { points, outbound, marks } = pointsOf(disk, [disk.root]);
  marks.peerBack();
  outbound.streaming = true;
  points.begin(0);
  points.schedule(5000, false);
  disk.finish(-5);
  points.reached();
  marks.touchData(100, 0, 8192, Level.TOUCHED);
  let failures = 0;
  points.catchUp(
    () => t.fail("the disk failed"),
    () => failures++,
  );
  disk.finish(-5);
  t.equal(failures, 1, "who waits hears of it");
  let ticket = 0;
  points.catchUp(
    (number) => {
      ticket = number;
    },
    () => failures++,
  );
  disk.finish();
  t.ok(ticket > 0);
  marks.confirmPoint();
  marks.touchData(200, 0, 8192, Level.TOUCHED);
  points.schedule(20_000, true);
  disk.finish();
  points.reached();
  marks.peerGone();
  t.equal(marks.isRangeDirty(100, 0, 1 << 20), true);
  t.equal(marks.hasDirtyContent(200), false, "all is synced since");
});
