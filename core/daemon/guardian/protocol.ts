/**
 * What daemon and guardian say to each other over VAR/run/guardian.sock, one JSON object a line.
 */
import type { ModuleState } from "../../failover/types.ts";
import type { ServiceTargets } from "../module/services.ts";
import type { ProcessGroup } from "./cgroup.ts";
import type { WatchdogState, WatchdogWish } from "./watchdog.ts";

/** All that fencing one module needs to know, told before the module first serves. */
export interface Armament {
  module: string;
  /** The heartbeat timeout T, ms: fencing is complete 0.8 T after the last sign of the daemon. */
  timeoutMs: number;
  group: ProcessGroup;
  /** Virtual addresses in CIDR form. */
  addresses: readonly string[];
  /** Directories that the replication process mounts over. */
  mounts: readonly string[];
  /** Services of the machine that belong to it: they may not start again, and what runs of them is killed. */
  services: ServiceTargets;
}

/** Daemon to guardian. */
export type GuardianRequest =
  /** A sign of life. `at` is when it was given, not when it was read: a guardian that was late itself must not blame the daemon. */
  | { op: "alive"; at: number }
  | { op: "arm"; armament: Armament }
  | { op: "disarm"; module: string }
  /** Start (or find running) the replication process of a module. Answered by `running`. */
  | { op: "run"; module: string; argv: readonly string[] }
  /** The state in which a module has settled, null while it is on its way: what a new daemon may adopt. */
  | { op: "settled"; module: string; state: ModuleState | null }
  /** Until when the module may run without another word, on the shared clock; null: there is no end to it. */
  | { op: "right"; module: string; until: number | null }
  | { op: "fence"; module: string; id: number }
  /** Answered by `awake` when all that the guardian began on its own is done and told. */
  | { op: "ask" }
  /** Which hardware watchdog guards this machine; null: none. Answered by `watchdog`. */
  | { op: "watchdog"; wish: WatchdogWish | null }
  /** The daemon stops for good: end when nothing is armed. */
  | { op: "farewell" };

/** Guardian to daemon. */
export type GuardianMessage =
  /** First line after a connect: what runs, and what was fenced while no daemon was there. */
  | {
      type: "welcome";
      running: readonly string[];
      fenced: readonly string[];
      settled: Record<string, ModuleState>;
      /** As last told by `right`, where there is an end. */
      rights?: Record<string, number>;
    }
  | { type: "running"; module: string; pid: number }
  /** A replication process ended. `replaced`: another one was started at once, which can take over its live mounts. */
  | { type: "exited"; module: string; detail: string; replaced: boolean }
  /** The answer to `fence`; with id 0 the guardian acted on its own, since the daemon was late. */
  | { type: "fenced"; id: number; module: string; ok: boolean; detail: string }
  /** The answer to `watchdog`. */
  | ({ type: "watchdog" } & WatchdogState)
  /** The answer to `ask`: whatever was fenced while the daemon did not run has been told before this. */
  | { type: "awake" };

/** Share of T without a sign of the daemon at which fencing begins; the rest up to 0.8 T is what it may take. */
export const FENCE_BEGINS = 0.72;
/** Share of T after the end of a right at which the guardian fences what the daemon has not. */
export const RIGHT_OVERDUE = 0.03;
