/**
 * Exchange of roles. The primary stops, drains and records SECOND before the other starts; both stay in one generation, nothing is
 * acknowledged alone meanwhile, so either of them may take over when the other dies half-way.
 */
import { relation } from "./generations.ts";
import { change, emit, persist, plan, steps } from "./plan.ts";
import { promotable } from "./right_to_run.ts";
import { type Draft, heardPeer, isBusy, peerName, type State, say } from "./state.ts";
import { giveUp } from "./stop.ts";
import type { PeerView } from "./types.ts";
import { hasRight, isPromised, recorder } from "./witness.ts";

const ASK_PATIENCE = 30_000;

/** Is this node a primary whose secondary could take over this instant? */
export function canSwapOut(state: State): boolean {
  const peer = heardPeer(state);
  return (
    state.state === "PRIM" &&
    state.record.role === "PRIM" &&
    !isBusy(state.main) &&
    !isBusy(state.data) &&
    state.replication.inSync &&
    state.outdating === null &&
    peer !== null &&
    peer.state === "SECOND" &&
    peer.record.consistency === "uptodate" &&
    relation(state.durable.generations, peer.record.generations) === "equal"
  );
}

/** A swap's id that no node has given before. */
export function newSwapId(draft: Draft): string {
  draft.serial += 1;
  return `${draft.incarnation}.${draft.serial}`;
}

/** The secondary asks. */
export function askSwap(draft: Draft): void {
  draft.swap = { id: newSwapId(draft), phase: "asked" };
  emit(draft, { do: "publish" });
  emit(draft, { do: "timer", name: "swap", ms: ASK_PATIENCE });
}

/** The primary begins. */
export function swapOut(draft: Draft, id: string, cause: string): void {
  plan(draft, "swap out", [
    change({ swap: { id, phase: "stopping" }, reintegrated: false }),
    ...steps(draft, "PRIM>SECOND", "PRIM", "SECOND", "swap", cause),
    { kind: "together" },
    persist({ role: "SECOND", wasPrimaryAtParting: false }),
    change({ state: "SECOND", swap: { id, phase: "drained" } }),
    ...steps(draft, "PRIM>SECOND then", "PRIM", "SECOND", "swap", cause),
  ]);
  say(draft, cause);
}

/** The swap cannot be finished: the primary starts the application again. */
export function takeBack(draft: Draft): void {
  const id = draft.swap?.id ?? "";
  const cause = `the swap could not be finished, ${draft.config.node} stays primary`;
  draft.trouble = cause;
  plan(draft, "start as primary", [
    change({ swap: { id, phase: "failed" }, failedSwap: id }),
    ...steps(draft, "start again", draft.state, draft.state, "swap", cause),
    change({ swap: null }),
  ]);
  say(draft, cause);
}

/** The old primary is drained: this node's turn. */
function swapIn(draft: Draft, id: string): void {
  const cause = `swap with ${peerName(draft)}`;
  plan(draft, "swap in", [
    persist({ role: "PRIM", wasPrimaryAtParting: false }),
    change({ state: "PRIM", swap: { id, phase: "stopping" } }),
    ...steps(draft, "SECOND>PRIM", "SECOND", "PRIM", "swap", cause, { failure: "roll back" }),
    change({ swap: { id, phase: "promoted" } }),
  ]);
  say(draft, cause);
}

/** The new primary cannot start the application: the old one gets it back. */
export function rollBack(draft: Draft, cause: string): void {
  const peer = heardPeer(draft);
  const id = draft.swap?.id ?? "";
  if (draft.record.role !== "PRIM" || draft.outdating !== null || peer?.state !== "SECOND") {
    giveUp(draft, cause);
    return;
  }
  draft.trouble = cause;
  plan(draft, "swap out", [
    ...steps(draft, "PRIM>SECOND", "PRIM", "SECOND", "rollback", cause),
    { kind: "together" },
    persist({ role: "SECOND" }),
    change({ state: "SECOND", swap: { id, phase: "failed" }, failedSwap: id }),
    ...steps(draft, "PRIM>SECOND then", "PRIM", "SECOND", "rollback", cause),
  ]);
  say(draft, cause);
}

/** Does what the peer offers still stand? Where this node stood still it reads it late, and the peer may have taken over meanwhile. */
function stands(draft: Draft): boolean {
  return recorder(draft) === null ? isPromised(draft) : hasRight(draft);
}

/** Two secondaries: one of them is in a swap. Returns false when no swap explains it. */
export function betweenSecondaries(draft: Draft, peer: PeerView): boolean {
  const mine = draft.swap;
  const theirs = peer.swap;
  if (theirs?.phase === "drained") {
    if (mine?.phase === "drained" && mine.id !== theirs.id) return false;
    if (mine?.phase === "failed" && mine.id === theirs.id) return true;
    const able =
      promotable(draft) === null && draft.durable.role === "SECOND" && theirs.id !== draft.failedSwap;
    const equal = relation(draft.durable.generations, peer.record.generations) === "equal";
    if (able && equal) {
      if (stands(draft)) swapIn(draft, theirs.id);
    } else {
      draft.swap = { id: theirs.id, phase: "failed" };
      draft.failedSwap = theirs.id;
      emit(draft, { do: "publish" });
    }
    return true;
  }
  if (theirs?.phase === "failed") {
    if (promotable(draft) !== null || draft.failedSwap === theirs.id) return false;
    if (stands(draft)) resume(draft, theirs.id);
    return true;
  }
  return mine?.phase === "drained" || mine?.phase === "failed";
}

/** The old primary takes the role again, in the same generation. */
function resume(draft: Draft, id: string): void {
  const cause = `${peerName(draft)} could not take the role: ${draft.config.node} is primary again`;
  plan(draft, "swap in", [
    persist({ role: "PRIM" }),
    change({ state: "PRIM", swap: null, failedSwap: id, trouble: cause }),
    ...steps(draft, "SECOND>PRIM", "SECOND", "PRIM", "swap", cause),
  ]);
  say(draft, cause);
}
