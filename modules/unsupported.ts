/**
 * What module.yaml may say and this version does not do yet.
 *
 * A setting that is accepted and ignored is a promise broken on the day it matters, so it is refused with its name.
 */
import type { Finding } from "./cross_checks.ts";
import type { ModuleConfig } from "./schema.ts";

/** The settings of `config` that have no effect in this version; empty for a module that works as written. */
export function unsupported(config: ModuleConfig): Finding[] {
  if (config.kind !== "farm" || config.loadBalancing?.mode !== "invisible") return [];
  const instead = "use mode: directed, which needs nothing of the switch";
  return [
    {
      path: ["loadBalancing", "mode"],
      message: `mode: invisible is not supported by this version: ${instead}`,
    },
    {
      path: ["virtualIps"],
      message: `a farm's virtual IP by mode: invisible is not supported by this version: ${instead}`,
    },
  ];
}
