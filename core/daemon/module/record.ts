/**
 * What must survive a crash, on disk: one small JSON file, replaced whole, fsynced with its directory before anyone acts
 * on it. A file that cannot be read is never taken for "nothing was there": that would forget a promise (G3).
 */
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { blankRecord } from "../../failover/step.ts";
import type { DurableRecord } from "../../failover/types.ts";
import { writeDurably } from "../../platform/durable_file.ts";

const generation = v.pipe(v.string(), v.maxLength(64));
const recordSchema = v.object({
  role: v.picklist(["NONE", "ALONE", "PRIM", "SECOND"]),
  generations: v.object({
    current: generation,
    parted: v.nullable(generation),
    history: v.pipe(v.array(generation), v.maxLength(16)),
  }),
  consistency: v.picklist(["blank", "uptodate", "outdated", "inconsistent", "suspect"]),
  wasPrimaryAtParting: v.boolean(),
  peerOutdatedIn: v.nullable(generation),
  counter: v.number(),
  peerCounter: v.number(),
  witness: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(256))), null),
  running: v.boolean(),
  loops: v.array(v.number()),
});

/** The record file of one module. */
export class RecordFile {
  readonly #file: string;

  constructor(stateDir: string) {
    this.#file = join(stateDir, "record.json");
  }

  /** Reads the record; a blank one where there is none. Throws when it is there and cannot be trusted. */
  async read(): Promise<DurableRecord> {
    let text: string;
    try {
      text = await readFile(this.#file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return blankRecord();
      throw error;
    }
    try {
      return v.parse(recordSchema, JSON.parse(text));
    } catch (error) {
      throw new Error(
        `what this copy is worth is not known: ${this.#file} is damaged (${(error as Error).message})`,
      );
    }
  }

  /** Takes what cannot be read out of the way, and keeps it. */
  async putAside(): Promise<void> {
    await rename(this.#file, `${this.#file}.damaged`);
  }

  /** Makes `record` durable: of several, the last one asked for is the last one on disk. */
  async write(record: DurableRecord): Promise<void> {
    await writeDurably(this.#file, `${JSON.stringify(record, null, 1)}\n`);
  }
}
