/**
 * What a module's author is told before the module is used: errors that refuse it, and warnings that will hurt.
 */
import { readFileSync } from "node:fs";
import { checksOf } from "../core/checks/module_checks.ts";
import { limitsOf, notEnforced } from "../hooks/limits.ts";
import type { ClusterNames } from "./cross_checks.ts";
import { readFiles } from "./history/module_files.ts";
import { HOOK_NAMES, type HookFile, type ModuleHook } from "./hook_files.ts";
import { type ModuleDefinition, ModuleInvalid, readModule } from "./load.ts";
import { makeRules } from "./rules_file.ts";
import { writeSdk } from "./sdk_files.ts";
import { problemAt } from "./source_place.ts";
import { typeProblems } from "./type_check.ts";
import { formatDuration } from "./units.ts";
import { formatProblem, inOrder, type Problem } from "./yaml_document.ts";

/** Lines for people (`file:line:column: path: message`), and the same in parts. */
export interface CheckReport {
  errors: string[];
  warnings: string[];
  errorPlaces: readonly Problem[];
  warningPlaces: readonly Problem[];
}

/** Checks a module directory, against a cluster's names when there are some. The directory's own name does not matter. */
export function checkModule(directory: string, cluster: ClusterNames | null = null): CheckReport {
  const { definition, problems } = readModule(directory, cluster, "module");
  const warnings = definition === null ? [] : inOrder(warningsOf(definition, cluster));
  return {
    errors: problems.map(formatProblem),
    warnings: warnings.map(formatProblem),
    errorPlaces: problems,
    warningPlaces: warnings,
  };
}

/**
 * All that keeps a module from being applied: makes what its rules.ts comes to, and checks the types in its code too, unless `types` is false, or
 * module.yaml is wrong: that is not to wait for it. Brings the SDK in its `.holdfast/` up to date.
 */
export async function examineModule(
  directory: string,
  cluster: ClusterNames | null,
  types: boolean,
): Promise<CheckReport> {
  const rules = await makeRules(directory);
  const report = checkModule(directory, cluster);
  const told = report.errorPlaces.filter(({ file }) => rules.length === 0 || file !== "rules.ts");
  const misplaced = misplacedFiles(directory);
  const errorPlaces = [...rules, ...told, ...misplaced];
  if (errorPlaces.length === 0) await writeSdk(directory);
  const known = new Set(errorPlaces.map(({ file }) => file));
  if (types && misplaced.length === 0 && !known.has("module.yaml"))
    errorPlaces.push(...(await typeProblems(directory)).filter(({ file }) => !known.has(file)));
  return { ...report, errors: errorPlaces.map(formatProblem), errorPlaces };
}

/** Links, special files, too much: what no revision holds. */
function misplacedFiles(directory: string): readonly Problem[] {
  try {
    readFiles(directory);
    return [];
  } catch (error) {
    if (error instanceof ModuleInvalid) return error.problems;
    throw error;
  }
}

/** A heartbeat timeout below this makes failovers out of a busy moment. */
const QUICK_MS = 500;

const ROLE_HOOKS = ["start_prim", "stop_prim", "start_second", "stop_second"] as const;

