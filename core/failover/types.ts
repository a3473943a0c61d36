/**
 * The words of the failover core: what it knows, what it is told, what it asks for.
 *
 * The core is pure. `step(state, event)` returns the next state, an ordered list of effects and one sentence that says
 * why. The caller (daemon or simulator) executes effects strictly in order and feeds results back as events.
 */
import type { Condition } from "../checks/condition.ts";

/** State of a module on a node, in the users' words. UNKNOWN is only ever said of a node that does not answer. */
export type ModuleState = "STOP" | "WAIT" | "ALONE" | "PRIM" | "SECOND" | "UP" | "UNKNOWN";
/** How settled a state is: NotReady waits for something or someone, Transient is on its way, Ready is there. */
export type Readiness = "NotReady" | "Transient" | "Ready";
/** The role whose promises bind after a crash: written durably before the role is acted on. */
export type DurableRole = "NONE" | "ALONE" | "PRIM" | "SECOND";

/**
 * How much this node's copy is worth. `blank`: never held the module's data. `uptodate`: may be promoted.
 * `outdated`: a peer went on without it. `inconsistent`: stopped in the middle of a reintegration.
 * `suspect`: its disk failed a write or an fsync; bytes on it may differ from what was acknowledged.
 */
export type Consistency = "blank" | "uptodate" | "outdated" | "inconsistent" | "suspect";

/**
 * The identity of the data, after DRBD's generation identifiers. A new `current` is written durably when a node starts
 * to write without its peer; `parted` is the generation at which the peers parted, null while they are together.
 */
export interface Generations {
  current: string;
  parted: string | null;
  /** Former generations, newest first, at most 16. */
  history: readonly string[];
}

/** What must survive a crash. Written atomically and fsynced before it is acted on. */
export interface DurableRecord {
  role: DurableRole;
  generations: Generations;
  consistency: Consistency;
  /** True if this node was primary when the peers parted: decides who stays after a split brain without a witness. */
  wasPrimaryAtParting: boolean;
  /** The peer confirmed durably that it is outdated in this generation, or null. */
  peerOutdatedIn: string | null;
  /** Durable points agreed with the peer so far: a copy whose counter is below its peer's memory of it was restored. */
  counter: number;
  /** Last counter that the peer confirmed. */
  peerCounter: number;
  /** The version of the witness's record that this copy is good for; null: never agreed with the witness. */
  witness: string | null;
  /** True while the module should run: `boot: auto` starts what ran. */
  running: boolean;
  /** Automatic restarts within the loop interval, as wall-clock times in ms: for people and maxLoop only. */
  loops: readonly number[];
}

/**
 * Which copy of the data a node holds, how many durable points it has reached, and what it remembers of its peer's: by that, a copy that was put
 * back to an older state is known, however equal its generation (trap 12a).
 */
export interface CopyWord {
  id: string;
  counter: number;
  peer: { id: string; counter: number } | null;
}

/** What a node tells its peers about one module, in every heartbeat. State-based: repeated until it changes, so loss and repetition are harmless. */
export interface PeerView {
  state: ModuleState;
  readiness: Readiness;
  record: Pick<
    DurableRecord,
    "role" | "generations" | "consistency" | "wasPrimaryAtParting" | "counter" | "peerCounter"
  > & { witness?: string | null };
  /** Of a copy at rest, as read from its directories; null while it is served, followed or not yet read. */
  copy?: CopyWord | null;
  /** Random at each start of the daemon: a new one means the old state is gone. */
  incarnation: string;
  /** This primary asks its peer to record durably that it is outdated, as of this new generation. */
  outdate: string | null;
  /** This node has durably recorded itself outdated as of this generation. */
  outdatedIn: string | null;
  /** Target of a reintegration: holds everything in this generation, and waits for the source to record durably that it is PRIM, no longer ALONE. */
  caughtUp: string | null;
  /** A swap in progress, proposed by the primary, or asked for by the secondary. */
  swap: { id: string; phase: "asked" | "stopping" | "drained" | "promoted" | "failed" } | null;
  /** This node will not be promoted before a heartbeat timeout after it last heard the other, unless the other says itself that it does not serve. */
  promises?: boolean;
  /** A clean goodbye: this module stops here, on purpose, everything handed over. */
  leaving: boolean;
  /** The names and states of its resources, for remote rules. */
  resources: Readonly<Record<string, string>>;
  /** For people only, nothing is decided from it. */
  note?: PeerNote;
  /** Each node keeps the newest. */
  maintenance?: MaintenanceWord;
}

