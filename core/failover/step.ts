/**
 * The door of the failover core: one pure function from a state and an event to the next state, effects, and a sentence why.
 *
 * An event changes facts; then, level by level, everything that the facts allow is done: first who must yield, then what is urgent for the data,
 * then, when the main lane is idle, what the state wants next. Nothing depends on having seen an edge, so lost messages do no harm.
 */
import { answerOutdate, goAlone, keepConfirmation, noticeNewer } from "./alone.ts";
import { answerCommands, onCommand } from "./commands.ts";
import { because } from "./describe.ts";
import { onDone } from "./done.ts";
import { countLoop } from "./loops.ts";
import { advance, emit, plan, resetStream, steps } from "./plan.ts";
import { forgetPower } from "./power.ts";
import { backOff, endAlone, endTarget, onReport } from "./reintegration.ts";
import { attendChecks, forgetObeyed, obey, onResource, staysInWait } from "./rules.ts";
import { yieldToPeer } from "./split_brain.ts";
import { fromWait, startUp } from "./start.ts";
import { type Draft, heardPeer, isBusy, isServing, peerName, type State, say } from "./state.ts";
import { fence, giveUp, stopModule, toWait } from "./stop.ts";
import { canSwapOut, newSwapId, swapOut, takeBack } from "./swap.ts";
import { whileSecond } from "./takeover.ts";
import type { Effect, Event } from "./types.ts";
import { withoutData } from "./unreplicated.ts";
import {
  armTimer,
  attendWitness,
  beginStep,
  forgetDenial,
  keepRight,
  onAnswer,
  onPromise,
} from "./witness.ts";

export { type Description, describe, readiness, view } from "./describe.ts";
export { blankRecord, initialState, type State } from "./state.ts";

/** What an event leads to. */
export interface Outcome {
  state: State;
  effects: Effect[];
  /** Empty when nothing was decided. */
  why: string;
}

/** Takes one event in. The given state is not changed. */
export function step(state: State, event: Event): Outcome {
  const draft: Draft = { ...state, now: event.now, wall: event.wall, effects: [], why: [] };
  beginStep(draft);
  take(draft, event);
  if (draft.booted) settle(draft);
  // The draft is the next state now. Its effects stay in it, unread: to take them out would be to copy all the rest at each event.
  return { state: draft, effects: draft.effects, why: draft.why.length === 0 ? "" : because(draft) };
}

function take(draft: Draft, event: Event): void {
  switch (event.type) {
    case "boot":
      boot(draft, event);
      return;
    case "command":
      onCommand(draft, event);
      return;
    case "peer":
      if (draft.contact !== "heard" || isServing(event.view.state)) forgetDenial(draft);
      if (draft.contact === "lost") draft.why.push(`${peerName(draft)} is heard again`);
      draft.contact = "heard";
      draft.peer = event.view;
      forgetPower(draft);
      if (event.view.outdate !== null && !isServing(draft.state)) onAsked(draft, event.view.outdate);
      return;
    case "peerLost":
      draft.contact = "lost";
      draft.why.push(event.cause);
      return;
    case "done":
      onDone(draft, event.effect, event.ok, event.detail);
      return;
    case "replication":
      if (event.report.kind === "died" && draft.replication.role === "serving")
        serverDied(draft, event.report.detail);
      else onReport(draft, event.report);
      return;
    case "timer":
      onTimer(draft, event.name);
      return;
    case "fenced":
      if (draft.main.purpose !== "fence" && (isServing(draft.state) || draft.state === "UP")) {
        fence(draft, event.cause);
        resetStream(draft, "idle");
      }
      // It was away for long, and cut off by that: its primary may have gone on alone.
      if (draft.state === "SECOND") {
        draft.forbidden ??= draft.record.generations.current;
        draft.replication = { ...draft.replication, inSync: false, caughtUp: null };
      }
      return;
    case "promised":
      onPromise(draft, event.since);
      return;
    case "witness":
      onAnswer(draft, event);
      return;
    case "copy":
      draft.copy = event.word;
      return;
    case "resource":
      onResource(draft, event);
      return;
  }
}

function boot(draft: Draft, event: Extract<Event, { type: "boot" }>): void {
  draft.booted = true;
  draft.incarnation = event.incarnation;
  draft.record = event.record;
  draft.durable = event.record;
  draft.wanted = event.start || event.adopt !== undefined;
  say(draft, draft.wanted ? "starts with the daemon" : "not started: nobody asked for it");
  if (event.adopt === undefined) return;
  draft.told = event.adopt.state;
  const peerLease = event.adopt.until ?? draft.now + draft.config.timeoutMs;
  draft.witness = { ...draft.witness, peerLease };
  const { role, generations } = event.record;
  draft.state = !isServing(event.adopt.state)
    ? event.adopt.state
    : role === "PRIM" && generations.parted === null
      ? "PRIM"
      : "ALONE";
  if (draft.config.kind === "mirror" && draft.config.replicated) {
    resetStream(draft, event.adopt.state === "SECOND" ? "following" : "serving");
    draft.replication = { ...draft.replication, inSync: event.adopt.inSync };
  }
  say(draft, "went on while the daemon was away");
}

/** From the instant at which the primary's request is read, this copy cannot be promoted. */
function onAsked(draft: Draft, generation: string): void {
  if (draft.state === "SECOND" && draft.record.role === "SECOND" && draft.outdatedIn !== generation)
    draft.forbidden = generation;
}

