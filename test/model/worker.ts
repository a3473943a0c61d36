/**
 * One process of the model test's application: `worker.ts DIRECTORY RECORD SEED RUN WORKER DURABILITY`. Does one operation after another
 * until RECORD/stop is there, compares what each returned with the model, and writes down in RECORD how many have returned.
 */
import { existsSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { errnoName } from "../../core/platform/linux/errno.ts";
import { Disk, placesOf, scanTree } from "./disk.ts";
import { Model } from "./model.ts";
import { operationsFrom } from "./operations.ts";
import { recordOf } from "./record.ts";

const [directory, record] = process.argv.slice(2, 4) as [string, string];
const [seed, run, worker] = process.argv.slice(4, 7).map(Number) as [number, number, number];
process.umask(0);

const model = new Model(scanTree(directory, worker));
const disk = new Disk(placesOf(directory, worker));
const files = recordOf(record, run, worker);
const counter = openSync(files.done, "w");
const shown = (outcome: unknown): string =>
  typeof outcome === "number" && outcome < 0 ? errnoName(outcome) : String(outcome);

let index = 0;
for (const operation of operationsFrom(seed, run, worker)) {
  if (existsSync(files.stop)) break;
  const expected = model.apply(index, operation);
  const got = expected === null && operation.do !== "hold" ? null : disk.run(index, operation);
  if (got !== expected && expected !== null) {
    const text = JSON.stringify(operation, (_, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
    // Whoever reads it reads all of it.
    writeFileSync(
      `${files.failed}.part`,
      JSON.stringify({
        at: Date.now(),
        index,
        what: `operation ${index}, ${text}: ${shown(got)}, not ${shown(expected)}`,
      }),
    );
    renameSync(`${files.failed}.part`, files.failed);
    process.exit(1);
  }
  index++;
  writeSync(counter, `${index}\n`, 0);
}
disk.close();
writeFileSync(files.ended, String(index));
