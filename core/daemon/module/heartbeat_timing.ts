/**
 * The timings of a module's heartbeats: its own where it names them, else the cluster's; and while two revisions or two versions of cluster.yaml
 * may be at work, those of both.
 */
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { Cluster } from "../../cluster/cluster.ts";
import type { ModuleFacts } from "./facts.ts";

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
  const ofCluster = definition.config.heartbeat.timeout === undefined ? cluster.formerTimeouts : null;
  const former = [facts.formerTimeouts, ofCluster].filter((one) => one !== undefined && one !== null);
  return {
    promised: Math.min(own, ...former.map(({ least }) => least)),
    patient: Math.max(own, ...former.map(({ most }) => most)),
  };
}

/** Between two heartbeats, ms, and the lans that they are heard on. */
export function rhythmOf(
  { config }: ModuleDefinition,
  cluster: Cluster,
): { interval: number; lans: readonly string[] } {
  const { interval, lans } = config.heartbeat;
  return { interval: interval ?? cluster.heartbeat.intervalMs, lans: lans ?? cluster.lans };
}
