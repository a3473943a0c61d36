/**
 * The witness, as the core sees it: what is asked of it, and what its answers are good for (G3, G4).
 *
 * Two things, which fail apart. The *right to run* of a node that has its peer (PRIM) is the peer's promise or the witness's lease, whichever lasts
 * longer; with neither, the node fences itself. *Who alone may go on* is one record, changed by compare-and-swap from the version that both copies are
 * good for: whoever changes it may go on for as long as it likes, since its peer's attempt fails from then on. So a witness that is away disturbs
 * neither two nodes that see each other nor one that is alone by its record.
 */
import { change, emit, persist, queueData, type Step } from "./plan.ts";
import {
  byRule,
  type Draft,
  heardPeer,
  isBusy,
  isConfirmed,
  isServing,
  nobodyAsked,
  peerName,
  type State,
  witnessKind,
} from "./state.ts";
import { fence } from "./stop.ts";
import type { DurableRecord, Event, WitnessAnswer, WitnessConfig, WitnessWord } from "./types.ts";

/** Share of a lease or a promise, from when it was asked for, for which this node counts on it: what ends it takes the rest up to 0.8. */
const HOLDS = 0.72;
/** Share of the heartbeat timeout after which a promise is old enough to ask the witness too. */
const OLD_PROMISE = 0.35;
/** Shares of a lease: between two requests of a holder, and after an answer that was no, or from one request to the next where none came. */
const RENEW = 0.25;
const AGAIN = 0.15;
/** The record is looked at that often, ms. */
const READ_EVERY = 5000;
/** So many answers in a row that say nothing: the witness is away. */
const AWAY = 3;

/** The witness, where it records. */
export function recorder(state: State): WitnessConfig | null {
  const { witness, kind } = state.config;
  return kind === "mirror" && witness?.records === true ? witness : null;
}

/** Does the witness not answer? */
export function isAway(state: State): boolean {
  return state.witness.silent >= AWAY;
}

/** Did the witness record that the peer goes on, from the version that this copy is good for? */
export function isSuperseded(state: State): boolean {
  return state.witness.denied !== null && state.witness.denied.sole === state.config.peer;
}

/** Takes an answer in. One that was not waited for counts for nothing. */
export function onAnswer(draft: Draft, { effect, answer }: Extract<Event, { type: "witness" }>): void {
  const { lease, read, sole } = draft.witness.asked;
  if (effect !== lease && effect !== read && effect !== sole?.effect) return;
  const silent = answer.kind === "unknown" ? draft.witness.silent + 1 : 0;
  const news = "word" in answer ? answer.word : undefined;
  const { word, wordAt, denied } = draft.witness;
  draft.witness = {
    ...draft.witness,
    wordAt: news === undefined || news.version === word?.version ? wordAt : draft.now,
    silent,
    word: news ?? word,
    isNews: news !== undefined,
    // What was denied once is asked again where the record has changed.
    denied: news === undefined || news.version === denied?.version ? denied : null,
  };
  if (effect === lease) onLease(draft, answer);
  else if (effect === read) onRecord(draft, answer);
  else onSole(draft, answer);
}

function onLease(draft: Draft, answer: WitnessAnswer): void {
  const { leaseMs } = draft.config.witness ?? { leaseMs: 0 };
  const granted = answer.kind === "granted" && !isPeersTurn(draft);
  // What no answer came to has taken its time already: a promise has none to lose.
  const pause = granted ? RENEW : answer.kind === "unknown" ? 0 : AGAIN;
  const { next } = draft.witness;
  draft.witness = {
    ...draft.witness,
    asked: { ...draft.witness.asked, lease: null },
    lease: granted ? Math.max(draft.witness.lease, answer.sentAt + HOLDS * leaseMs) : draft.witness.lease,
    next: { ...next, lease: Math.max(next.lease, draft.now + pause * leaseMs) },
    refusal: "why" in answer ? answer.why : "",
  };
}

/**
 * The peer is on record as the one that goes on, and this copy is not good for that version: a lease says only that the peer asks for none, since it has
 * what it needs, and is about to start. Who does not run may have it: the record refuses it what it wants.
 */
