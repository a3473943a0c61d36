/**
 * Plans: queues of steps with one effect outstanding, so that a crash can fall between any two, and the order is data.
 */
import { type Act, ORDER, type Transition } from "./order.ts";
import { type Draft, isBusy, isServing, type Lane, type State } from "./state.ts";
import type { DurableRecord, Effect, HookName, ModuleState } from "./types.ts";

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;
/** An effect before it has a number. */
export type Body = WithoutId<Effect>;

/** What a failed step leads to. `stop again`: a stop hook, called again with force, then fenced. */
export type OnFailure =
  | "go on"
  | "no takeover"
  | "stop again"
  | "give up"
  | "take back"
  | "roll back"
  | "fence"
  | "restart all";

/** What a step may change in the state at once. */
export type Change = Partial<
  Pick<
    State,
    | "state"
    | "told"
    | "leaving"
    | "swap"
    | "outdating"
    | "outdatedIn"
    | "reason"
    | "remedy"
    | "trouble"
    | "intent"
    | "failedSwap"
    | "reintegrated"
  >
>;

/** One step of a plan. */
export type Step =
  | { kind: "effect"; body: Body; onFailure: OnFailure }
  | { kind: "persist"; patch: Partial<DurableRecord> }
  | { kind: "change"; change: Change }
  /** Swap only: go on if nothing changed meanwhile, else take back. */
  | { kind: "together" }
  /** Nothing runs here any more: the witness's lease is given back. Left out where anything before it failed. */
  | { kind: "release" }
  /** Lets the data path go on, if the connection is still the one that asked. */
  | { kind: "proceed"; after: "reintegrating" | "caughtUp"; connection: number };

/** A step that runs an effect. */
export function effect(body: Body, onFailure: OnFailure = "go on"): Step {
  return { kind: "effect", body, onFailure };
}
/** A step that answers a report of the data path. */
export function proceed(draft: Draft, after: "reintegrating" | "caughtUp"): Step {
  return { kind: "proceed", after, connection: draft.replication.connection };
}
/** A step that writes the record. */
export function persist(patch: Partial<DurableRecord>): Step {
  return { kind: "persist", patch };
}
/** A step that changes the state and tells the peer. */
export function change(what: Change): Step {
  return { kind: "change", change: what };
}

function hookFailure(hook: HookName, failure: OnFailure): OnFailure {
  if (hook === "transition" || hook === "poststop") return "go on";
  return hook.startsWith("stop_") ? "stop again" : failure;
}

/** The steps of a transition. `failure` says what a failing start leads to. */
export function steps(
  draft: Draft,
  transition: Transition,
  from: ModuleState,
  to: ModuleState,
  action: string,
  cause: string,
  options: { failure?: OnFailure; full?: boolean; sacrifice?: boolean } = {},
): Step[] {
  const failure = options.failure ?? "give up";
  const acts: readonly Act[] = ORDER[transition];
  const result: Step[] = [];
  for (const act of acts) {
    const step = stepOf(draft, act, failure, { from, to, action, cause }, options);
    if (step !== null) result.push(step);
    if (act === "transition") result.push({ kind: "change", change: { told: to } });
  }
  return result;
}

function stepOf(
  draft: Draft,
  act: Act,
  failure: OnFailure,
  hook: { from: ModuleState; to: ModuleState; action: string; cause: string },
  options: { full?: boolean; sacrifice?: boolean },
): Step | null {
  const replicated = draft.config.replicated && draft.config.kind === "mirror";
  const generations = draft.record.generations;
  switch (act) {
    case "!serve":
      return replicated ? effect({ do: "serve", alone: true, generations }, failure) : null;
    case "!serve together":
      return replicated ? effect({ do: "serve", alone: false, generations }, failure) : null;
    case "!seal":
      return replicated ? effect({ do: "sealStream" }) : null;
    case "!follow":
      return replicated
        ? effect({
            do: "follow",
            full: options.full === true,
            sacrifice: options.sacrifice === true,
            generations,
          })
        : null;
    case "!address up":
      return draft.config.virtualIp ? effect({ do: "virtualIp", up: true }, failure) : null;
    case "!address down":
      return draft.config.virtualIp ? effect({ do: "virtualIp", up: false }) : null;
    case "!end stream":
      return replicated
        ? effect({ do: "stopReplication" }, hook.action === "swap" ? "take back" : "fence")
        : null;
    default:
      return effect({ do: "hook", hook: act, ...hook, force: false }, hookFailure(act, failure));
  }
}

/** What the main lane is for. The committed ones have already decided that this node serves. */
export type Purpose =
  | "start"
  | "start as primary"
  | "take over"
  | "swap in"
  | "swap out"
  | "follow"
  | "up"
  | "restart"
  | "restart part"
  | "stop"
  | "wait"
  | "fence"
  | "tell"
  | "cut power"
  | "";

const COMMITTED: ReadonlySet<Purpose> = new Set(["start as primary", "take over", "swap in"]);

/** Is this node past the decision to serve, or does it serve? */
export function isCommitted(draft: State): boolean {
  return (
    draft.state === "ALONE" ||
    draft.state === "PRIM" ||
    (isBusy(draft.main) && COMMITTED.has(draft.main.purpose))
  );
}

/** Replaces what the main lane has left. An effect that is outstanding is waited for first. */
export function plan(draft: Draft, purpose: Purpose, list: readonly Step[]): void {
  draft.main = { purpose, steps: list, waiting: draft.main.waiting };
}

/** Adds steps to the data lane, which never waits for a hook. */
export function queueData(draft: Draft, list: readonly Step[]): void {
  draft.data = {
    purpose: "",
    steps: [...draft.data.steps, ...list],
    waiting: draft.data.waiting,
  };
}

