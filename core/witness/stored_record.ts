/**
 * The record of a module as a store keeps it that knows nothing of Holdfast: one JSON text in etcd or in a bucket, replaced whole.
 */
import { randomBytes } from "node:crypto";
import * as v from "valibot";
import { ABSENT, type WitnessRecord } from "./witness.ts";

/** See the top of the file. */
export interface StoredRecord {
  generation: string | null;
  sole: string | null;
  /** Changes with each `recordSole`: the version that the daemon sees. */
  mark: string;
  /** Who was granted the lease last and did not give it back. */
  holder: string | null;
  /** For how long, ms; 0 without a holder. */
  leaseMs: number;
  /** How many times it was written: lower than before, and the store went back in time. */
  count: number;
  /** Of this one write, random: tells a write of ours that was answered unclearly from another's. */
  write: string;
}

const name = v.nullable(v.pipe(v.string(), v.maxLength(64)));
const whole = v.pipe(v.number(), v.integer(), v.minValue(0));
const schema = v.object({
  version: v.literal(1),
  generation: name,
  sole: name,
  mark: v.pipe(v.string(), v.maxLength(64)),
  holder: name,
  leaseMs: whole,
  count: whole,
  write: v.pipe(v.string(), v.maxLength(64)),
});

/** 64 random bits, as hex. */
export const newMark = (): string => randomBytes(8).toString("hex");

/** The text that is stored. */
export const formatRecord = (record: StoredRecord): string =>
  `${JSON.stringify({ version: 1, ...record })}\n`;

/** Reads it. Throws when it is none: somebody else writes there, or a later version. */
export function parseRecord(text: string): StoredRecord {
  const { version: _version, ...record } = v.parse(schema, JSON.parse(text));
  return record;
}

/** What the daemon sees of it; `holder` is the one who may hold the lease now. */
export const shown = (record: StoredRecord, holder: string | null): WitnessRecord => ({
  generation: record.generation,
  sole: record.sole,
  holder,
  version: record.mark,
});

/** A first record, of nobody. */
export const emptyRecord = (): StoredRecord => ({
  generation: null,
  sole: null,
  mark: ABSENT,
  holder: null,
  leaseMs: 0,
  count: 0,
  write: "",
});
