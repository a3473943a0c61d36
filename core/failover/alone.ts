/**
 * Outdating: the one durable record that decides between going on alone and being promoted (traps 4, 15a, 18).
 *
 * Whoever wants to serve without its peer publishes a new generation. A peer that is heard records durably that it is outdated in it,
 * and says so; from the moment it reads the request it cannot be promoted. Only then, or when the peer is lost, does the other go alone.
 */
import { elect, partAs, peerCandidate, relation, renewed } from "./generations.ts";
import {
  change,
  effect,
  emit,
  isCommitted,
  newGeneration,
  type Purpose,
  persist,
  queueData,
} from "./plan.ts";
import { askWitness } from "./right_to_run.ts";
import { candidate, type Draft, heardPeer, isConfirmed, isServing, peerName } from "./state.ts";
import { fence, toWait } from "./stop.ts";
import type { PeerView } from "./types.ts";
import { isSuperseded, recorder, soleVersion } from "./witness.ts";

/** How long a running primary waits for a peer that is not silent but does not answer, ms. */
const OUTDATE_PATIENCE = 2000;

/** Asks the peer to be outdated in `generation`. */
export function claim(draft: Draft, generation: string): void {
  if (draft.outdating === generation) return;
  draft.outdating = generation;
  draft.outdatingLate = false;
  emit(draft, { do: "publish" });
}

/** Answers the peer's request, unless this node serves or comes first in the election. */
export function answerOutdate(draft: Draft, peer: PeerView): void {
  const asked = peer.outdate;
  if (asked === null || asked === draft.outdatedIn) return;
  if (isCommitted(draft)) return;
  if (draft.outdating !== null && !comesFirst(draft, peer)) return;
  draft.outdating = null;
  recordOutdated(draft, asked, `${peerName(draft)} goes on without this copy`);
}

/** Both ask to go first: both come to the same answer. Where the election has none, newer data goes first, then the name. */
function comesFirst(draft: Draft, peer: PeerView): boolean {
  const { node } = draft.config;
  const name = peerName(draft);
  const { winner } = elect(candidate(draft), peerCandidate(peer), node, name);
  if (winner !== "nobody") return winner === "peer";
  const related = relation(draft.durable.generations, peer.record.generations);
  return related === "theirsNewer" || (related !== "mineNewer" && name < node);
}

function recordOutdated(draft: Draft, generation: string, why: string): void {
  draft.forbidden = generation;
  draft.replication = { ...draft.replication, caughtUp: null, inSync: false };
  draft.why.push(why);
  queueData(draft, [
    ...(draft.record.consistency === "uptodate" || draft.durable.consistency === "uptodate"
      ? [persist({ consistency: "outdated" as const })]
      : []),
    change({ outdatedIn: generation }),
  ]);
}

/** Sees that the peer wrote alone in a newer generation: this copy is outdated even if nobody asked. */
export function noticeNewer(draft: Draft, peer: PeerView): void {
  if (isCommitted(draft) || draft.record.consistency !== "uptodate") return;
  if (relation(draft.record.generations, peer.record.generations) !== "theirsNewer") return;
  recordOutdated(draft, peer.record.generations.current, `${peerName(draft)} has newer data`);
}

/** Keeps the peer's confirmation for a later cold start. */
export function keepConfirmation(draft: Draft): void {
  const { record } = draft;
  const generation = record.generations.current;
  if (record.role !== "ALONE" || record.peerOutdatedIn === generation || !isServing(draft.state)) return;
  if (isConfirmed(draft, generation)) queueData(draft, [persist({ peerOutdatedIn: generation })]);
}

/** A primary without its secondary: outdate it, be durably alone, release the replies. */
export function goAlone(draft: Draft): void {
  if (!isServing(draft.state) || draft.main.purpose === "fence") return;
  if (draft.record.role === "ALONE") stayAlone(draft);
  if (draft.record.role !== "PRIM") return;
  // Once asked, the peer may already have recorded that it is outdated: there is no way back.
  const cause = secondaryGone(draft) ?? (draft.outdating === null ? null : `${peerName(draft)} is outdated`);
  if (cause === null) return;
  if (draft.outdating === null) {
    draft.why.push(`${cause}: goes on alone once that is durable`);
    claim(draft, newGeneration(draft));
    emit(draft, { do: "timer", name: "outdate", ms: OUTDATE_PATIENCE });
  }
  const generation = draft.outdating;
  if (generation === null) return;
  const confirmed = isConfirmed(draft, generation);
  // Heard, or not known yet (the daemon is new): it may still say that it is outdated.
  if (!confirmed && draft.contact !== "lost" && !draft.outdatingLate) return;
  if (!confirmed && !isLetGo(draft, generation, cause)) return;
  emit(draft, { do: "timer", name: "outdate", ms: null });
  queueData(draft, [
    persist({
      role: "ALONE",
      generations: partAs(draft.record.generations, generation),
      wasPrimaryAtParting: true,
      peerOutdatedIn: confirmed ? generation : null,
      ...soleVersion(draft),
    }),
    ...(draft.config.replicated ? [effect({ do: "goAlone", generations: draft.record.generations })] : []),
    change({
      ...{ state: "ALONE", outdating: null, remedy: null },
      // What stops has its reason already, and will not serve.
      ...(STOPPING.has(draft.main.purpose) ? {} : { reason: `${cause}: serves alone` }),
    }),
  ]);
}

/** Does the witness let this node go on alone? Where it never will, this node stops. */
function isLetGo(draft: Draft, generation: string, cause: string): boolean {
  const verdict = askWitness(draft, generation, false);
  if (verdict.is === "refused") {
    const { node } = draft.config;
    if (isSuperseded(draft)) fence(draft, `${cause}; ${verdict.why}: ${node} stops at once`);
    // Where leases end, they decide when it stops; an address that is only pinged lends none.
    else if (recorder(draft) === null && !STOPPING.has(draft.main.purpose))
      toWait(draft, `${cause}, and ${verdict.why}: ${node} is cut off, and stops`);
  }
  return verdict.is === "granted";
}

const STOPPING: ReadonlySet<Purpose> = new Set(["stop", "wait", "fence"]);

/** The target of a reintegration went before it counted. */
function stayAlone(draft: Draft): void {
  const { record } = draft;
  if (draft.replication.peerGone === null) return;
  draft.replication = { ...draft.replication, peerGone: null };
  queueData(draft, [
    persist(renewed(record, newGeneration(draft))),
    effect({ do: "goAlone", generations: record.generations }),
  ]);
}

function secondaryGone(draft: Draft): string | null {
  if (draft.replication.peerGone !== null)
    return `${peerName(draft)} does not acknowledge: ${draft.replication.peerGone}`;
  if (draft.contact === "lost") return `${peerName(draft)} is silent`;
  const peer = heardPeer(draft);
  if (peer === null) return null;
  if (peer.leaving || peer.state === "STOP") return `${peerName(draft)} stopped`;
  return peer.state === "WAIT" ? `${peerName(draft)} is not secondary any more` : null;
}