function onTimer(draft: Draft, name: string): void {
  if (name === "witness") draft.witness = { ...draft.witness, wakeAt: null };
  if (name === "join") onNobodyJoined(draft);
  if (name === "write again") draft.writesBlocked = false;
  if (name === "fence again" && draft.power === "kept") forgetPower(draft);
  if (name === "outdate") draft.outdatingLate = true;
  if (name === "follow again") onFollowAgain(draft);
  if (name === "swap" && draft.swap?.phase === "asked") {
    draft.swap = null;
    draft.trouble = `${peerName(draft)} did not begin the swap in time`;
  }
}

/** What failed is followed again only once it was stopped: where that had to wait, so does this. */
function onFollowAgain(draft: Draft): void {
  // A person started the module meanwhile: what follows now has not failed.
  if (!draft.replication.backOff) return;
  if (draft.replication.role === "following" && draft.state === "SECOND") backOff(draft);
  else draft.replication = { ...draft.replication, backOff: false };
}

function onNobodyJoined(draft: Draft): void {
  const { role, inSync, peerGone } = draft.replication;
  if (role === "serving" && draft.record.role === "PRIM" && !inSync && peerGone === null)
    draft.replication = { ...draft.replication, peerGone: "it did not join in time" };
}

/** The replication process of a serving node died: the mount is dead, and with it the application. */
function serverDied(draft: Draft, detail: string): void {
  // Fencing kills it: that is no news.
  const step = draft.main.waiting?.step;
  if (step?.kind === "effect" && step.body.do === "fence") {
    resetStream(draft, "idle");
    return;
  }
  const cause = `the replication process of ${draft.config.node} died: ${detail}`;
  if (countLoop(draft)) fence(draft, cause);
  else giveUp(draft, `stopped by maxLoop: ${cause}`);
  resetStream(draft, "idle");
}

const MOST_ROUNDS = 24;

function settle(draft: Draft): void {
  forgetObeyed(draft);
  for (let round = 0; round < MOST_ROUNDS; round++) {
    attend(draft);
    const moved = advance(draft, "data", takeBack);
    const started = advance(draft, "main", takeBack) || decide(draft);
    if (!moved && !started) break;
  }
  attendChecks(draft);
  armTimer(draft);
  answerCommands(draft);
}

/** What does not wait for the main lane. */
function attend(draft: Draft): void {
  const peer = heardPeer(draft);
  if (peer !== null) yieldToPeer(draft, peer);
  keepRight(draft);
  const mayAsk = draft.state === "WAIT" || (draft.state === "SECOND" && draft.config.witness);
  if (!isServing(draft.state) && !mayAsk) draft.outdating = null;
  if (isBusy(draft.data) || draft.config.kind !== "mirror") return;
  if (!draft.config.replicated) withoutData(draft, peer);
  if (peer !== null) {
    answerOutdate(draft, peer);
    if (isBusy(draft.data)) return;
    noticeNewer(draft, peer);
    if (isBusy(draft.data)) return;
    endAlone(draft, peer);
    if (isBusy(draft.data)) return;
    endTarget(draft, peer);
    if (isBusy(draft.data)) return;
  }
  keepConfirmation(draft);
  if (!isBusy(draft.data)) goAlone(draft);
  attendWitness(draft);
}

/** What a settled state does next. Returns true when it began something. */
function decide(draft: Draft): boolean {
  if (isBusy(draft.main)) return false;
  const dataSettled = !isBusy(draft.data);
  if (draft.state === "STOP") {
    if (draft.again) {
      draft.again = false;
      draft.wanted = true;
    }
    if (draft.wanted) startUp(draft);
  } else if (!draft.wanted) stopModule(draft, draft.again ? "stopstart" : "stop", draft.reason);
  else if (draft.told !== draft.state) tell(draft);
  else if (!dataSettled && !isServing(draft.state)) return false;
  else if (draft.state === "WAIT") waiting(draft);
  else if (dataSettled && obey(draft)) return true;
  else if (draft.state === "SECOND") whileSecond(draft);
  else if (isServing(draft.state)) whileServing(draft);
  return isBusy(draft.main) || isBusy(draft.data) !== !dataSettled;
}

function waiting(draft: Draft): void {
  if (!staysInWait(draft)) fromWait(draft);
}

/** The state changed in the data lane (ALONE to PRIM and back): the transition hook is told. */
function tell(draft: Draft): void {
  const { told, state } = draft;
  plan(draft, "tell", [
    ...(told === "ALONE" && state === "PRIM"
      ? steps(draft, "ALONE>PRIM", told, state, "peer", draft.reason)
      : steps(draft, "PRIM>ALONE", told, state, "peer", draft.reason)),
    { kind: "change", change: { told: state } },
  ]);
}

function whileServing(draft: Draft): void {
  const peer = heardPeer(draft);
  if (draft.config.kind !== "mirror" || peer === null) return;
  if (draft.replication.inSync && draft.swap?.phase === "promoted") {
    draft.swap = null;
    emit(draft, { do: "publish" });
  }
  if (!canSwapOut(draft)) return;
  const name = peerName(draft);
  const isFree = draft.config.maintenance !== true;
  if (isFree && draft.record.consistency === "suspect" && peer.readiness === "Ready") {
    toWait(draft, `the disk of ${draft.config.node} failed: ${name} takes over`);
  } else if (
    peer.swap?.phase === "asked" &&
    peer.swap.id !== draft.failedSwap &&
    peer.swap.id !== draft.swap?.id
  ) {
    swapOut(draft, peer.swap.id, `swap (asked on ${name})`);
  } else if (isFree && draft.reintegrated && draft.config.failback === name && peer.readiness === "Ready") {
    draft.reintegrated = false;
    if (countLoop(draft)) swapOut(draft, newSwapId(draft), `failback to ${name}`);
    else say(draft, `no failback to ${name}: it came back too often (maxLoop)`);
  }
}