function isPeersTurn(draft: Draft): boolean {
  const { isNews, word } = draft.witness;
  const isPeers = isNews && word !== null && word.sole === draft.config.peer;
  return isPeers && word.version !== draft.record.witness && isServingTogether(draft);
}

function onRecord(draft: Draft, answer: WitnessAnswer): void {
  const every = answer.kind === "unknown" ? AGAIN * (draft.config.witness?.leaseMs ?? 0) : READ_EVERY;
  const { asked, next } = draft.witness;
  draft.witness = {
    ...draft.witness,
    asked: { ...asked, read: null },
    next: { ...next, read: draft.now + every },
  };
  // The same reading tells what became of a compare-and-swap whose own answer was unclear.
  if (asked.sole !== null && asked.sole.effect === asked.read) settleQuestion(draft, answer);
}

function onSole(draft: Draft, answer: WitnessAnswer): void {
  const { sole } = draft.witness.asked;
  if (answer.kind === "unknown" && sole !== null) {
    const effect = emit(draft, { do: "readWitness" });
    draft.witness = {
      ...draft.witness,
      asked: { ...draft.witness.asked, sole: { ...sole, effect }, read: effect },
    };
    return;
  }
  settleQuestion(draft, answer);
}

/** It is known what came of the compare-and-swap, or that nothing is known of it: then it is asked again. */
function settleQuestion(draft: Draft, answer: WitnessAnswer): void {
  const { asked, next } = draft.witness;
  const question = asked.sole;
  const again = draft.now + AGAIN * (draft.config.witness?.leaseMs ?? 0);
  draft.witness = {
    ...draft.witness,
    asked: { ...asked, sole: null },
    next: { ...next, sole: again },
    refusal: "why" in answer ? answer.why : "",
  };
  if (question === null || !("word" in answer) || answer.word === undefined) return;
  const { word } = answer;
  if (word.version === question.expected) return;
  if (word.sole !== question.sole) {
    if (question.expected === draft.record.witness) draft.witness = { ...draft.witness, denied: word };
    return;
  }
  const isAlone = draft.durable.role === "ALONE" && isServing(draft.state);
  if (word.sole === null ? isTogetherWithSecond(draft) : isAlone) agreed(draft, word.version);
  else if (word.sole !== null) draft.witness = { ...draft.witness, won: word.version };
}

/** The version on record is the one that this copy is good for, from now on. */
function agreed(draft: Draft, version: string): void {
  if (!isBusy(draft.data) && isSettled(draft)) queueData(draft, [persist({ witness: version }), change({})]);
}

/** Asks for the right to run, or for more of it. */
export function askLease(draft: Draft): void {
  const { asked, next, wants } = draft.witness;
  if (asked.lease !== null) return;
  if (draft.now < next.lease) {
    draft.witness = { ...draft.witness, wants: { ...wants, lease: true } };
    return;
  }
  const pause = AGAIN * (draft.config.witness?.leaseMs ?? 0);
  draft.witness = {
    ...draft.witness,
    asked: { ...asked, lease: emit(draft, { do: "askLease" }) },
    next: { ...next, lease: draft.now + pause },
  };
}

/** Has this node a lease of the witness, by its own clock? */
export function isLeased(state: State): boolean {
  return state.now < state.witness.lease;
}

/**
 * Has the witness just recorded that this node is the sole one? Asks it, where not. `leased`: only who has a lease too may begin to run, since the
 * peer may still do so by its own.
 */
export function isSole(draft: Draft, generation: string, leased: boolean): boolean {
  if (leased && !isLeased(draft) && draft.witness.denied === null) {
    askLease(draft);
    return false;
  }
  if (draft.witness.won !== null) return true;
  if (draft.witness.denied !== null) return false;
  const { word } = draft.witness;
  const expected = draft.record.witness ?? word?.version ?? null;
  if (expected === null) askRecord(draft);
  // A copy that never agreed with the witness knows nothing that would undo what is on record of the peer.
  else if (draft.record.witness === null && word?.sole === draft.config.peer)
    draft.witness = { ...draft.witness, denied: word };
  else askSole(draft, draft.config.node, generation, expected);
  return false;
}

