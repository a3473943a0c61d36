/**
 * What a node does at once when another one dies: to have the kernel take a whole ruleset takes a busy machine a tenth of a second, for which the
 * clients of the dead node would wait. Pure.
 *
 * Its buckets go to who lives; all else (who is asked about a connection that is not known, who answers for the address) follows with the ruleset. Until
 * then packets of the dead node's connections may still be handed to it, and are lost as they were.
 */
import type { Filter } from "./filter.ts";

/** Elements of the set `mine` or of the map `owner` of ruleset.ts that go and come: buckets, and the chain of who has one. */
export interface BucketMoves {
  set: "mine" | "owner";
  gone: number[];
  come: { mark: number; chain?: string }[];
}

/** What `after` moves where the kernel has `before`; null: nothing, or more has changed than that nodes are gone, and all of it is to be in force at once. */
export function movesBetween(before: Filter, after: Filter): BucketMoves[] | null {
  const { me, owners } = after;
  const isKnown = ({ number, mac }: Filter["peers"][number]) =>
    before.peers.some((peer) => peer.number === number && peer.mac === mac);
  const isLoss =
    after.peers.length < before.peers.length &&
    after.peers.every(isKnown) &&
    before.owners.length === owners.length &&
    before.owners.every((owner, bucket) => owner !== me || owners[bucket] === me);
  // Where every node hears every packet, two could take the same one meanwhile.
  if (!isLoss || after.virtualMac !== undefined) return null;
  const moved = owners.flatMap((owner, mark) => (owner === before.owners[mark] ? [] : [{ owner, mark }]));
  if (moved.length === 0) return null;
  const others = moved.filter(({ owner }) => owner !== me);
  return [
    {
      set: "owner",
      gone: moved.map(({ mark }) => mark),
      come: others.map(({ owner, mark }) => ({ mark, chain: `to_${owner}` })),
    },
    { set: "mine", gone: [], come: moved.flatMap(({ owner, mark }) => (owner === me ? [{ mark }] : [])) },
  ];
}
