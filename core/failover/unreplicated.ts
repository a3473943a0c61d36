/** A mirror that replicates no directory: the same life, with nothing to copy. */
import { relation, together } from "./generations.ts";
import { change, persist, queueData } from "./plan.ts";
import { type Draft, isBusy, isServing } from "./state.ts";
import type { PeerView } from "./types.ts";

/** Stands in for the data path: every copy of nothing is caught up at once. */
export function withoutData(draft: Draft, peer: PeerView | null): void {
  const inSync =
    peer !== null &&
    relation(draft.durable.generations, peer.record.generations) === "equal" &&
    (draft.state === "SECOND"
      ? isServing(peer.state) && draft.durable.consistency === "uptodate" && draft.forbidden === null
      : draft.state === "PRIM" && peer.state === "SECOND" && peer.record.consistency === "uptodate");
  draft.replication = {
    ...draft.replication,
    inSync,
    caughtUp:
      draft.state === "SECOND" && !inSync && peer !== null && isServing(peer.state) && peer.outdate === null
        ? peer.record.generations
        : null,
  };
  if (peer === null || draft.state !== "ALONE" || draft.record.role !== "PRIM" || isBusy(draft.data)) return;
  if (peer.state !== "SECOND" || peer.record.consistency !== "uptodate") return;
  if (peer.record.generations.current !== draft.record.generations.current) return;
  queueData(draft, [
    persist({ generations: together(draft.record.generations) }),
    change({ state: "PRIM", reintegrated: true }),
  ]);
}
