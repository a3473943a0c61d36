/** What the roles of a replication process, PRIM and SECOND, need from the process around them. */
import type { Generations, ReplicationReport } from "../failover/types.ts";
import type { Shelf } from "../platform/linux/shelf.ts";
import type { ReintegrationProgress, ReplicationConfig, ReplicationCounters } from "./control.ts";
import type { PollLoop } from "./loop/poll_loop.ts";
import type { Pool } from "./loop/pool.ts";

/** The process, as a role sees it. */
export interface Host {
  readonly config: ReplicationConfig;
  readonly key: Uint8Array;
  readonly loop: PollLoop;
  readonly pool: Pool;
  /** For what waits for this process's own mounts; its thread holds none of this process's descriptors. */
  readonly mountPool: Pool;
  /** Where the guardian keeps what the next process needs; null: nobody does. */
  readonly shelves: Shelves | null;
  readonly counters: ReplicationCounters;
  /** Tells the daemon; repeated to a new daemon until the next report. */
  report(report: ReplicationReport): void;
  /** The last report is answered, or means nothing any more: no new daemon hears it. */
  withdraw(): void;
  log(level: "info" | "warning" | "error", text: string): void;
  progress(reintegration: ReintegrationProgress | null): void;
  finished(bytes: number, files: number, durationMs: number, full: boolean): void;
  /** The secondary hung, and is not let in before this, ms since 1970. */
  heldUntil(time: number): void;
  /** Where the peer is connected, for status. */
  connectedTo(name: string | null): void;
}

/** What outlives this process: the mounts, and files that are open without a name. */
export interface Shelves {
  readonly mounts: Shelf;
  readonly files: Shelf;
}

/** Generations that no copy has: of a target that never held data. */
export const noGenerations: Generations = { current: "", parted: null, history: [] };

/** What went wrong, as text. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