/** For the record of a node that goes alone: the version that it has just won, where that is how. */
export function soleVersion(draft: Draft): Pick<DurableRecord, "witness"> {
  return { witness: draft.witness.won ?? draft.record.witness };
}

/** What a copy is worth of which the witness says that the peer goes on without it: the steps that record it. */
export function outdatedByWitness(draft: Draft): Step[] {
  const { consistency } = draft.record;
  return isSuperseded(draft) && consistency === "uptodate" ? [persist({ consistency: "outdated" })] : [];
}

function askSole(draft: Draft, sole: string | null, generation: string, expected: string): void {
  const { asked, next, wants } = draft.witness;
  if (asked.sole !== null) return;
  if (draft.now < next.sole) {
    draft.witness = { ...draft.witness, wants: { ...wants, sole: true } };
    return;
  }
  const effect = emit(draft, { do: "recordSole", sole, generation, expected });
  draft.witness = {
    ...draft.witness,
    asked: { ...asked, sole: { effect, sole, generation, expected } },
  };
}

function askRecord(draft: Draft): void {
  const { asked, next } = draft.witness;
  if (asked.read !== null || draft.now < next.read) return;
  draft.witness = { ...draft.witness, asked: { ...asked, read: emit(draft, { do: "readWitness" }) } };
}

/** Until when this node may run what it runs, as `now`; null: without an end. */
export function rightUntil(state: State): number | null {
  if (recorder(state) === null || !isServingTogether(state)) return null;
  const { outdating, witness } = state;
  if (witness.won !== null || (outdating !== null && isConfirmed(state, outdating))) return null;
  return Math.max(witness.peerLease, witness.lease);
}

/** Has this node the right to run, now? */
export function hasRight(state: State): boolean {
  return recorder(state) === null || state.now < Math.max(state.witness.peerLease, state.witness.lease);
}

/** Serves, or begins to, as one of two copies that count: the other could be promoted. */
function isServingTogether(state: State): boolean {
  const serves = isServing(state.state) || (isBusy(state.main) && state.main.purpose === "swap in");
  return serves && state.record.role === "PRIM";
}

/** Has the peer promised that it is not promoted yet? */
export function isPromised(state: State): boolean {
  return state.now < state.witness.peerLease;
}

/** The peer promised, as an answer to what was sent at `since`. */
export function onPromise(draft: Draft, since: number): void {
  if (since <= draft.witness.promisedAt) return;
  draft.witness = { ...draft.witness, promisedAt: since, peerLease: since + HOLDS * draft.config.timeoutMs };
}

/**
 * Another witness than before, or none: what was known of the former one counts no more. A node that serves had its right without the new one, and has a
 * timeout to get another.
 */
function meet(draft: Draft): void {
  const does = witnessKind(draft.config);
  if (does === draft.witness.does) return;
  const { wakeAt } = draft.witness;
  draft.witness = { ...nobodyAsked, does, wakeAt };
  if (rightUntil(draft) === null) return;
  draft.witness = { ...draft.witness, peerLease: draft.now + draft.config.timeoutMs };
}

/** A node that serves keeps its right, or stops at once. */
export function keepRight(draft: Draft): void {
  const until = rightUntil(draft);
  if (until === null || draft.main.purpose === "fence") return;
  if (draft.now >= draft.witness.promisedAt + OLD_PROMISE * draft.config.timeoutMs) askLease(draft);
  if (draft.now < until) return;
  const { node } = draft.config;
  fence(
    draft,
    byRule(
      `neither ${peerName(draft)} nor the witness vouches for ${node} any more: it stops before ${peerName(draft)} may start`,
      "splitbrain_failure",
    ),
  );
}

/** What must not wait for the main lane: the record is looked at, and agrees with what this node is. */
export function attendWitness(draft: Draft): void {
  if (recorder(draft) === null || draft.state === "STOP") return;
  askRecord(draft);
  if (draft.witness.word === null || isBusy(draft.data)) return;
  if (isServing(draft.state) && draft.durable.role === "ALONE") ownRecord(draft, draft.witness.word);
  else if (isTogetherWithSecond(draft)) agree(draft, draft.witness.word);
  else adoptVersion(draft);
}

