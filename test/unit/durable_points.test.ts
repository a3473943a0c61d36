/** PRIM's durable points: when the next one is due, and what none vouches for. */
import t from "tap";
import type { CopyRecord } from "../../core/filesystem/copy/copy_record.ts";
import type { MarksStore } from "../../core/filesystem/copy/marks_store.ts";
import type { Host } from "../../core/filesystem/host.ts";
import { KnownPlaces } from "../../core/filesystem/objects/known_places.ts";
import { DurablePoints } from "../../core/filesystem/primary/durable_points.ts";
import { Outbound } from "../../core/filesystem/primary/outbound.ts";
import { StreamWriter } from "../../core/filesystem/stream/stream_buffers.ts";
import { Level, Marks } from "../../core/replication/marks.ts";

/** A primary's points, without a link to a peer. */
function pointsOf(pool: unknown): { points: DurablePoints; outbound: Outbound; marks: Marks } {
  const places = new KnownPlaces();
  const marks = new Marks({ nodeNumber: 1, placeOf: (id) => places.get(id) });
  const writer = new StreamWriter();
  const outbound = new Outbound(marks, writer, places);
  const host = { counters: { bytesSent: 0, durablePoints: 0 }, pool } as unknown as Host;
  const record = { write: (_: number, __: unknown, done: (errno: number) => void): void => done(0) };
  const points = new DurablePoints(
    host,
    { marks } as unknown as MarksStore,
    record as unknown as CopyRecord,
    outbound,
    writer,
    places,
    [],
  );
  return { points, outbound, marks };
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
