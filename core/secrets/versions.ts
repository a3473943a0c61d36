/**
 * Which of two values of one secret counts, on every node alike and in whatever order they come.
 *
 * A version's stamp is the wall clock's ms, but always above every stamp that its node knew: so who saw a value and set another
 * wins, whatever the clocks say. Only of two values that were set by nodes that did not hear each other the clocks decide, then
 * the name of the node. A removal is a version too; it stays, so that a node that was away does not bring the value back.
 */
import { createHash } from "node:crypto";

/** One version of one secret. */
export interface SecretVersion {
  /** Wall clock, ms, at least. */
  stamp: number;
  /** The node where it was set. */
  node: string;
  /** 16 hexadecimal digits, by chance: a node that was put back to an older state makes no version twice. */
  id: string;
}

/** What a node holds of one secret. `sealed`: see seal.ts; null: removed. */
export interface SecretEntry extends SecretVersion {
  sealed: string | null;
}

/** By key, the secrets of one module. */
export type SecretEntries = ReadonlyMap<string, SecretEntry>;

/** Above 0: `one` is the newer; 0: they are the same. */
export function compareVersions(one: SecretVersion, other: SecretVersion): number {
  if (one.stamp !== other.stamp) return one.stamp - other.stamp;
  if (one.node !== other.node) return one.node < other.node ? -1 : 1;
  return one.id === other.id ? 0 : one.id < other.id ? -1 : 1;
}

/** The version of what is set now (wall clock, ms) by a node that knows these. */
export function nextVersion(
  known: Iterable<SecretVersion>,
  floor: number,
  now: number,
  node: string,
  id: string,
): SecretVersion {
  let stamp = Math.max(now, floor + 1);
  for (const version of known) stamp = Math.max(stamp, version.stamp + 1);
  return { stamp, node, id };
}

/**
 * Of each key the newest of both. What is not above `floor` does not come in: it was there when the module was removed here.
 * Commutative, associative and idempotent, but for the floor.
 */
export function merge(mine: SecretEntries, theirs: SecretEntries, floor = 0): Map<string, SecretEntry> {
  const merged = new Map(mine);
  for (const [key, entry] of theirs) {
    const own = merged.get(key);
    if (entry.stamp > floor && (own === undefined || compareVersions(entry, own) > 0)) merged.set(key, entry);
  }
  return merged;
}

/** A version as one word. */
export const versionWord = ({ stamp, node, id }: SecretVersion): string => `${stamp}.${node}.${id}`;

/** 32 hexadecimal digits that are the same on nodes that hold the same versions. */
export function digestOf(modules: Iterable<readonly [string, SecretEntries]>): string {
  const words = [...modules].flatMap(([module, entries]) =>
    [...entries].map(([key, entry]) => `${module} ${key} ${versionWord(entry)}`),
  );
  return createHash("sha256").update(words.sort().join("\n")).digest("hex").slice(0, 32);
}
