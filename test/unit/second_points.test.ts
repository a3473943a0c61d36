/** SECOND's durable points: what it remembers of its source's. */
import t from "tap";
import type { CopyRecord, KnownCopy } from "../../core/filesystem/copy/copy_record.ts";
import type { Host } from "../../core/filesystem/host.ts";
import type { TouchedObjects } from "../../core/filesystem/replica/touched_objects.ts";
import { SecondPoints } from "../../core/filesystem/second/second_points.ts";

t.test("a point that is asked for again did not reach the source's disk", async (t) => {
  const written: string[] = [];
  const touched = { sync: (_: boolean, done: (errno: number) => void): void => done(0) };
  const record = {
    write(number: number, source: KnownCopy, done: (errno: number) => void): void {
      written.push(`${number} after ${source.counter}`);
      done(0);
    },
  };
  const points = new SecondPoints(
    { counters: { durablePoints: 0 } } as unknown as Host,
    touched as unknown as TouchedObjects,
    record as unknown as CopyRecord,
    () => t.fail("nothing failed"),
  );
  points.greeted("a", 4);
  for (const number of [5, 6, 6, 7]) points.make(number, () => {});
  points.makeEqual(8, () => {});
  points.make(9, () => {});
  t.same(written, ["5 after 4", "6 after 5", "6 after 5", "7 after 6", "8 after 8", "9 after 8"]);
});
