/**
 * What module.yaml may say and this version does not do yet.
 *
 * A setting that is accepted and ignored is a promise broken on the day it matters, so it is refused with its name.
 */
import type { Finding } from "./cross_checks.ts";
import type { ModuleConfig } from "./schema.ts";

/** The settings of `config` that have no effect in this version; empty for a module that works as written. */
export function unsupported(config: ModuleConfig): Finding[] {
  const findings: Finding[] = [];
  if (config.kind === "farm") findings.push(...ownBalancing(config));
  return findings;
}

/** A farm's own virtual IP, and the filter that shares its clients out. */
function ownBalancing({ loadBalancing, virtualIps }: Extract<ModuleConfig, { kind: "farm" }>): Finding[] {
  const instead = "put a load balancer in front of the nodes, and say loadBalancing: { mode: external }";
  const mode = loadBalancing?.mode ?? "external";
  return [
    ...(mode === "external"
      ? []
      : [
          {
            path: ["loadBalancing", "mode"],
            message: `sharing clients out by mode: ${mode} is not supported by this version: ${instead}`,
          },
        ]),
    ...(virtualIps.length === 0
      ? []
      : [
          {
            path: ["virtualIps"],
            message: `a farm's own virtual IP is not supported by this version: remove virtualIps, ${instead}`,
          },
        ]),
  ];
}
