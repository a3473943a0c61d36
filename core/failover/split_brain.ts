/** Two nodes that serve: who stays, who stops, and who must be silenced at once (G5, trap 15a). */
import { elect, peerCandidate, relation, staysAfterSplit } from "./generations.ts";
import { isCommitted } from "./plan.ts";
import { candidate, type Draft, heardPeer, isBusy, isServing, peerName, type State, say } from "./state.ts";
import { fence, toWait } from "./stop.ts";
import type { PeerView } from "./types.ts";

/** Has this copy writes of its own, of a time when both nodes ran alone? Who overwrites it keeps them aside, whoever asked for that (G5). */
export function hasOwnWrites(state: State): boolean {
  const peer = heardPeer(state);
  return peer !== null && relation(state.durable.generations, peer.record.generations) === "split-brain";
}

/** A node that serves looks at what the peer's record says. */
export function yieldToPeer(draft: Draft, peer: PeerView): void {
  if (!isCommitted(draft)) return;
  const { purpose } = draft.main;
  if (isBusy(draft.main) && purpose === "fence") return;
  const name = peerName(draft);
  const related = relation(draft.record.generations, peer.record.generations);
  // A person gave up what is newer, and the peer agreed: the first step of the start says so on record.
  const isUnrecorded = purpose === "start as primary" && draft.main.steps[0]?.kind === "persist";
  if (related === "theirsNewer" && isUnrecorded && !isServing(peer.state)) return;
  if (related === "theirsNewer") {
    fence(draft, `${name} went on in a newer generation: this node stops at once`);
    return;
  }
  if (!isServing(peer.state) || (isBusy(draft.main) && (purpose === "wait" || purpose === "stop"))) return;
  if (related === "equal") {
    if (elect(candidate(draft, draft.record), peerCandidate(peer), draft.config.node, name).winner === "peer")
      fence(draft, `${name} is primary too, in the same generation: this node stops at once`);
    return;
  }
  if (related !== "split-brain" && related !== "unrelated") return;
  if (staysAfterSplit(draft.record, peer.record, draft.config.node, name)) {
    say(draft, `split brain: both nodes ran alone; ${draft.config.node} stays, it was primary before`);
    return;
  }
  toWait(
    draft,
    `split brain: both nodes ran alone; ${name} stays, this node keeps its own writes aside and follows`,
  );
}
