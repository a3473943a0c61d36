/**
 * The core's memory. Plain data, so a state can be printed, compared and kept in a snapshot.
 *
 * Two lanes run side by side, each with one effect outstanding: `main` carries transitions (hooks, mounts, addresses),
 * `data` carries what must not wait for a hook (outdating the peer, going alone, the steps of a reintegration).
 */

import type { Candidate } from "./generations.ts";
import type { Purpose, Step } from "./plan.ts";
import type {
  CheckScope,
  CopyWord,
  DurableRecord,
  Effect,
  FailoverConfig,
  ModuleState,
  PeerView,
  WitnessWord,
} from "./types.ts";

/** A queue of steps, at most one of which waits for its `done`. */
export interface Lane {
  /** What these steps are for, in words. */
  purpose: Purpose;
  steps: readonly Step[];
  waiting: { effect: number; step: Step; attempt: "first" | "force" | "fence" } | null;
}

/** A swap in progress: the one whose id both nodes name. */
export type Swap = NonNullable<PeerView["swap"]>;

/** A compare-and-swap that was asked of the witness. */
export interface Question {
  effect: number;
  sole: string | null;
  generation: string;
  expected: string;
}

/** Is there a witness, and what does it do? */
export type WitnessKind = "none" | "pings" | "records";

/** Which the configuration names. */
export function witnessKind({ witness }: FailoverConfig): WitnessKind {
  if (!witness) return "none";
  return witness.records ? "records" : "pings";
}

/** What the core knows of the witness, and what it is waiting to hear from it. Times as `now`, ms. */
export interface WitnessState {
  /** What it does, as far as this node knew when it last looked. */
  does: WitnessKind;
  /** Until when this node may run by the peer's promise, and by the witness's lease. */
  peerLease: number;
  lease: number;
  /** When what the peer last confirmed was sent. */
  promisedAt: number;
  /** The effects that are not answered yet. */
  asked: { lease: number | null; read: number | null; sole: Question | null };
  /** No question of that kind before. */
  next: { lease: number; read: number; sole: number };
  /** A lease or a record is wanted, and may not be asked for yet. */
  wants: { lease: boolean; sole: boolean };
  /** Answers in a row that said nothing. */
  silent: number;
  /** The record as last heard; heard in this very step; the one that forbids this node to go on. */
  word: WitnessWord | null;
  isNews: boolean;
  /** When its version was first heard of. */
  wordAt: number;
  denied: WitnessWord | null;
  /** Why the last question was refused. */
  refusal: string;
  /** The version in which the witness has just said that this node is the sole one: good for this step only. */
  won: string | null;
  /** When the timer comes. */
  wakeAt: number | null;
}

/** What is known of the power of a peer that is silent. `cutting`: the hook runs, and the peer was not heard since it began; `kept`: it failed, and is tried again later. */
export type Power = "unknown" | "cutting" | "off" | "kept";

/** The whole state of one module's core on one node. Never changed in place by a caller. */
export interface State {
  config: FailoverConfig;
  booted: boolean;
  incarnation: string;
  /** Last effect id given out; also numbers generations and swaps. */
  serial: number;
  now: number;
  wall: number;
  state: ModuleState;
  /** The state that the transition hook was last told of. */
  told: ModuleState;
  /** The record as last issued for writing; patches build on it. */
  record: DurableRecord;
  /** The record as last confirmed on disk: only this is told to the peer. */
  durable: DurableRecord;
  main: Lane;
  data: Lane;
  /** Persists that were issued and not yet confirmed. */
  writes: readonly { effect: number; record: DurableRecord }[];
  /** A write failed: the next is tried a little later. */
  writesBlocked: boolean;
  /** People want it to run. */
  wanted: boolean;
  /** After a stop: start again (`stopstart`). */
  again: boolean;
  /** What a person decided for the next start, until it is acted on. */
  intent: { name: "prim"; force: boolean } | { name: "second"; full: boolean } | null;
  contact: "unknown" | "heard" | "lost";
  peer: PeerView | null;
  replication: {
    role: "idle" | "serving" | "following";
    inSync: boolean;
    /** Counts connections that ended: what was to proceed in one does not in the next. */
    connection: number;
    /** The primary's stream ended: replies are held until this node goes alone. */
    peerGone: string | null;
    /** Why the target cannot go on by itself. */
    refused: "split-brain" | "unrelated" | null;
    /** Target: everything is here; waits for the source's durable PRIM. */
    caughtUp: DurableRecord["generations"] | null;
    /** Waits a little before it follows again. */
    backOff: boolean;
  };
  /** The generation in which this node asks its peer to be outdated. */
  outdating: string | null;
  /** The peer did not answer `outdating` in time. */
  outdatingLate: boolean;
  /** The generation in which this node durably recorded itself outdated. */
  outdatedIn: string | null;
  /** The generation in which a peer asked this node to be outdated: no promotion from the moment it is read. */
  forbidden: string | null;
  swap: Swap | null;
  /** The last swap that ended badly, so that it is not tried again by itself. */
  failedSwap: string | null;
  /** A reintegration ended here: `failback` may act once. */
  reintegrated: boolean;
  leaving: boolean;
  /** Why it is as it is, for people, and the command that helps. */
  reason: string;
  remedy: string | null;
  /** Set by a failure, shown until the next command of a person. */
  trouble: string | null;
  resources: Readonly<Record<string, string>>;
  /** What is known of resources beyond their state, for sentences. */
  details: Readonly<Record<string, string>>;
  /** Which checks look now. */
  scope: CheckScope;
  /** Rules that have acted on a condition that holds still: they act again once it has not held. */
  obeyed: readonly string[];
  /** What a rule asks for and is not done: a `wait` that would leave no node serving, a `swap` that the peer cannot follow; "" for none. */
  held: string;
  /** The rule that keeps this node in WAIT; "" for none. */
  keptBy: string;
  /** What this copy says of itself while it is at rest. */
  copy: CopyWord | null;
  witness: WitnessState;
  /** See power.ts. */
  power: Power;
  /** Commands to answer when the main lane is idle again. */
  answers: readonly { id: string; name: string; from: ModuleState; trouble: string | null }[];
}