/** What a person last said of a module's maintenance. */
export interface MaintenanceWord {
  on: boolean;
  /** The higher counts. */
  stamp: number;
  /** ISO time. */
  since: string;
  by: string;
}

/** What `status` on one node shows of the other. */
export interface PeerNote {
  reason: string;
  /** ISO time of the last change of state. */
  since: string;
  remedy?: string;
  reintegration?: unknown;
}

/** One of the other nodes of a farm. */
export type OtherNode = Pick<PeerView, "state" | "readiness" | "resources">;

/** Part of the module's configuration that the core needs. All durations in ms. */
export interface FailoverConfig {
  kind: "mirror" | "farm" | "light";
  /** The module's name, for the commands that `remedy` tells. */
  module?: string;
  node: string;
  peer: string | null;
  /** Of a farm: what its other nodes say that are heard; null: it is not known yet who is there. */
  others?: readonly OtherNode[] | null;
  failover: "automatic" | "manual";
  failback: string | null;
  onIsolation: "continue" | "wait";
  maxLoop: { count: number; intervalMs: number };
  /** The heartbeat timeout, ms, by which the peer promises. */
  timeoutMs: number;
  replicated: boolean;
  virtualIp: boolean;
  /** The third party that is asked before a node goes on without its peer; without: nobody is. */
  witness?: WitnessConfig | null;
  /** Without: nothing is checked. */
  watched?: Watched;
  /** People work on it: nothing is restarted, stopped or handed over without their word. */
  maintenance?: boolean;
  /** The hook `fence` must have cut the other node's power before this one begins to serve while that one is silent. */
  fences?: boolean;
}

/** What the core must know of the cluster's witness. Durations in ms. */
export interface WitnessConfig {
  /** It records who alone may go on. Where not (addresses that are pinged), it only tells whether this node is cut off. */
  records: boolean;
  leaseMs: number;
}

/** What the witness has on record of a module: who alone may go on. `version` changes with each change of it. */
export interface WitnessWord {
  sole: string | null;
  generation: string | null;
  version: string;
}

/**
 * What came of a question to the witness. `granted`: of a lease, which lasts from `sentAt`, when its request was sent (as `now`). `refused`: another
 * node has the lease, or nobody gets it yet. `recorded`, `changed`: of a compare-and-swap; `record`: of a reading. `unknown`: of any; no answer, or
 * one that says nothing: what was asked for may have happened.
 */
export type WitnessAnswer =
  | { kind: "granted"; sentAt: number; word?: WitnessWord }
  | { kind: "refused"; why: string; word?: WitnessWord }
  | { kind: "recorded" | "changed" | "record"; word: WitnessWord }
  | { kind: "unknown"; why: string };

/** Commands of people (and of the module's rules). */
export type Command =
  | { name: "start" | "stop" | "stopstart" | "swap" | "forcestop" }
  /** `part`: the resource of the one process or service that it is about; without it, everything. */
  | { name: "restart"; part?: string }
  | { name: "prim"; force: boolean }
  | { name: "second"; full: boolean };

