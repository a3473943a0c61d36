/** What two replication processes tell each other first, inside a proved link: versions, generations, and how they are related. */
import * as v from "valibot";
import type { Generations } from "../../failover/types.ts";
import { copyWord } from "../copy/copy_record.ts";

/** Version of the stream. Both sides must agree. */
export const STREAM_VERSION = 4;

/** What to say to who speaks another version of the stream; null: the same. */
export const otherVersion = (who: "primary" | "peer", version: number): string | null =>
  version === STREAM_VERSION
    ? null
    : `the ${who} speaks version ${version} of the stream, this node ${STREAM_VERSION}; run the same release on both`;

const generations = v.object({
  current: v.pipe(v.string(), v.maxLength(64)),
  parted: v.nullable(v.pipe(v.string(), v.maxLength(64))),
  history: v.pipe(v.array(v.pipe(v.string(), v.maxLength(64))), v.maxLength(16)),
});

const followerHello = v.object({
  generations,
  /** Copy everything, whatever the generations say. */
  full: v.boolean(),
  /** What this node wrote alone has been kept aside: it may be overwritten. */
  sacrifice: v.boolean(),
  /** Number of replicated directories: both sides must be configured alike. */
  paths: v.number(),
  copy: copyWord,
});
/** The target's. */
export type FollowerHello = v.InferOutput<typeof followerHello>;

const sourceHello = v.object({
  generations,
  mode: v.picklist(["equal", "incremental", "full", "refused"]),
  relation: v.picklist(["equal", "split-brain", "unrelated", "ancestor"]),
  detail: v.string(),
  copy: copyWord,
});
/** The source's answer. */
export type SourceHello = v.InferOutput<typeof sourceHello>;

/** Generations as the contract writes them, and as they are sent. */
export const wireGenerations = ({ current, parted, history }: Generations): FollowerHello["generations"] => ({
  current,
  parted,
  history: [...history],
});

const parse = <T extends v.GenericSchema>(schema: T, bytes: Uint8Array): v.InferOutput<T> => {
  const result = v.safeParse(schema, JSON.parse(new TextDecoder().decode(bytes)));
  if (result.success) return result.output;
  throw new Error(
    `the peer's hello is malformed: ${v.getDotPath(result.issues[0]) ?? ""} ${result.issues[0].message}`,
  );
};

/** Throws when malformed. */
export const parseFollowerHello = (bytes: Uint8Array): FollowerHello => parse(followerHello, bytes);
/** Throws when malformed. */
export const parseSourceHello = (bytes: Uint8Array): SourceHello => parse(sourceHello, bytes);
/** The bytes of a hello. */
export const encodeHello = (hello: FollowerHello | SourceHello): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(hello));
