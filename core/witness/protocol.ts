/**
 * What a node says to a Holdfast witness, and what it is answered: JSON over HTTPS. The node's certificate says which cluster and which node asks, so that no
 * request can speak for another.
 */
import * as v from "valibot";

/** What a witness is asked lies under this path. */
export const WITNESS_PATH = "/witness/";
/** Where a cluster enrols, with a token's secret. */
export const ENROL_PATH = "/enrol";
/** The name in the certificate of a witness. */
export const WITNESS_NAME = "witness";
/** Most bytes of a request. */
export const MAX_REQUEST_BYTES = 4096;

const module = v.pipe(v.string(), v.regex(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/, "not a module's name"));
const nodeName = v.pipe(v.string(), v.regex(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/, "not a node's name"));
const word = v.pipe(v.string(), v.maxLength(64));

/** By request. `holds`: the asker's own lease has not ended yet, by its own clock. */
export const requestSchemas = {
  renew: v.strictObject({
    module,
    leaseMs: v.pipe(v.number(), v.integer(), v.minValue(50), v.maxValue(600_000)),
    holds: v.boolean(),
  }),
  sole: v.strictObject({
    module,
    sole: v.nullable(nodeName),
    generation: word,
    expected: word,
    holds: v.boolean(),
  }),
  read: v.strictObject({ module }),
  release: v.strictObject({ module, lease: word }),
} as const;

/** What can be asked. */
export type WitnessRequest = {
  [Kind in keyof typeof requestSchemas]: v.InferOutput<(typeof requestSchemas)[Kind]>;
};

const record = v.object({
  generation: v.nullable(word),
  sole: v.nullable(word),
  holder: v.nullable(word),
  version: word,
});
const why = v.pipe(v.string(), v.maxLength(500));

const answers = {
  renew: v.variant("kind", [
    // The lease names this one grant; a witness of before has none, and its leases end by themselves.
    v.object({ kind: v.literal("granted"), record, lease: v.exactOptional(word) }),
    v.object({ kind: v.literal("refused"), holder: v.nullable(word), why, record }),
  ]),
  sole: v.variant("kind", [
    v.object({ kind: v.literal("recorded"), record }),
    v.object({ kind: v.literal("refused"), why, record }),
  ]),
  read: v.object({ kind: v.literal("record"), record }),
  release: v.object({ kind: v.literal("released") }),
} as const;

/** What is answered. */
export type WitnessAnswer = {
  [Kind in keyof typeof answers]: v.InferOutput<(typeof answers)[Kind]>;
};
/** By request. */
export const answerSchemas: { [Kind in keyof WitnessAnswer]: v.GenericSchema<unknown, WitnessAnswer[Kind]> } =
  answers;

/** A cluster that enrols: its name, and the certificate of its authority, PEM. */
export const enrolSchema = v.strictObject({
  secret: v.pipe(v.string(), v.maxLength(64)),
  cluster: nodeName,
  authority: v.pipe(v.string(), v.maxLength(8192)),
});

/** What a witness says of itself to a cluster that it serves. */
export const selfSchema = v.object({
  cluster: v.string(),
  version: v.string(),
  /** By module: the record, and who holds the lease. */
  modules: v.record(v.string(), record),
});