/** Emits an effect and returns its number. */
export function emit(draft: Draft, body: Body): number {
  draft.serial += 1;
  const next = { id: draft.serial, ...body } as Effect;
  draft.effects.push(next);
  return next.id;
}

/** How long a primary that does not write alone waits for its secondary to join, ms. */
const JOIN_PATIENCE = 5000;

const WITHOUT_DONE: ReadonlySet<Effect["do"]> = new Set([
  "proceed",
  "timer",
  "publish",
  "check",
  "shout",
  "answer",
  "askLease",
  "recordSole",
  "readWitness",
  "releaseLease",
]);

/** Runs a lane until a step waits, it is empty, or a check diverts it. Returns true when something was done. */
export function advance(draft: Draft, which: "main" | "data", takeBack: (draft: Draft) => void): boolean {
  let moved = false;
  while (draft[which].waiting === null && draft[which].steps.length > 0) {
    const lane: Lane = draft[which];
    const step = lane.steps[0]!;
    if (mustWait(draft, step)) break;
    draft[which] = { ...lane, steps: lane.steps.slice(1) };
    moved = true;
    run(draft, which, step, takeBack);
  }
  return moved;
}

/** Writes come one after the other, and what tells the data path of a generation comes after them: an effect never runs ahead of the record. */
function mustWait(draft: Draft, step: Step): boolean {
  if (step.kind === "persist") return draft.writes.length > 0 || draft.writesBlocked;
  if (step.kind !== "effect") return false;
  // What begins to serve was told that it is not alone: that comes first, or the news that it is would find nobody.
  if (step.body.do === "goAlone" && isBeginningToServe(draft)) return true;
  if (draft.writes.length === 0) return false;
  return step.body.do === "serve" || step.body.do === "follow" || step.body.do === "goAlone";
}

function isBeginningToServe({ main }: Draft): boolean {
  const step = main.waiting?.step;
  return step?.kind === "effect" && step.body.do === "serve";
}

function run(draft: Draft, which: "main" | "data", step: Step, takeBack: (draft: Draft) => void): void {
  switch (step.kind) {
    case "persist": {
      const before = draft.record;
      const next = { ...before, ...step.patch };
      if (
        next.role !== before.role ||
        next.consistency !== before.consistency ||
        next.generations !== before.generations
      )
        next.counter = before.counter + 1;
      next.peerCounter = Math.max(before.peerCounter, draft.peer?.record.counter ?? 0);
      draft.record = next;
      const id = emit(draft, { do: "persist", record: next });
      draft.writes = [...draft.writes, { effect: id, record: next }];
      wait(draft, which, step, id);
      return;
    }
    case "change":
      Object.assign(draft, which === "data" ? timely(draft, step.change) : step.change);
      emit(draft, { do: "publish" });
      return;
    case "together":
      if (!isTogether(draft)) takeBack(draft);
      return;
    case "release":
      release(draft);
      return;
    case "proceed":
      if (step.connection === draft.replication.connection) emit(draft, { do: "proceed", after: step.after });
      return;
    default: {
      const body = freshGenerations(draft, step.body);
      const id = emit(draft, body);
      if (body.do === "follow" || body.do === "serve") draft.copy = null;
      if (body.do === "follow") resetStream(draft, "following");
      if (body.do === "serve") {
        resetStream(draft, "serving");
        if (!body.alone) emit(draft, { do: "timer", name: "join", ms: JOIN_PATIENCE });
      }
      if (!WITHOUT_DONE.has(body.do)) wait(draft, which, { ...step, body }, id);
    }
  }
}

/** An answer that is still to come counts for nothing: whoever runs here next asks anew. */
function release(draft: Draft): void {
  const { config, now, witness } = draft;
  if (config.witness?.records !== true) return;
  if (witness.asked.lease === null && now >= witness.lease + config.witness.leaseMs) return;
  draft.witness = {
    ...witness,
    lease: Math.min(witness.lease, now),
    asked: { ...witness.asked, lease: null },
  };
  emit(draft, { do: "releaseLease" });
}

/** What the data lane says of a state in which the node serves comes too late when the main lane has left it meanwhile. */
function timely(draft: Draft, change: Change): Change {
  if (change.state === undefined || isServing(draft.state)) return change;
  return change.outdating === undefined ? {} : { outdating: change.outdating };
}

/** Is this primary still one with its secondary? */
function isTogether(draft: Draft): boolean {
  const { record, replication, contact, peer, outdating } = draft;
  const both =
    contact === "heard" && peer?.state === "SECOND" && peer.outdatedIn !== record.generations.current;
  return both && record.role === "PRIM" && replication.peerGone === null && outdating === null;
}

/** The data path begins anew: nothing in sync, nothing held. What keeps it from following by itself stays. */
export function resetStream(draft: Draft, role: State["replication"]["role"]): void {
  const { refused, backOff, connection } = draft.replication;
  draft.replication = {
    role,
    inSync: false,
    connection: connection + 1,
    peerGone: null,
    caughtUp: null,
    refused,
    backOff,
  };
}

/** Steps are made ahead; the generations they carry are those of the moment they run. */
function freshGenerations(draft: Draft, body: Body): Body {
  const { generations, role } = draft.record;
  if (body.do === "serve") return { ...body, alone: role === "ALONE", generations };
  return body.do === "follow" || body.do === "goAlone" ? { ...body, generations } : body;
}

function wait(draft: Draft, which: "main" | "data", step: Step, id: number): void {
  draft[which] = { ...draft[which], waiting: { effect: id, step, attempt: "first" } };
}

/** A generation that no node has given before. */
export function newGeneration(draft: Draft): string {
  draft.serial += 1;
  return `${draft.incarnation}.${draft.serial}`;
}
