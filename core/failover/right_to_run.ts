/**
 * The right to run without the peer's consent: who vouches for this node.
 *
 * Today one voter: what is known of the peer. A witness will be one more here, asked before "continue" is guessed.
 */
import { relation } from "./generations.ts";
import { heardPeer, peerName, type State } from "./state.ts";

/** May this node serve without its peer, and why. */
export interface Right {
  granted: boolean;
  why: string;
}

/** May a secondary be promoted now that its primary is gone? `clean`: the primary said goodbye or is heard and does not serve. */
export function rightToTakeOver(state: State, clean: boolean): Right {
  const copy = promotable(state);
  if (copy !== null) return { granted: false, why: copy };
  if (state.config.maintenance) return { granted: false, why: "maintenance is on" };
  if (state.config.failover === "manual") return { granted: false, why: "failover is manual" };
  if (!clean && state.config.onIsolation === "wait")
    return {
      granted: false,
      why: "that may be a crash or a cut network, and onIsolation is wait",
    };
  return { granted: true, why: clean ? `${peerName(state)} does not serve` : `${peerName(state)} is silent` };
}

/** Why this copy may not be promoted, or null when it may. */
export function promotable(state: State): string | null {
  const { durable } = state;
  if (durable.consistency !== "uptodate")
    return durable.consistency === "inconsistent"
      ? "the reintegration of this copy was interrupted"
      : `this copy is ${durable.consistency}`;
  if (state.forbidden !== null) return `${peerName(state)} may have gone on without this copy`;
  if (state.peer !== null) {
    const related = relation(durable.generations, state.peer.record.generations);
    if (related !== "equal" && related !== "mineNewer" && related !== "blank")
      return `${peerName(state)} has newer data`;
  }
  return null;
}

/** May a node that was last ALONE start again without its peer being heard? */
export function rightToStartCold(state: State): Right {
  const { record } = state;
  if (record.role !== "ALONE" || record.consistency !== "uptodate")
    return { granted: false, why: `${peerName(state)} may have gone further` };
  if (state.config.onIsolation === "wait" && record.peerOutdatedIn !== record.generations.current)
    return {
      granted: false,
      why: `${peerName(state)} never confirmed that it is outdated, and onIsolation is wait`,
    };
  return { granted: true, why: "it was ALONE before, so its data is the newest" };
}

/** Did the peer confirm durably that it is outdated in this generation? */
export function isConfirmed(state: State, generation: string): boolean {
  return heardPeer(state)?.outdatedIn === generation;
}