/** Everything that the core can be told. `now` is a monotonic clock in ms, `wall` the wall clock in ms (loop accounting only). */
export type Event = { now: number; wall: number } /**
 * The first event. `incarnation` is random (16 hex digits do) and makes this start's generations unique. `adopt` tells what the guardian
 * kept running while the daemon was away: give it only when the last settled (Ready) state is known and all of it still runs; otherwise fence first.
 */ & (
  | {
      type: "boot";
      record: DurableRecord;
      start: boolean;
      incarnation: string;
      adopt?: {
        state: "ALONE" | "PRIM" | "SECOND" | "UP";
        inSync: boolean;
        /** Until when the daemon before this one had the right to run it (as `now`): without, there was no end to it. */
        until?: number;
      };
    }
  | { type: "command"; command: Command; by: "human" | "rule"; cause: string; id: string }
  /** The peer's view changed (first contact included). */
  | { type: "peer"; view: PeerView }
  /** Membership: no sign of life on any lan for the timeout, and this node was not itself starved. */
  | { type: "peerLost"; cause: string }
  /** The result of the effect with this id. */
  | { type: "done"; effect: number; ok: boolean; detail: string }
  | { type: "replication"; report: ReplicationReport }
  | { type: "timer"; name: string }
  /** The guardian fenced the module on its own, since this daemon was late. */
  | { type: "fenced"; cause: string }
  /** What is said in the directories of this copy, which is at rest; null: it cannot be read. Tell it before the election. */
  | { type: "copy"; word: CopyWord | null }
  /** A heartbeat of the peer promises: it heard what this node sent at `since` (as `now`), and will not be promoted before a timeout after that. */
  | { type: "promised"; since: number }
  /** The answer of the witness to the effect with this id. */
  | { type: "witness"; effect: number; answer: WitnessAnswer }
  /** A resource of this node changed. `detail` for people. What a check found that does not look any more is ignored. */
  | { type: "resource"; name: string; state: string; detail?: string }
);

/** What the replication process reports about this node's data path. */
export type ReplicationReport =
  /** The stream to the peer is up and both copies are equal up to the stream: PRIM/SECOND Ready. */
  | { kind: "inSync" }
  /** Target: about to change the first byte of this copy. It waits for `proceed`, given once "inconsistent" is durable. Source: for information. */
  | { kind: "reintegrating"; side: "source" | "target"; full: boolean }
  /**
   * Nothing is dirty any more and the stream is synchronous. Target: both disks hold it all; it waits for `proceed`, given
   * once "uptodate in the source's generations" is durable. Source (after the target went on): waits for `proceed`, given
   * once PRIM, parted null, is durable. From before the target's report on, the source acknowledges nothing alone.
   */
  | { kind: "caughtUp"; side: "source" | "target"; generations: Generations }
  /** The peer does not acknowledge (link cut, time-out, its disk failed). The primary holds sync replies until told to go on, unless
   * `held` is false: it was alone all the time, and the target that went did not count yet.
   */
  | { kind: "peerGone"; cause: string; held?: boolean }
  /**
   * This node's own disk failed: the copy is suspect since its last durable point. What was touched since then is dirty, and is reintegrated
   * before this copy is ever `inSync` as a target.
   */
  | { kind: "diskFailed"; detail: string }
  /** The generations do not allow an incremental or automatic copy. */
  | { kind: "refused"; relation: "split-brain" | "unrelated"; detail: string }
  /** The process died. */
  | { kind: "died"; detail: string };

/** A script of the module, in the order of safekit.md 5.3. */
export type HookName =
  | "prestart"
  | "start_prim"
  | "stop_prim"
  | "start_second"
  | "stop_second"
  | "start_both"
  | "stop_both"
  | "poststop"
  | "transition"
  /** One process or service is started again, and the rest goes on. */
  | "restart_process"
  /** The other node's power is cut. */
  | "fence";