/** Alone by its record, or with the peer's consent: the record says so, unless a person decided for the other. */
function ownRecord(draft: Draft, word: WitnessWord): void {
  const { record } = draft;
  if (word.version === record.witness || draft.main.purpose === "fence") return;
  const hasConsent = record.peerOutdatedIn === record.generations.current;
  const isPeers = word.sole === draft.config.peer && draft.witness.isNews;
  if (isPeers && !hasConsent && record.witness !== null) {
    fence(
      draft,
      byRule(
        `the witness has recorded that ${peerName(draft)} goes on: this node stops at once`,
        "splitbrain_failure",
      ),
    );
    return;
  }
  askSole(draft, draft.config.node, record.generations.current, word.version);
}

/**
 * Both are together, and the record is of another time: new, lost, or of the peer's attempt that came to nothing. Of that only a promise of the peer
 * since then is a proof: a machine whose clocks stood still takes what it heard before for the present, and the peer has gone on meanwhile.
 */
function agree(draft: Draft, word: WitnessWord): void {
  const { promisedAt, wordAt } = draft.witness;
  if (word.version === draft.record.witness) return;
  if (word.sole === draft.config.peer && promisedAt <= wordAt) return;
  askSole(draft, null, draft.record.generations.current, word.version);
}

function isTogetherWithSecond(draft: Draft): boolean {
  const { record, replication, outdating } = draft;
  return (
    draft.state === "PRIM" &&
    record.role === "PRIM" &&
    draft.durable.role === "PRIM" &&
    replication.inSync &&
    outdating === null &&
    heardPeer(draft)?.state === "SECOND"
  );
}

/** A secondary whose copy is whole is good for the version that its primary is good for. */
function adoptVersion(draft: Draft): void {
  const peer = heardPeer(draft);
  const { role, consistency } = draft.record;
  // A takeover that is being written has won a version of its own.
  if (peer === null || draft.state !== "SECOND" || role !== "SECOND" || consistency !== "uptodate") return;
  if (draft.forbidden !== null || !draft.replication.inSync || peer.state !== "PRIM") return;
  if (peer.record.role !== "PRIM" || peer.outdate !== null) return;
  const version = peer.record.witness ?? null;
  if (version === null || version === draft.record.witness) return;
  if (peer.record.generations.current !== draft.durable.generations.current) return;
  queueData(draft, [persist({ witness: version })]);
}

/** No write is under way that another would overtake. */
function isSettled(draft: Draft): boolean {
  return draft.writes.length === 0 && !draft.writesBlocked;
}

/** Arms the one timer of it all, where something becomes due earlier than it comes. */
export function armTimer(draft: Draft): void {
  const due = nextDue(draft);
  const { wakeAt } = draft.witness;
  if (due === null || (wakeAt !== null && wakeAt <= due + 1)) return;
  draft.witness = { ...draft.witness, wakeAt: due };
  emit(draft, { do: "timer", name: "witness", ms: Math.max(1, due - draft.now) });
}

function nextDue(draft: Draft): number | null {
  const { config, state, witness } = draft;
  if (!config.witness || config.kind !== "mirror" || state === "STOP") return null;
  const { asked, next, wants } = witness;
  const due: number[] = [];
  if (config.witness.records && asked.read === null) due.push(next.read);
  if (wants.lease && asked.lease === null) due.push(next.lease);
  if (wants.sole && asked.sole === null) due.push(next.sole);
  const until = rightUntil(draft);
  if (until !== null && draft.main.purpose !== "fence") {
    due.push(until);
    const old = witness.promisedAt + OLD_PROMISE * config.timeoutMs;
    if (asked.lease === null) due.push(Math.max(old, next.lease));
  }
  return due.length === 0 ? null : Math.min(...due);
}

/** Begins a step: what was wanted is wanted anew, if it still is. */
export function beginStep(draft: Draft): void {
  meet(draft);
  draft.witness = { ...draft.witness, wants: { lease: false, sole: false }, won: null, isNews: false };
}

/** The peer is heard again, or serves: what was denied before counts no more. */
export function forgetDenial(draft: Draft): void {
  if (draft.witness.denied !== null) draft.witness = { ...draft.witness, denied: null };
}
