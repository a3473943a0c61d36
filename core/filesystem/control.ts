/**
 * What the daemon and the replication process say to each other: one JSON object a line over a Unix socket.
 *
 * The replication process connects to `VAR/run/control.sock` and says `hello`; it reconnects for ever, since it outlives
 * a restart of the daemon. Every request carries an id and is answered by `done`; each is harmless when repeated.
 */
import type { Generations, ReplicationReport } from "../failover/types.ts";

/** One replicated directory. */
export interface ReplicatedPath {
  path: string;
  exclude: readonly string[];
  /** When not empty, only names that match are replicated. */
  only: readonly string[];
  notEmpty: boolean;
}

/** All that a replication process needs to run. Keys are hex; they travel over this socket only (mode 0600, root). */
export interface ReplicationConfig {
  module: string;
  /** 1 or 2: which half of the identities this node gives out. */
  nodeNumber: 1 | 2;
  /** VAR/state/NAME: activity log, dirty map. */
  stateDir: string;
  /** VAR/saved/NAME: where a split brain's loser keeps what it had written. */
  savedDir: string;
  paths: readonly ReplicatedPath[];
  durability: "fsync" | "write";
  close: "ordered" | "acknowledged";
  /** Longest wait for the peer, ms. */
  timeoutMs: number;
  /** Reintegration's cap, bytes per second; 0 is unlimited. */
  bandwidth: number;
  /** This node's addresses to listen on, and the peer's to dial, in order of preference. */
  listen: readonly { address: string; port: number }[];
  dial: readonly { address: string; port: number }[];
  /** 32 bytes, hex: the module's replication key. */
  key: string;
}

/** Daemon to replication process. */
export type ControlRequest = { id: number } & (
  | { op: "configure"; config: ReplicationConfig }
  /** `adopt`: take over the live mounts that a former process left to the guardian; fails when that is not possible. */
  | { op: "serve"; alone: boolean; generations: Generations; adopt?: boolean | undefined }
  | { op: "goAlone"; generations: Generations }
  | { op: "follow"; full: boolean; sacrifice: boolean; generations: Generations }
  /** Go on after this report; ignored when it is not what is waited for. */
  | { op: "proceed"; after: "reintegrating" | "caughtUp" }
  | { op: "sealStream" }
  | { op: "stop" }
  | { op: "abort" }
  | { op: "verify" }
  | { op: "exit" }
);

/** How far a reintegration is; bytes and files of what must be moved, not of the whole tree. */
export interface ReintegrationProgress {
  phase: "names" | "data" | "finishing";
  full: boolean;
  bytesDone: number;
  bytesTotal: number;
  filesDone: number;
  filesTotal: number;
  startedAt: number;
  /** Estimated ms to the end, null when unknown. */
  etaMs: number | null;
}

/** Counters that `status`, the console and `farm` charts read. Cumulative since the process started. */
export interface ReplicationCounters {
  operations: number;
  bytesSent: number;
  bytesReceived: number;
  syncs: number;
  queueBytes: number;
  durablePoints: number;
}

/** Replication process to daemon. */
export type ControlMessage =
  | {
      type: "hello";
      module: string;
      pid: number;
      configured: boolean;
      role: "idle" | "serving" | "following";
      alone: boolean;
      inSync: boolean;
      /** There are live mounts that a former process left. */
      canAdopt: boolean;
    }
  | { type: "done"; id: number; ok: boolean; detail: string; result?: unknown }
  | { type: "report"; report: ReplicationReport }
  | {
      type: "progress";
      reintegration: ReintegrationProgress | null;
      counters: ReplicationCounters;
      connectedTo: string | null;
      /** The secondary hung, and is not let in before this, ms since 1970; null: nobody is kept out. */
      heldUntil?: number | null;
    }
  | { type: "finished"; bytes: number; files: number; durationMs: number; full: boolean }
  | { type: "log"; level: "info" | "warning" | "error"; text: string };

/** What `verify` answers. */
export interface VerifyResult {
  objects: number;
  bytes: number;
  differences: readonly { path: string; what: string }[];
  /** What could not be compared: what of which object a node's disk does not give, and the error's name. */
  unreadable: readonly { path: string; node: "primary" | "secondary"; what: string; error: string }[];
}