/** A step's working copy: the next state, what to do, and why. */
export interface Draft extends State {
  effects: Effect[];
  why: string[];
}

/** This node as an election looks at it. */
export const candidate = (state: State, record = state.durable): Candidate => ({
  ...record,
  copy: state.copy,
});

/** The record of a node that never held the module's data. */
export function blankRecord(): DurableRecord {
  return {
    role: "NONE",
    generations: { current: "", parted: null, history: [] },
    consistency: "blank",
    wasPrimaryAtParting: false,
    peerOutdatedIn: null,
    counter: 0,
    peerCounter: 0,
    witness: null,
    running: false,
    loops: [],
  };
}

/** A lane with nothing to do. */
export const emptyLane: Lane = { purpose: "", steps: [], waiting: null };

/** The state before `boot`. */
export function initialState(config: FailoverConfig): State {
  return {
    config,
    booted: false,
    incarnation: "",
    serial: 0,
    now: 0,
    wall: 0,
    state: "STOP",
    told: "STOP",
    record: blankRecord(),
    durable: blankRecord(),
    main: emptyLane,
    data: emptyLane,
    writes: [],
    writesBlocked: false,
    wanted: false,
    again: false,
    intent: null,
    contact: config.peer === null ? "lost" : "unknown",
    peer: null,
    replication: {
      role: "idle",
      inSync: false,
      connection: 0,
      peerGone: null,
      refused: null,
      caughtUp: null,
      backOff: false,
    },
    outdating: null,
    outdatingLate: false,
    outdatedIn: null,
    forbidden: null,
    swap: null,
    failedSwap: null,
    reintegrated: false,
    leaving: false,
    reason: "the daemon starts",
    remedy: null,
    trouble: null,
    resources: {},
    details: {},
    scope: "none",
    obeyed: [],
    held: "",
    keptBy: "",
    copy: null,
    witness: { ...nobodyAsked, does: witnessKind(config) },
    power: "unknown",
    answers: [],
  };
}

/** Nothing is known of a witness. */
export const nobodyAsked: WitnessState = {
  does: "none",
  peerLease: Number.NEGATIVE_INFINITY,
  lease: Number.NEGATIVE_INFINITY,
  promisedAt: Number.NEGATIVE_INFINITY,
  asked: { lease: null, read: null, sole: null },
  next: { lease: 0, read: 0, sole: 0 },
  wants: { lease: false, sole: false },
  silent: 0,
  word: null,
  isNews: false,
  wordAt: Number.NEGATIVE_INFINITY,
  denied: null,
  refusal: "",
  won: null,
  wakeAt: null,
};

/** Sets what people read: why it is as it is, and the command that helps. */
export function say(draft: Draft, reason: string, remedy: string | null = null): void {
  if (draft.reason !== reason) draft.why.push(reason);
  draft.reason = reason;
  draft.remedy = remedy;
}

/** The command line for this module, as `remedy` shows it. */
export function command(state: State, words: string): string {
  const [verb, ...rest] = words.split(" ");
  return ["holdfast", verb, state.config.module ?? "MODULE", ...rest].join(" ");
}

/** The peer's last view, or null when it is not heard now. */
export function heardPeer(state: State): PeerView | null {
  return state.contact === "heard" ? state.peer : null;
}

/** Did the peer confirm durably that it is outdated in this generation? */
export function isConfirmed(state: State, generation: string): boolean {
  return heardPeer(state)?.outdatedIn === generation;
}

/** What every mirror does of itself, under the names that SafeKit's administrators know it by. */
export type OwnRule = "notuptodate_server" | "splitbrain_failure" | "implicit_wakeup";

/** Ends a sentence with the rule that decided, as those of checkers and of `rules` do. */
export const byRule = (words: string, rule: OwnRule): string => `${words} (rule ${rule})`;

/** The peer's name, for sentences. */
export function peerName(state: State): string {
  return state.config.peer ?? "the peer";
}

/** Does a lane have something to do? */
export function isBusy(lane: Lane): boolean {
  return lane.waiting !== null || lane.steps.length > 0;
}

/** Does this node serve the application's data, or is it about to? */
export function isServing(state: ModuleState): boolean {
  return state === "ALONE" || state === "PRIM";
}
