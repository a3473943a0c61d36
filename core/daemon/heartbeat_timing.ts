/**
 * The timings of a module's heartbeats: its own where it names them, else the cluster's; and while two revisions may be at work, those of both.
 */
import type { ModuleDefinition } from "../../modules/load.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { ModuleFacts } from "./module_facts.ts";

/** A module's heartbeat timeout, ms. */
export function timeoutOf({ config }: ModuleDefinition, cluster: Cluster): number {
  return config.heartbeat.timeout ?? cluster.heartbeat.timeoutMs;
}

/** Heartbeat timeouts, ms: by which this node falls silent, and after which it takes its peer for dead. */
export function timeoutsOf(
  definition: ModuleDefinition,
  cluster: Cluster,
  facts: ModuleFacts,
): { promised: number; patient: number } {
  const own = timeoutOf(definition, cluster);
  const { least, most } = facts.formerTimeouts ?? { least: own, most: own };
  return { promised: Math.min(own, least), patient: Math.max(own, most) };
}

/** Between two heartbeats, ms, and the lans that they are heard on. */
export function rhythmOf(
  { config }: ModuleDefinition,
  cluster: Cluster,
): { interval: number; lans: readonly string[] } {
  const { interval, lans } = config.heartbeat;
  return { interval: interval ?? cluster.heartbeat.intervalMs, lans: lans ?? cluster.lans };
}
