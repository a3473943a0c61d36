/**
 * What the API (and through it the command line and the console) can ask of a node.
 *
 * The daemon implements this; `core/api` only translates HTTP to it, so neither knows the other's inside.
 */
import type { ModuleState, Readiness } from "../failover/types.ts";
import type { ReintegrationProgress } from "../filesystem/control.ts";
import type { SecretAsk } from "../secrets/secrets.ts";
import type { IsolationPromise } from "./isolation.ts";

/** One module on one node, as `status --json` shows it. */
export interface NodeStatus {
  state: ModuleState;
  readiness: Readiness;
  upToDate: boolean | null;
  reason: string;
  /** ISO time of the last change of state. */
  since: string;
  /** The command to type, when a human is needed. */
  remedy?: string;
  reintegration?: ReintegrationProgress | null;
  /** Of the node that is asked: directories with what it had written while both nodes ran alone. */
  saved?: readonly string[];
  /** People work on it, and nothing is done by itself. */
  maintenance?: { since: string; by: string };
  resources: Record<string, { state: string; since: string; detail?: string }>;
  /** The module's revision on that node, abbreviated; absent while it is not known. */
  revision?: string;
  /** Of a farm with a virtual IP of its own: how many of the 256 parts of all clients are that node's; absent where it is not known. */
  buckets?: number;
  /** Of such a farm: why that node, though it is well, should take no new clients: it does where it has `buckets`. */
  held?: string;
}

/** One module on all its nodes. */
export interface ModuleStatus {
  kind: "mirror" | "farm" | "light";
  nodes: Record<string, NodeStatus>;
  /** Of a mirror: which promise holds when its nodes cannot hear each other. */
  isolation?: IsolationPromise;
}

/** The document of `status --json`. */
export interface StatusDocument {
  version: 1;
  cluster: string;
  modules: Record<string, ModuleStatus>;
}

/** What a command did and what follows from it. `status` is the exit status of the command line. */
export interface CommandResult {
  status: 0 | 1 | 2 | 3 | 4;
  message: string;
  data?: unknown;
}

/** Commands on a module of this node. */
export type ModuleCommand =
  | "prim"
  | "second"
  | "start"
  | "stop"
  | "restart"
  | "stopstart"
  | "swap"
  | "forcestop";

/** A revision of a module on its way to a node. */
export interface RevisionOffer {
  commit: string;
  /** What the node may lack of its objects, base64. */
  pack: string | null;
  /** The module's place in the cluster, from 1: its replication port follows from it. */
  number: number;
  /** Only ask: nothing is kept ready. */
  dryRun: boolean;
  /** The node that hands it over. */
  from: string;
}

/** One line of a module's log. */
export interface LogLine {
  /** ISO time. */
  time: string;
  node: string;
  level: "info" | "warning" | "error" | "script" | "event";
  text: string;
  /** Whose log it is from, where those of several modules are told together. */
  module?: string;
}

/** What a node holds of a module's secrets: never a value. */
export interface HeldSecrets {
  /** What its module.yaml lists; null where the module is not here. */
  declared: readonly string[] | null;
  /** `version` is the same word on nodes that hold the same value; `isLocked`: it cannot be opened there. */
  secrets: readonly { key: string; since: string; setOn: string; version: string; isLocked: boolean }[];
}

/** Secrets, as the API sees them: values come in, and go out only sealed to a node. */
export interface SecretCommands {
  set(module: string, key: string, value: Uint8Array, by: string): Promise<CommandResult>;
  remove(module: string, key: string, by: string): Promise<CommandResult>;
  /** Data: `HeldSecrets`. */
  list(module: string): CommandResult;
  /** What another node lacks. Data: `SecretOffer`. */
  give(node: string, ask: SecretAsk): CommandResult;
  /** A node has something new: it is fetched before the answer. */
  look(node: string): Promise<CommandResult>;
}

/** The node, as the API sees it. Every method refuses bad input whole, with status 2 and a message. */
export interface Engine {
  status(): StatusDocument;
  /** `everywhere`: every node is given it, so that nobody needs to be told what the others do. */
  command(
    module: string,
    command: ModuleCommand,
    options: { full?: boolean; force?: boolean; part?: string; everywhere?: boolean; by: string },
  ): Promise<CommandResult>;
  /** Stops every module of this node. */
  shutdown(by: string): Promise<CommandResult>;
  /** Resolves when this node's module is in one of the states and Ready, or with status 4 after the time-out. */
  wait(module: string, states: readonly ModuleState[], timeoutMs: number): Promise<CommandResult>;
  /** The log of a module, or the node's own (null). */
  log(
    module: string | null,
    options: { lines: number; signal?: AbortSignal; follow: boolean },
  ): AsyncIterable<LogLine> | CommandResult;
  verify(module: string): Promise<CommandResult>;
  /** Every resource of this node's module, or one: data is `{ NAME: { state, since, detail?, history } }`. */
  resources(module: string, resource: string | null): Promise<CommandResult>;
  /** Sets a resource that no checker sets. */
  setResource(module: string, resource: string, state: "up" | "down"): Promise<CommandResult>;
  /** Switches one checker (null: all) on or off on this node; survives restarts. */
  switchChecker(module: string, resource: string | null, on: boolean): Promise<CommandResult>;
  /** Switches a module's maintenance on or off, on every node that is heard; the others follow when they are. */
  maintenance(module: string, on: boolean, by: string): Promise<CommandResult>;
  boot(module: string, value: "always" | "never" | "auto"): Promise<CommandResult>;
  /** How a farm's own virtual IP is shared out, as this node's filter has it: data is a `FarmReport`. */
  farm(module: string): Promise<CommandResult>;
  /** No new clients for this node of a farm; stops the module when its last connection has ended, or after `timeoutMs`. */
  drain(module: string, timeoutMs: number, by: string): Promise<CommandResult>;
  /** Hands a revision, whose objects are in the repository of this node, to every node; all switch to it or none. */
  applyModule(name: string, commit: string, options: { dryRun: boolean; by: string }): Promise<CommandResult>;
  /** Another node asks: could this revision work here? It is kept ready, and no other is, until `activate` or `abandon`. */
  prepareRevision(name: string, offer: RevisionOffer): Promise<CommandResult>;
  /** Every node keeps it ready: its config hook runs here. */
  configureRevision(name: string, commit: string): Promise<CommandResult>;
  /** Switches to a revision that was kept ready. */
  activateRevision(name: string, commit: string): Promise<CommandResult>;
  /** It is not taken: what its config hook has done here is undone before the answer. */
  abandonRevision(name: string, commit: string): Promise<CommandResult>;
  /** What works here, for a node that has `haves`: data is `{ commit, number, pack }`, the pack in base64, null where it has it. */
  giveRevision(name: string, haves: readonly string[]): Promise<CommandResult>;
  removeModule(name: string): Promise<CommandResult>;
  modules(): { name: string; kind: string; revision: string; number: number }[];
  /** The story around a time, in words that `parseWhen` reads (null: the last), of all its nodes. Data: `Explanation`. */
  explain(module: string, at: string | null): Promise<CommandResult>;
  /** This node's side of it around an ISO time. Data: what `readTold` reads. */
  told(module: string, at: string | null): Promise<CommandResult>;
  /** What every module's story is made of, on all nodes. Data: a `Snapshot` without what only the asker knows. */
  snapshot(): Promise<CommandResult>;
  readonly secrets: SecretCommands;
}

/** That the machine's wall clock was set. */
export interface ClockStep {
  /** When that was noticed, by the new time (ISO). */
  at: string;
  /** How far forward, ms; negative: back. */
  byMs: number;
}
