/** A secondary and its primary: follow it, take over from it, or wait. */
import { claim } from "./alone.ts";
import { partAs, relation } from "./generations.ts";
import { change, effect, emit, newGeneration, persist, plan, steps } from "./plan.ts";
import { isKept, isOff } from "./power.ts";
import { askWitness, rightToTakeOver, type Verdict } from "./right_to_run.ts";
import { command, type Draft, heardPeer, isConfirmed, isServing, peerName, say } from "./state.ts";
import { toWait } from "./stop.ts";
import { betweenSecondaries } from "./swap.ts";
import type { PeerView } from "./types.ts";
import { isSuperseded, outdatedByWitness, recorder, soleVersion } from "./witness.ts";

/** How long a peer that does not serve any more may take to record that its copy is outdated, ms. */
const CONSENT_PATIENCE = 2000;

/** What a settled secondary does next. */
export function whileSecond(draft: Draft): void {
  if (draft.contact === "unknown") return;
  const peer = heardPeer(draft);
  if (peer === null) {
    if (draft.intent?.name === "prim") toWait(draft, "started as primary by command");
    else primaryGone(draft, `${peerName(draft)} is silent`, false);
    return;
  }
  if (isServing(peer.state)) {
    withPrimary(draft, peer);
    return;
  }
  if (peer.state === "SECOND") {
    draft.outdating = null;
    if (!betweenSecondaries(draft, peer)) toWait(draft, "both nodes are secondary: they choose a primary");
    return;
  }
  const stopped = peer.leaving || peer.state === "STOP";
  primaryGone(draft, `${peerName(draft)} ${stopped ? "stopped" : "does not serve any more"}`, true);
}

function withPrimary(draft: Draft, peer: PeerView): void {
  const name = peerName(draft);
  draft.outdating = null;
  if (draft.intent?.name === "prim") draft.intent = null;
  if (draft.swap?.phase === "drained" || draft.swap?.phase === "failed") draft.swap = null;
  const { role, refused, backOff } = draft.replication;
  const related = relation(draft.durable.generations, peer.record.generations);
  const apart = related === "split-brain" || related === "unrelated";
  if (refused !== null || (apart && role === "idle")) {
    toWait(draft, `this copy cannot follow ${name} as it is`);
    return;
  }
  if (backOff) {
    if (role !== "idle") plan(draft, "follow", [effect({ do: "stopReplication" })]);
    say(draft, draft.trouble ?? `waits a little, then follows ${name} again`);
    return;
  }
  if (related === "mineNewer") return;
  if (role === "idle" && draft.config.replicated)
    plan(draft, "follow", [
      effect({ do: "follow", full: false, sacrifice: false, generations: draft.record.generations }),
    ]);
  say(draft, following(draft));
}

function primaryGone(draft: Draft, cause: string, clean: boolean): void {
  const right = rightToTakeOver(draft, clean);
  if (right.granted && !clean && isKept(draft)) return;
  const verdict: Verdict = right.granted ? consented(draft, clean) : { is: "refused", why: right.why };
  if (verdict.is === "asked")
    say(
      draft,
      `${cause}: the witness is asked whether ${draft.config.node} may take over${refusalOf(draft)}`,
    );
  else if (verdict.is === "granted") {
    if (clean || isOff(draft, cause)) takeOver(draft, cause);
  } else {
    toWait(draft, `${cause}: no takeover, since ${verdict.why}`, outdatedByWitness(draft));
    draft.remedy = command(draft, isSuperseded(draft) ? "prim --force" : "prim");
  }
}

/** Where there is a witness, it or the peer itself must have recorded that this node goes on, before it does. */
function consented(draft: Draft, clean: boolean): Verdict {
  const granted: Verdict = { is: "granted", why: "" };
  if (clean ? recorder(draft) === null : !draft.config.witness) return granted;
  if (!clean) draft.outdating = null;
  const generation = draft.outdating ?? newGeneration(draft);
  if (!clean) return askWitness(draft, generation, true);
  if (draft.outdating === null) emit(draft, { do: "timer", name: "outdate", ms: CONSENT_PATIENCE });
  claim(draft, generation);
  if (isConfirmed(draft, generation)) return granted;
  const verdict = askWitness(draft, generation, false);
  // Where the witness is away, the peer's own word will do.
  const mayConsent = !draft.outdatingLate && draft.witness.denied === null;
  return verdict.is === "refused" && mayConsent ? { ...verdict, is: "asked" } : verdict;
}

const refusalOf = ({ witness }: Draft): string => witness.refusal && ` (${witness.refusal})`;

/** Promotion: decided durably first, so that it binds after a crash; then the stream is sealed, then the application starts. */
function takeOver(draft: Draft, cause: string): void {
  const reason = `${cause}: ${draft.config.node} takes over`;
  const consent = draft.outdating !== null && isConfirmed(draft, draft.outdating) ? draft.outdating : null;
  plan(draft, "take over", [
    persist({
      role: "ALONE",
      generations: partAs(draft.record.generations, consent ?? newGeneration(draft)),
      wasPrimaryAtParting: false,
      peerOutdatedIn: consent,
      ...soleVersion(draft),
      running: true,
    }),
    change({ state: "ALONE", swap: null, outdating: null }),
    ...steps(draft, "SECOND>ALONE", "SECOND", "ALONE", "failover", reason),
  ]);
  say(draft, reason);
}

function following(draft: Draft): string {
  const name = peerName(draft);
  if (draft.replication.inSync) return `follows ${name}`;
  return draft.durable.consistency === "uptodate"
    ? `waits for the stream of ${name}`
    : `catches up with ${name}`;
}