function warningsOf(definition: ModuleDefinition, cluster: ClusterNames | null): Problem[] {
  const { config, hooks } = definition;
  const warnings: Problem[] = [];
  const warn = (file: string, message: string) =>
    warnings.push({ file, line: 1, column: 1, path: "", message });
  for (const start of HOOK_NAMES.filter((name) => name.startsWith("start_"))) {
    const stop = start.replace("start_", "stop_");
    const file = hooks.get(start);
    if (file && !hooks.has(stop as ModuleHook))
      warn(
        shown(definition, file),
        `there is no ${stop} hook: what ${start} starts is killed at each stop and swap`,
      );
    else if (!file && hooks.has(stop as ModuleHook))
      warn(
        shown(definition, hooks.get(stop as ModuleHook)!),
        `there is no ${start} hook: nothing starts what ${stop} stops`,
      );
  }
  const starts = config.kind === "mirror" ? ["start_prim", "start_both"] : ["start_both"];
  if (!starts.some((name) => hooks.has(name as ModuleHook)) && config.services.length === 0)
    warn("module.yaml", `there is no ${starts[0]} hook, and no services: the module starts no application`);
  for (const name of config.kind === "mirror" ? [] : ROLE_HOOKS)
    if (hooks.has(name))
      warn(
        shown(definition, hooks.get(name)!),
        `nothing calls ${name} in a ${config.kind}: it has start_both and stop_both, since no node is primary or secondary`,
      );
  const fence = hooks.get("fence");
  if (config.kind !== "mirror" && fence !== undefined)
    warn(
      shown(definition, fence),
      `nothing calls fence in a ${config.kind}: no node of it takes over from another`,
    );
  if (config.kind === "mirror" && config.replicate === undefined)
    warn("module.yaml", "no replicate: the nodes share no data, and the application must not need any");
  const { timeout, lans } = config.heartbeat;
  const unheard = lans === undefined ? [] : (cluster?.lans ?? []).filter((lan) => !lans.includes(lan));
  if (config.kind === "mirror" && unheard.length > 0)
    warn(
      "module.yaml",
      `heartbeat.lans: without ${unheard.join(", ")}, a recording witness that is away stops the primary`,
    );
  if (timeout !== undefined && timeout < QUICK_MS)
    warn(
      "module.yaml",
      `heartbeat.timeout: ${formatDuration(timeout)} is short: a busy machine may be taken for a dead one`,
    );
  for (const { rhythm, path } of checksOf(config))
    if (rhythm.timeout > rhythm.interval)
      warn(
        "module.yaml",
        `${path.join(".")}.timeout: a look may take ${formatDuration(rhythm.timeout)}, and is due every ${formatDuration(rhythm.interval)}: a slow answer delays the next look`,
      );
  if (config.permissions !== undefined)
    for (const sentence of notEnforced(limitsOf(config.permissions, definition.directory)))
      warn("module.yaml", sentence);
  for (const file of [...hooks.values(), ...definition.checkers.values()])
    warnings.push(...codeWarnings(definition, file));
  return warnings;
}

function shown({ directory }: ModuleDefinition, { file }: HookFile): string {
  return file.slice(directory.length + 1);
}

function codeWarnings(definition: ModuleDefinition, hook: HookFile): Problem[] {
  if (hook.kind !== "typescript") return [];
  const source = readFileSync(hook.file, "utf8");
  const warnings: Problem[] = [];
  const warn = (pattern: RegExp, message: string) => {
    const offset = source.search(pattern);
    if (offset >= 0) warnings.push(problemAt(shown(definition, hook), source, offset, message));
  };
  warn(
    /\bBun\s*\.|["']bun(:[a-z]+)?["']/,
    "uses Bun directly: the runtime may change under it; use holdfast, node: or Deno",
  );
  if (hook.script && new Bun.Transpiler({ loader: "ts" }).transformSync(source).trim() === "")
    warn(/^/, "does nothing, and succeeds");
  warn(/^\s*export\s+default\s+(async\s*)?\(\s*\)\s*=>\s*\{\s*\}/m, "does nothing");
  warn(
    /Deno\.exit\(\s*0?\s*\)|process\.exit\(\s*0?\s*\)/,
    "ends with success at once: what follows is not run, and a failure is not seen",
  );
  for (const { 1: key, index } of source.matchAll(/\bsecret(?:File)?\(\s*["'](\w+)["']\s*\)/g))
    if (!definition.config.secrets.includes(key!))
      warnings.push(
        problemAt(shown(definition, hook), source, index, `module.yaml does not list ${key} under secrets`),
      );
  return warnings;
}
