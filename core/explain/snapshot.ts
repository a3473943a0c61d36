/**
 * A snapshot: what a node and those that it heard knew at a moment, in one file, for whoever is asked for help on another machine.
 */
import { gunzipSync, gzipSync } from "node:zlib";
import * as v from "valibot";
import { type Explanation, explain, type Source } from "./explain.ts";
import type { Circumstances } from "./prevention.ts";
import { readTold } from "./told.ts";
import type { When } from "./when.ts";

/** A file that would unfold to more is none of ours. */
const MOST_BYTES = 512 << 20;

/** All that a module's story is made of, gathered by one node. */
export interface Evidence {
  sources: Readonly<Record<string, Source>>;
  about: Omit<Circumstances, "module" | "missing" | "boots">;
  now: Explanation["now"];
}

const clock = v.nullable(v.object({ aheadMs: v.number(), uncertainMs: v.number() }));
const nodeNow = v.object({
  state: v.string(),
  readiness: v.string(),
  reason: v.string(),
  remedy: v.exactOptional(v.string()),
});
// What is read of a module's checkers; the rest of what is known of each is for people.
const check = v.looseObject({
  resource: v.string(),
  subject: v.looseObject({ type: v.string() }),
  rhythm: v.looseObject({ failures: v.number(), interval: v.number() }),
  action: v.string(),
});
const evidence = v.object({
  sources: v.record(v.string(), v.object({ told: v.unknown(), clock })),
  about: v.object({
    kind: v.string(),
    lans: v.array(v.string()),
    timeoutMs: v.number(),
    onIsolation: v.string(),
    isWitnessed: v.exactOptional(v.boolean()),
    maxLoop: v.number(),
    checks: v.array(check),
  }),
  now: v.record(v.string(), nodeNow),
});
const snapshotSchema = v.looseObject({
  format: v.literal("holdfast snapshot"),
  version: v.literal(1),
  /** ISO time, by the clock of `node`. */
  made: v.pipe(v.string(), v.isoTimestamp()),
  holdfast: v.string(),
  cluster: v.string(),
  /** The node that made it. */
  node: v.string(),
  /** Its cluster.yaml, which holds no secret. */
  yaml: v.string(),
  /** `status --json`, and what `doctor` found. */
  status: v.unknown(),
  findings: v.unknown(),
  modules: v.record(v.string(), evidence),
});

/** The document as it is read from a file. */
type Snapshot = v.InferOutput<typeof snapshotSchema>;

/** What a node gathers for it; the rest is the asker's. */
export interface Gathered {
  made: string;
  cluster: string;
  node: string;
  yaml: string;
  status: unknown;
  modules: Record<string, Evidence>;
}

/** The document as it is made. */
export interface SnapshotDocument extends Gathered {
  format: "holdfast snapshot";
  version: 1;
  holdfast: string;
  findings: unknown;
}

/** The file's bytes. */
export function packSnapshot(snapshot: SnapshotDocument): Uint8Array {
  return gzipSync(JSON.stringify(snapshot));
}

/** Reads a file that `packSnapshot` made. Throws with a sentence that begins behind the file's name. */
export function readSnapshot(bytes: Uint8Array): Snapshot {
  let document: unknown;
  try {
    document = JSON.parse(gunzipSync(bytes, { maxOutputLength: MOST_BYTES }).toString("utf8"));
  } catch (error) {
    throw new Error(`is no snapshot: ${(error as Error).message}`);
  }
  const read = v.safeParse(snapshotSchema, document);
  if (read.success) return read.output;
  const [issue] = read.issues;
  throw new Error(`is no snapshot that this version reads: ${v.getDotPath(issue) ?? ""} ${issue.message}`);
}

/** The story of a module in it, around a time (null: the last that happened). Throws where the module is not in it. */
export function explainSnapshot(snapshot: Snapshot, module: string, at: When | null): Explanation {
  const found = Object.hasOwn(snapshot.modules, module) ? snapshot.modules[module] : undefined;
  if (found === undefined) {
    const known = Object.keys(snapshot.modules).join(", ") || "none";
    throw new Error(`has no module ${module} (modules in it: ${known})`);
  }
  const sources = Object.fromEntries(
    Object.entries(found.sources).map(([node, source]) => [
      node,
      { told: readTold(source.told), clock: source.clock },
    ]),
  );
  // Of a checker's subject only its type and what it is called are read: the schema has looked at what is used.
  const about = found.about as unknown as Evidence["about"];
  return explain(module, snapshot.node, sources, about, found.now, at);
}
