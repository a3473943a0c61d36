/**
 * Who serves which bucket of clients. Pure: a function of the module's nodes, their weights and who serves now, of nothing that happened before, so
 * that every node computes the same whatever the order of events.
 *
 * How many buckets a node has is its exact share, rounded by largest remainders (Hamilton's method; Balinski and Young, Fair Representation,
 * 1982). Which they are: with all nodes there, those for which the node draws the highest lots of all that still have room (rendezvous hashing,
 * Thaler and Ravishankar 1998, with the bounded loads of Mirrokni, Thorup and Zadimoghaddam, SODA 2018). That is each bucket's home. When nodes
 * are away, a bucket at home stays there, and only those whose home is away draw lots anew: the failure of one node, and its return, move its
 * own buckets, and no more than one other for each node where the rounding turns the other way.
 */

/** Clients are told apart by a hash, which has so many values. */
export const BUCKETS = 256;

/** What decides beside the membership: from module.yaml, the same on every node. */
export interface Shares {
  /** Every node of the module, whether it serves or not. */
  nodes: readonly string[];
  /** By node; 1 where absent. A node of weight 0 serves only when no other does. */
  weights: Readonly<Record<string, number>>;
  /** The first of these that serves has every bucket; empty: weights decide. */
  priority: readonly string[];
}

/** By bucket, the node that has it: BUCKETS of them, or none at all when nobody serves. */
export type Assignment = readonly string[];

/** Shares the buckets out among `serving`, which may be in any order and name only nodes of `shares`. */
export function assign(shares: Shares, serving: Iterable<string>): Assignment {
  const present = new Set(serving);
  const here = inOrder(shares.nodes.filter((node) => present.has(node)));
  if (here.length === 0) return [];
  if (shares.priority.length > 0) {
    const first = shares.priority.find((node) => present.has(node)) ?? here[0]!;
    return new Array<string>(BUCKETS).fill(first);
  }
  const home = draw(quotas(inOrder(shares.nodes), shares.weights), []);
  return draw(quotas(here, shares.weights), home);
}

/** The node of these that does something for all, told by `what`: who leaves or comes changes it only when it is that one. */
export function elected(what: string, candidates: Iterable<string>): string | null {
  const lots = [...candidates].map((node) => ({ node, lot: lot(what, node) }));
  return lots.sort(byLot)[0]?.node ?? null;
}

/** By node, how many buckets are its. Together BUCKETS; each within one of the exact share. */
function quotas(nodes: readonly string[], weights: Shares["weights"]): Map<string, number> {
  const weigh = (node: string): number => weights[node] ?? 1;
  const idle = nodes.every((node) => weigh(node) === 0);
  const total = nodes.reduce((sum, node) => sum + (idle ? 1 : weigh(node)), 0);
  const exact = nodes.map((node) => (BUCKETS * (idle ? 1 : weigh(node))) / total);
  const result = new Map(nodes.map((node, at) => [node, Math.floor(exact[at]!)]));
  const left = BUCKETS - [...result.values()].reduce((sum, count) => sum + count, 0);
  const remainder = (at: number): number => exact[at]! - Math.floor(exact[at]!);
  const places = nodes.map((_, at) => at).sort((a, b) => remainder(b) - remainder(a) || a - b);
  for (const at of places.slice(0, left)) result.set(nodes[at]!, result.get(nodes[at]!)! + 1);
  return result;
}

/** Gives every bucket to a node with room: the one it has in `home`, as far as there is room, else by the highest lots. */
function draw(quota: ReadonlyMap<string, number>, home: Assignment): Assignment {
  const room = new Map(quota);
  const result = new Array<string>(BUCKETS).fill("");
  const take = (lots: readonly Lot[]): void => {
    for (const { bucket, node } of [...lots].sort(byLot)) {
      const free = room.get(node) ?? 0;
      if (result[bucket] !== "" || free === 0) continue;
      result[bucket] = node;
      room.set(node, free - 1);
    }
  };
  take(home.map((node, bucket) => ({ bucket, node, lot: lot(String(bucket), node) })));
  const nodes = [...quota.keys()];
  take(
    result.flatMap((taken, bucket) =>
      taken === "" ? nodes.map((node) => ({ bucket, node, lot: lot(String(bucket), node) })) : [],
    ),
  );
  return result;
}

interface Lot {
  bucket: number;
  node: string;
  lot: number;
}

function byLot(one: Omit<Lot, "bucket">, other: Omit<Lot, "bucket">): number {
  return other.lot - one.lot || (one.node < other.node ? -1 : 1);
}

/** Nodes in the order that numbers them. */
export function inOrder(nodes: readonly string[]): string[] {
  return [...nodes].sort((one, other) => (one < other ? -1 : 1));
}

/** What a node draws for something: 32 bits, the same on every machine (FNV-1a, its bits mixed as murmur3 ends). */
function lot(what: string, node: string): number {
  let hash = hashOf(`${what}\n${node}`);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A number for a text, 32 bits: FNV-1a over its UTF-16 units. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
