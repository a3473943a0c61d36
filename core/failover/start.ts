/** From STOP to WAIT, and out of WAIT: who starts, as what, on which data (trap 20). */
import { claim } from "./alone.ts";
import { elect, isRestored, partAs, peerCandidate, type Relation, relation, renewed } from "./generations.ts";
import { change, newGeneration, persist, plan, queueData, steps } from "./plan.ts";
import { isKept, isOff } from "./power.ts";
import { needsFullCopy } from "./reintegration.ts";
import { askWitness, promotable, rightToStartCold, supersededBy, type Verdict } from "./right_to_run.ts";
import { isPeerWaiting } from "./rules.ts";
import { hasOwnWrites } from "./split_brain.ts";
import {
  byRule,
  candidate,
  command,
  type Draft,
  heardPeer,
  isBusy,
  isConfirmed,
  isServing,
  peerName,
  type State,
  say,
} from "./state.ts";
import type { DurableRecord, PeerView } from "./types.ts";
import { isSuperseded, outdatedByWitness, recorder, soleVersion } from "./witness.ts";

/** STOP to WAIT: prestart cleans up. */
export function startUp(draft: Draft): void {
  draft.leaving = false;
  draft.keptBy = "";
  plan(draft, "start", [
    persist({ running: true }),
    change({ state: "WAIT" }),
    ...steps(draft, "STOP>WAIT", "STOP", "WAIT", "start", "start"),
  ]);
  say(draft, "starts");
}

/** What a settled WAIT does next. */
export function fromWait(draft: Draft): void {
  if (draft.config.kind !== "mirror") {
    plan(draft, "up", [
      change({ state: "UP" }),
      ...steps(draft, "WAIT>UP", "WAIT", "UP", "start", "start"),
      change({ reason: "runs" }),
    ]);
    say(draft, "starts");
    return;
  }
  const peer = heardPeer(draft);
  if (draft.intent?.name === "second") asSecond(draft, peer, draft.intent.full);
  else if (draft.contact === "unknown") say(draft, `looks for ${peerName(draft)}`);
  else if (peer === null) withoutPeer(draft);
  else if (isServing(peer.state)) besidePrimary(draft, peer);
  else withIdlePeer(draft, peer);
}

function asSecond(draft: Draft, peer: PeerView | null, full: boolean): void {
  if (peer === null || !isServing(peer.state)) {
    say(draft, `waits for ${peerName(draft)} to be primary`, primCommand(draft));
    return;
  }
  if (!full) besidePrimary(draft, peer);
  else follow(draft, peer, { full, sacrifice: hasOwnWrites(draft) });
}

function besidePrimary(draft: Draft, peer: PeerView): void {
  const name = peerName(draft);
  draft.outdating = null;
  if (draft.intent?.name === "prim") draft.intent = null;
  const kinship = related(draft, peer);
  const { refused } = draft.replication;
  if (kinship === "unrelated" || refused === "unrelated") {
    say(
      draft,
      `this copy and that of ${name} have no common past: one of them must be replaced whole`,
      command(draft, "second --full"),
    );
  } else if (kinship === "split-brain" || refused === "split-brain") follow(draft, peer, { sacrifice: true });
  else if (kinship === "mineNewer")
    say(draft, `${name} serves older data than this node has: it must stop first`);
  else follow(draft, peer, { full: needsFullCopy(draft) });
}

/** What this copy is to the peer's, as both have it on record. */
const related = (draft: Draft, peer: PeerView): Relation =>
  relation(draft.durable.generations, peer.record.generations);

function follow(draft: Draft, peer: PeerView, how: { full?: boolean; sacrifice?: boolean }): void {
  const name = peerName(draft);
  const cause = how.sacrifice === true ? `follows ${name}, its own writes are kept aside` : `follows ${name}`;
  draft.outdating = null;
  draft.replication = { ...draft.replication, refused: null };
  plan(draft, "follow", [
    persist({
      role: "SECOND",
      running: true,
      ...(countsBeside(draft, peer) ? {} : { consistency: "outdated" }),
    }),
    change({ state: "SECOND", intent: null }),
    ...steps(draft, "WAIT>SECOND", "WAIT", "SECOND", "start", cause, how),
  ]);
  say(draft, cause);
}

/** A copy that counts as up to date keeps doing so only beside a primary that cannot have written alone. */
function countsBeside(draft: Draft, peer: PeerView): boolean {
  const { consistency, generations } = draft.record;
  if (consistency !== "uptodate") return true;
  const equal = relation(generations, peer.record.generations) === "equal";
  return (
    equal && peer.record.role === "PRIM" && !isRestored(candidate(draft, draft.record), peerCandidate(peer))
  );
}

