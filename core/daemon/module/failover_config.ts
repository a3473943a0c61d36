/**
 * What the failover core needs to know of a module's configuration.
 */
import type { ModuleDefinition } from "../../../modules/load.ts";
import { watchedOf } from "../../checks/module_checks.ts";
import type { FailoverConfig } from "../../failover/types.ts";
import { replicationOf } from "../replication/config.ts";

/** Settings that the core looks up when it decides: they may change while the module runs. */
export function decisionSettings({
  config,
  hooks,
}: ModuleDefinition): Pick<FailoverConfig, "failover" | "failback" | "maxLoop" | "watched" | "fences"> {
  const mirror = config.kind === "mirror" ? config : null;
  return {
    failover: mirror?.failover ?? "automatic",
    failback: mirror?.failback ?? null,
    maxLoop: { count: config.maxLoop.count, intervalMs: config.maxLoop.interval },
    watched: watchedOf(config, hooks),
    fences: mirror !== null && hooks.has("fence"),
  };
}

/** All of it. `peer` is the other node of a mirror; `timeoutMs` the heartbeat timeout that the nodes promise by. */
export function failoverConfig(
  definition: ModuleDefinition,
  node: string,
  peer: string | null,
  timeoutMs: number,
): FailoverConfig {
  const { config, name } = definition;
  return {
    module: name,
    kind: config.kind,
    node,
    peer,
    onIsolation: config.kind === "mirror" ? config.onIsolation : "continue",
    timeoutMs,
    ...decisionSettings(definition),
    replicated: replicationOf(definition) !== null,
    virtualIp: config.virtualIps.length > 0,
  };
}
