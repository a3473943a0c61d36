/** PRIM's durable points: when the next one is due. */
import t from "tap";
import type { CopyRecord } from "../../core/filesystem/copy/copy_record.ts";
import type { MarksStore } from "../../core/filesystem/copy/marks_store.ts";
import type { Host } from "../../core/filesystem/host.ts";
import { KnownPlaces } from "../../core/filesystem/objects/known_places.ts";
import { DurablePoints } from "../../core/filesystem/primary/durable_points.ts";
import { Outbound } from "../../core/filesystem/primary/outbound.ts";
import { StreamWriter } from "../../core/filesystem/stream/stream_buffers.ts";
import { Marks } from "../../core/replication/marks.ts";

t.test("the loop sleeps while a durable point takes longer than the next is away", async (t) => {
  const places = new KnownPlaces();
  const marks = new Marks({ nodeNumber: 1, placeOf: (id) => places.get(id) });
  const writer = new StreamWriter();
  const host = {
    counters: { bytesSent: 0, durablePoints: 0 },
    // A disk that does not answer.
    pool: { submit: () => true },
  } as unknown as Host;
  const outbound = new Outbound(marks, writer, places);
  const store = { marks } as unknown as MarksStore;
  const points = new DurablePoints(host, store, {} as CopyRecord, outbound, writer, places, []);
  points.begin(0);
  t.equal(points.schedule(1000, true), 5000);
  points.schedule(5000, true);
  t.equal(points.isUnderWay, true);
  t.ok(points.schedule(11_000, true) > 11_000, "until something comes");
  points.end();
  t.equal(points.isUnderWay, false);
});