function withIdlePeer(draft: Draft, peer: PeerView): void {
  const name = peerName(draft);
  if (draft.intent?.name === "prim") {
    const refusal = primRefused(draft, draft.intent.force);
    if (refusal === null) {
      startAsPrimary(draft, true);
      return;
    }
    draft.intent = null;
    draft.trouble = refusal;
  }
  if (peer.state === "SECOND") {
    draft.outdating = null;
    say(draft, `${name} is secondary: it takes over, or waits too`);
    return;
  }
  const election = elect(candidate(draft), peerCandidate(peer), draft.config.node, name);
  const isAway = (peer.state === "STOP" && !peer.leaving) || isPeerWaiting(draft, peer);
  const unopposed = isAway && isEqualAndWhole(draft, peer);
  if (draft.config.maintenance && peer.state === "STOP") {
    inMaintenance(draft, "stopped");
    return;
  }
  if (election.winner === "me" || unopposed) {
    startAsPrimary(draft, true, election.winner === "me" ? election.why : "");
    return;
  }
  draft.outdating = null;
  if (election.winner === "peer") {
    if (peer.state === "WAIT") say(draft, `${name} starts first: ${election.why}`);
    else
      say(
        draft,
        byRule(`${election.why}, but is stopped`, "notuptodate_server"),
        `${command(draft, "start")} --node ${name}`,
      );
    return;
  }
  sayWho(draft, election.why);
}

/** The command that makes this node primary, with force only where it needs it; the peer, where this copy has lost what it had. */
function primCommand(draft: Draft): string {
  const peer = heardPeer(draft);
  const mine = candidate(draft, draft.record);
  const isLost = peer !== null && isRestored(mine, peerCandidate(peer));
  if (isLost && !isRestored(peerCandidate(peer), mine))
    return `${command(draft, "prim --force")} --node ${peerName(draft)}`;
  return command(draft, primRefused(draft, false) === null ? "prim" : "prim --force");
}

function isEqualAndWhole(draft: Draft, peer: PeerView): boolean {
  const { consistency } = draft.durable;
  return (
    relation(draft.durable.generations, peer.record.generations) === "equal" &&
    (consistency === "uptodate" || consistency === "outdated") &&
    !isRestored(candidate(draft), peerCandidate(peer))
  );
}

/** The peer does not serve, and only a person may have this node do so. */
function inMaintenance(draft: Draft, peerIs: string): void {
  draft.outdating = null;
  say(draft, `${peerName(draft)} is ${peerIs}, and maintenance is on: no takeover`, primCommand(draft));
}

function sayWho(draft: Draft, why: string): void {
  const blank = draft.record.consistency === "blank";
  say(draft, blank ? `${why}: say which node's data counts` : why, primCommand(draft));
}

function withoutPeer(draft: Draft): void {
  if (draft.intent?.name === "prim") {
    const { force } = draft.intent;
    const refusal = primRefused(draft, force);
    if (refusal === null && (force || !knowsWitness(draft))) {
      startAsPrimary(draft, false);
      return;
    }
    if (refusal !== null) {
      draft.intent = null;
      draft.trouble = refusal;
    }
  }
  if (isKept(draft)) return;
  if (knowsWitness(draft)) {
    // The other one is not stopped by itself either, whoever vouches for it: both would run.
    if (draft.config.maintenance && draft.record.role !== "ALONE" && draft.intent?.name !== "prim") {
      inMaintenance(draft, "silent");
      return;
    }
    byWitness(draft);
    return;
  }
  const right = rightToStartCold(draft);
  if (right.granted) {
    startAsPrimary(draft, false);
    return;
  }
  const { consistency } = draft.record;
  draft.outdating = null;
  if (consistency === "uptodate")
    say(draft, `${peerName(draft)} is silent: ${right.why}`, command(draft, "prim"));
  else
    sayWho(
      draft,
      byRule(`${peerName(draft)} is silent, and this copy is ${consistency}`, "notuptodate_server"),
    );
}

/** Does the witness decide, where the peer is silent? Not for a copy that it never heard of, unless that copy is the only one that can count, or a person says so. */
function knowsWitness(draft: Draft): boolean {
  const { witness, consistency, role } = draft.record;
  if (draft.config.witness?.records === false) return rightToStartCold(draft).granted;
  const isAsked = witness !== null || (consistency === "uptodate" && role === "ALONE");
  return recorder(draft) !== null && (isAsked || draft.intent?.name === "prim");
}

