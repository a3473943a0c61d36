/**
 * What module.yaml may say and this version does not do yet.
 *
 * A setting that is accepted and ignored is a promise broken on the day it matters, so it is refused with its name.
 */
import type { Finding } from "./cross_checks.ts";
import type { HookFile, ModuleHook } from "./hook_files.ts";
import type { ModuleConfig } from "./schema.ts";
import type { Problem } from "./yaml_document.ts";

/** The settings of `config` that have no effect in this version; empty for a module that works as written. */
export function unsupported(config: ModuleConfig): Finding[] {
  const findings: Finding[] = [];
  const refuse = (path: string, what: string) =>
    findings.push({ path: [path], message: `${what} not supported by this version: remove ${path}` });
  if (config.kind !== "mirror")
    findings.push({
      path: ["kind"],
      message: `modules of kind ${config.kind} are not supported by this version: only mirror`,
    });
  if (config.services.length > 0) refuse("services", "services are");
  if (config.secrets.length > 0) refuse("secrets", "secrets are");
  return findings;
}

/** Hooks that nothing calls in this version. `directory` is the module's. */
export function unsupportedHooks(hooks: ReadonlyMap<ModuleHook, HookFile>, directory: string): Problem[] {
  const names = ["config", "deconfig"] as const;
  return names.flatMap((name) => {
    const hook = hooks.get(name);
    if (!hook) return [];
    const message = `${name} hooks are not called by this version: remove the file`;
    return [{ file: hook.file.slice(directory.length + 1), line: 1, column: 1, path: "", message }];
  });
}