/**
 * What the core asks for. `id` numbers an effect; each is harmless when done twice; those without a `done` event are marked.
 *
 * Start effects in the order given. Persists, and what follows a persist in one list, are strictly serial; but a hook that runs holds nothing
 * back: while a start hook waits for an fsync, the effects that release that fsync (persist, goAlone) come. The core itself waits for
 * `done` wherever order matters. `fence` also kills the hook that runs; a `done` for an effect that the core gave up is ignored.
 */
export type Effect = { id: number } /** Write the record atomically and fsync it. */ & (
  | { do: "persist"; record: DurableRecord }
  | {
      do: "hook";
      hook: HookName;
      from: ModuleState;
      to: ModuleState;
      action: string;
      force: boolean;
      cause: string;
      /** Of restart_process: the resource of what is started again. */
      part?: string;
    }
  | { do: "virtualIp"; up: boolean }
  /** Mount and serve as primary; `alone` writes without a peer (its generation is already durable), else waits for a peer to join. */
  | { do: "serve"; alone: boolean; generations: Generations }
  /**
   * Release what `peerGone` held: this node is durably the only one, in this generation. It may come without a `peerGone` (membership was
   * quicker): then the connection is dropped first, and what was touched becomes dirty.
   */
  | { do: "goAlone"; generations: Generations }
  /** Follow the primary: connect, reintegrate, apply. `full` copies everything; `sacrifice` first keeps what this node wrote alone (G5). */
  | { do: "follow"; full: boolean; sacrifice: boolean; generations: Generations }
  /** Primary: unmount (flush), drain to the peer, stop serving. Secondary: apply all received, stop. Done means idle. */
  | { do: "stopReplication" }
  /** No done event: go on after this report. Ignored when another one is waited for: it belongs to a connection that is over. */
  | { do: "proceed"; after: "reintegrating" | "caughtUp" }
  /** Secondary: refuse the old primary's stream from now on, apply all that was acknowledged. */
  | { do: "sealStream" }
  /** Kill the application's processes and abort the mount, without hooks. */
  | { do: "fence" }
  /** Answered by a `witness` event: the right to run for a while. */
  | { do: "askLease" }
  /** Answered by a `witness` event: compare-and-swap of the record that has this version. `sole` null: both nodes are together. */
  | { do: "recordSole"; sole: string | null; generation: string; expected: string }
  /** Answered by a `witness` event. */
  | { do: "readWitness" }
  /** No done event: nothing runs here any more, so a lease that this node has is given back; one that it asks for later is another. */
  | { do: "releaseLease" }
  /** No done event: arm (again) or cancel a timer. */
  | { do: "timer"; name: string; ms: number | null }
  /** No done event: send the view to the peer now. The view is always read from the state. */
  | { do: "publish" }
  /** No done event: which checks look from now on. Those that begin do so from init. */
  | { do: "check"; scope: CheckScope }
  /** No done event: what people must hear, though nothing is done. */
  | { do: "shout"; text: string }
  /** No done event: the answer to a command. */
  | { do: "answer"; command: string; ok: boolean; message: string }
);

/** When a check looks: before the application starts and as long as the module is started, while this node serves, while it is SECOND, or both. */
export type CheckWhen = "pre" | "prim" | "second" | "both";
/** Which checks look now: `pre` only those that look before a start too. */
export type CheckScope = "none" | "pre" | "prim" | "second";

/** What a rule does when its condition holds. */
export type RuleAction = "restart" | "stopstart" | "stop" | "wait" | "swap";

/** A rule of the module: those that its checkers stand for, and those that are written out. */
export interface Rule {
  /** As the log names it: `t_db`. */
  name: string;
  /** The condition as people read it. */
  words: string;
  if: Condition;
  then: RuleAction;
  /** The resource of the one process or service that a restart is about; without it, everything. */
  part?: string;
}

/** What the core must know of a module's checkers. */
export interface Watched {
  /** By resource, such as tcp.db. */
  checks: Readonly<Record<string, CheckWhen>>;
  rules: readonly Rule[];
}