/** Starts without the peer when the witness says that nobody else can. */
function byWitness(draft: Draft): void {
  const name = peerName(draft);
  // What a person asked for was looked at already.
  const copy = draft.intent?.name === "prim" ? null : promotable(draft);
  const generation = draft.outdating ?? newGeneration(draft);
  draft.outdating = null;
  const known = isSuperseded(draft) ? supersededBy(draft) : copy;
  const verdict: Verdict =
    known === null ? askWitness(draft, generation, true) : { is: "refused", why: known };
  if (verdict.is === "granted") startAsPrimary(draft, false);
  else if (verdict.is === "asked")
    say(draft, `${name} is silent: the witness is asked whether this node may start`);
  else {
    if (!isBusy(draft.data)) queueData(draft, outdatedByWitness(draft));
    if (copy !== null || draft.witness.denied !== null) draft.intent = null;
    say(draft, `${name} is silent: ${verdict.why}`, command(draft, "prim --force"));
  }
}

/** Why `prim` is refused here, or null. */
export function primRefused(state: State, force: boolean): string | null {
  const peer = heardPeer(state);
  const name = peerName(state);
  if (peer !== null && isServing(peer.state)) return `${name} is primary already`;
  if (force) return null;
  const { consistency, generations } = state.record;
  const forced = command(state, "prim --force");
  if (peer !== null) {
    const related = relation(generations, peer.record.generations);
    if (consistency === "blank" && peer.record.consistency !== "blank")
      return `${name} holds the data, this node never did; to start on this copy all the same: ${forced}`;
    if (related === "theirsNewer") return `${name} has newer data; to lose it: ${forced}`;
    if (related === "split-brain" || related === "unrelated")
      return `${name} has data that this node lacks; to go on without it: ${forced}`;
    if (isRestored(candidate(state, state.record), peerCandidate(peer)))
      return `this copy was put back to an older state, ${name} has newer data; to lose it: ${forced}`;
    if (related === "equal" && consistency === "outdated") return null;
  }
  // A witness that lost its record says nothing of what the peer holds. Where there is none, a person's word is all there is.
  if (consistency === "blank" && state.contact === "lost" && recorder(state) !== null)
    return `${name} is silent, and may hold the data: this node never did; to start on this copy all the same: ${forced}`;
  if (consistency === "inconsistent")
    return `the reintegration of this copy was interrupted, files may be half old, half new; to start on it all the same: ${forced}`;
  if (consistency === "suspect")
    return `the disk of this node failed; to start on it all the same: ${forced}`;
  if (consistency === "outdated")
    return `${name} went on without this copy; to lose what it wrote: ${forced}`;
  return null;
}

/** Starts ALONE: with the peer's durable consent where it is heard (so that two nodes never start at once), else at once. */
function startAsPrimary(draft: Draft, heard: boolean, why = ""): void {
  const { record } = draft;
  const again = record.role === "ALONE" && record.consistency === "uptodate";
  const generation = draft.outdating ?? newGeneration(draft);
  if (heard) {
    claim(draft, generation);
    if (!isConfirmed(draft, generation)) {
      say(draft, `asks ${peerName(draft)} to record that this node goes first${why && `: ${why}`}`);
      return;
    }
  }
  const isForced = draft.intent?.name === "prim" && draft.intent.force;
  if (!heard && !isForced && !isOff(draft, `${peerName(draft)} is silent`)) return;
  const cause = draft.intent?.name === "prim" ? "started as primary by command" : "starts as primary";
  plan(draft, "start as primary", [
    persist({
      role: "ALONE",
      ...(again ? renewed(record, generation) : startGenerations(draft, generation)),
      consistency: "uptodate",
      wasPrimaryAtParting: again ? record.wasPrimaryAtParting : heard || record.role !== "SECOND",
      ...(heard ? { peerOutdatedIn: generation } : again ? {} : { peerOutdatedIn: null }),
      ...(heard || draft.witness.won !== null ? soleVersion(draft) : { witness: null }),
      running: true,
    }),
    change({ state: "ALONE", outdating: null, outdatedIn: null, intent: null, trouble: null }),
    ...steps(draft, "WAIT>ALONE", "WAIT", "ALONE", "start", cause),
  ]);
  draft.forbidden = null;
  say(draft, cause);
}

/** A copy that was not whole begins a past of its own: nobody may be reintegrated from it by differences. */
function startGenerations(draft: Draft, generation: string): Pick<DurableRecord, "generations"> {
  const { consistency, generations } = draft.record;
  if (consistency === "inconsistent")
    return { generations: { current: generation, parted: null, history: [] } };
  return { generations: partAs(generations, generation) };
}
