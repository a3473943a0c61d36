/**
 * Reads a module directory: the one way in which a module's files become a definition that the rest can trust.
 */
import { readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { WITNESS_SECRETS } from "../core/witness/config.ts";
import { type ClusterNames, crossChecks, type Finding } from "./cross_checks.ts";
import { checkImports, type HookFile, type ModuleHook, scanCheckers, scanHooks } from "./hook_files.ts";
import { type MadeRules, readRules } from "./rules_file.ts";
import { type ModuleConfig, moduleSchema } from "./schema.ts";
import {
  formatProblem,
  inOrder,
  type Problem,
  readYaml,
  validateYaml,
  type YamlFile,
} from "./yaml_document.ts";

/** A module whose files were all checked. */
export interface ModuleDefinition {
  name: string;
  config: ModuleConfig;
  /** Absolute. */
  directory: string;
  hooks: ReadonlyMap<ModuleHook, HookFile>;
  /** Custom checkers by their name in module.yaml. */
  checkers: ReadonlyMap<string, HookFile>;
}

/** A module directory was refused; `message` has one line for each problem. */
export class ModuleInvalid extends Error {
  override name = "ModuleInvalid";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join("\n"));
    this.problems = problems;
  }
}

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,31}$/;

/** What is wrong with a module's name, or "". It becomes a directory, a cgroup and a part of resource names. */
export function moduleNameProblem(name: string): string {
  if (NAME.test(name)) return "";
  const shown = name.length > 60 ? `${name.slice(0, 57)}…` : name;
  return `${JSON.stringify(shown)} cannot be a module's name: 1 to 32 letters, digits, - and _, starting with a letter`;
}

/** What `readModule` found: the definition only when there is no problem. */
export interface ModuleReading {
  definition: ModuleDefinition | null;
  problems: Problem[];
}

/**
 * Reads and checks a module directory. Never throws for what is in it: every problem is listed, with its place
 * (file relative to the directory). With a cluster, the names of nodes and lans are checked too.
 */
export function readModule(
  directory: string,
  cluster: ClusterNames | null = null,
  name?: string,
): ModuleReading {
  const root = resolve(directory);
  const own = name ?? basename(root);
  const whole = (file: string, message: string): Problem => ({ file, line: 1, column: 1, path: "", message });
  if (moduleNameProblem(own) !== "")
    return { definition: null, problems: [whole(root, moduleNameProblem(own))] };
  if (own === WITNESS_SECRETS)
    return {
      definition: null,
      problems: [
        whole(root, `${own} cannot be a module's name: the secrets of the cluster's witness go by it`),
      ],
    };
  const yaml = readModuleYaml(root);
  if (typeof yaml === "string") return { definition: null, problems: [whole("module.yaml", yaml)] };
  const { output: config, problems } = validateYaml(yaml, moduleSchema);
  try {
    const { hooks, problems: hookProblems } = scanHooks(root);
    problems.push(...hookProblems, ...checkImports(root));
    if (config === null) return { definition: null, problems: inOrder(problems) };
    const made = readRules(root);
    problems.push(...(made?.problems ?? []), ...addRules(config, made));
    const isMade = ({ path: [key, name] }: Finding) =>
      key === "rules" && Object.hasOwn(made?.rules ?? {}, name ?? "");
    for (const finding of crossChecks(config, cluster))
      problems.push(isMade(finding) ? made!.locate(finding.path, finding.message) : yaml.locate(finding));
    const { checkers, problems: checkerProblems } = scanCheckers(root, Object.keys(config.checkers.custom));
    problems.push(...checkerProblems);
    for (const checker of Object.keys(config.checkers.custom))
      if (!checkers.has(checker))
        problems.push(
          yaml.locate({
            path: ["checkers", "custom", checker],
            message: `there is no checkers/${checker}.ts`,
          }),
        );
    if (problems.length > 0) return { definition: null, problems: inOrder(problems) };
    return { definition: { name: own, config, directory: root, hooks, checkers }, problems: [] };
  } catch (error) {
    const message = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return { definition: null, problems: [...problems, whole(root, message)] };
  }
}

/** Puts the rules of rules.ts to those of module.yaml. */
function addRules(config: ModuleConfig, made: MadeRules | null): Problem[] {
  if (made === null) return [];
  const twice = Object.keys(made.rules).filter((name) => Object.hasOwn(config.rules, name));
  config.rules = { ...config.rules, ...made.rules };
  return twice.map((name) => made.locate(["rules", name], "module.yaml has a rule of that name too"));
}

/** The parsed file, or a sentence why there is none. */
function readModuleYaml(root: string): YamlFile | string {
  const file = join(root, "module.yaml");
  try {
    if (!statSync(root).isDirectory()) return `${root} is not a directory`;
    return readYaml(readFileSync(file, "utf8"), "module.yaml");
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (missing) return `there is no ${file}: a module is a directory with a module.yaml`;
    return `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** As `readModule`, but throws ModuleInvalid with every problem. */
export function loadModule(
  directory: string,
  cluster: ClusterNames | null = null,
  name?: string,
): ModuleDefinition {
  const { definition, problems } = readModule(directory, cluster, name);
  if (definition === null) throw new ModuleInvalid(problems);
  return definition;
}
