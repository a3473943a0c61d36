/**
 * Finds a module's hooks and checkers, and refuses what would look like one and do nothing.
 *
 * A hook that is never called, or does nothing and succeeds, is found out on the day of the failover. So names, exports
 * and imports are checked before the module is loaded, without running any of its code.
 */
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import type { HookName } from "../core/failover/types.ts";
import { type ImportMap, readImportMap } from "./import_map.ts";
import { nearest } from "./nearest.ts";
import { problemAt } from "./source_place.ts";
import type { Problem } from "./yaml_document.ts";

/** A hook as module authors know them: those of the failover core, and the two around applying and removing a module. */
export type ModuleHook = HookName | "config" | "deconfig";

/** Every hook, in the order of a module's life. */
export const HOOK_NAMES: readonly ModuleHook[] = [
  "config",
  "prestart",
  "start_both",
  "start_prim",
  "start_second",
  "stop_second",
  "stop_prim",
  "stop_both",
  "poststop",
  "restart_process",
  "fence",
  "transition",
  "deconfig",
];

/** A file that is run: a TypeScript module or script, or anything executable. */
export interface HookFile {
  /** Absolute path. */
  file: string;
  kind: "typescript" | "executable";
  /** TypeScript only: a file without exports runs as a plain script, others have their default export called. */
  script: boolean;
}

const WHOLE_MODULE_LIMIT = 5000;

function isModuleHook(name: string): name is ModuleHook {
  return (HOOK_NAMES as readonly string[]).includes(name);
}

/** Files of a directory that count: no hidden ones, no tests. */
function entries(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => !name.startsWith(".") && !name.endsWith(".test.ts"))
    .sort();
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** True for what execve takes: a script that names its interpreter, or a binary. Such files are made executable on every node. */
export function startsLikeProgram(content: Uint8Array): boolean {
  const start = Buffer.from(content.subarray(0, 4)).toString("latin1");
  return start.startsWith("#!") || start === "\x7fELF";
}

/** A default export that is a value as it stands. */
const NO_FUNCTION = /^\s*export\s+default\s+(?=[{["'`\d]|(?:true|false|null|undefined)\b)/m;

/** What is wrong with one TypeScript file's own text, and whether it is a plain script. */
function inspectTypeScript(file: string, shown: string): { script: boolean; problems: Problem[] } {
  const source = readFileSync(file, "utf8");
  const at = (message: string, offset = 0) => problemAt(shown, source, offset, message);
  try {
    const { exports } = new Bun.Transpiler({ loader: "ts" }).scan(source);
    const constant = source.search(NO_FUNCTION);
    if (exports.includes("default") && constant >= 0) {
      const offset = source.indexOf("export", constant);
      return {
        script: false,
        problems: [at("its default export is no function: nothing could call it", offset)],
      };
    }
    if (exports.length === 0 || exports.includes("default"))
      return { script: exports.length === 0, problems: [] };
    const offset = Math.max(0, source.search(/^\s*export\b/m));
    const message = `exports ${exports.join(", ")} but has no default: write \`export default defineHook(async (context) => { … })\``;
    return { script: false, problems: [at(message, offset)] };
  } catch (error) {
    return { script: false, problems: syntaxProblems(error, shown) };
  }
}

function syntaxProblems(error: unknown, shown: string): Problem[] {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  return errors.map((one) => {
    const position: unknown =
      typeof one === "object" && one !== null && "position" in one ? one.position : null;
    const place = (key: string) => {
      const value: unknown =
        typeof position === "object" && position !== null ? Reflect.get(position, key) : undefined;
      return typeof value === "number" ? value : 1;
    };
    const message = one instanceof Error ? one.message : String(one);
    return { file: shown, line: place("line"), column: place("column"), path: "", message };
  });
}

/** One folder of files to run: each becomes an entry, named by its text up to the first dot. */
function scanFolder(
  directory: string,
  folder: string,
  accept: (name: string) => string,
): { files: Map<string, HookFile>; problems: Problem[] } {
  const files = new Map<string, HookFile>();
  const problems: Problem[] = [];
  for (const entry of entries(join(directory, folder))) {
    const shown = `${folder}/${entry}`;
    const file = join(directory, folder, entry);
    const refuse = (message: string) => problems.push({ file: shown, line: 1, column: 1, path: "", message });
    const name = entry.split(".")[0]!;
    const refusal = accept(name);
    if (refusal !== "") refuse(refusal);
    else if (!statSync(file).isFile()) refuse("is not a file");
    else if (files.has(name))
      refuse(`${relative(directory, files.get(name)!.file)} is there too: keep one of them`);
    else if (entry.endsWith(".ts")) {
      const { script, problems: own } = inspectTypeScript(file, shown);
      problems.push(...own);
      files.set(name, { file, kind: "typescript", script });
    } else if (isExecutable(file)) {
      if (!startsLikeProgram(readFileSync(file)))
        refuse("has no first line such as #!/bin/sh, so the kernel cannot run it");
      files.set(name, { file, kind: "executable", script: true });
    } else refuse(`is neither TypeScript (${name}.ts) nor executable (chmod +x ${shown})`);
  }
  return { files, problems };
}

/** The hooks of a module directory. */
export function scanHooks(directory: string): { hooks: Map<ModuleHook, HookFile>; problems: Problem[] } {
  const { files, problems } = scanFolder(directory, "hooks", (name) => {
    if (isModuleHook(name)) return "";
    const near = nearest(name, HOOK_NAMES);
    return `${name} is no hook's name: ${near ? `did you mean ${near}?` : `they are ${HOOK_NAMES.join(", ")}`} (shared code belongs in another folder, such as lib/)`;
  });
  const hooks = new Map<ModuleHook, HookFile>();
  for (const [name, file] of files) if (isModuleHook(name)) hooks.set(name, file);
  return { hooks, problems };
}

/** The custom checkers of a module directory; each must be named in module.yaml, and each named one must be there. */
export function scanCheckers(
  directory: string,
  named: readonly string[],
): { checkers: Map<string, HookFile>; problems: Problem[] } {
  const { files, problems } = scanFolder(directory, "checkers", (name) => {
    if (named.includes(name)) return "";
    const near = nearest(name, named);
    return `module.yaml has no checker custom.${name}${near ? `: did you mean ${near}?` : ": add it under checkers.custom, or remove the file"}`;
  });
  return { checkers: files, problems };
}

/** Every TypeScript or JavaScript file of the module that hooks can import, vendored packages left out. */
export function sourceFiles(directory: string, found: string[] = []): string[] {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.name.startsWith(".") || entry.name === "node_modules" || found.length > WHOLE_MODULE_LIMIT)
      continue;
    const file = join(directory, entry.name);
    if (entry.isDirectory()) sourceFiles(file, found);
    else if (entry.isFile() && /\.(ts|mts|js|mjs)$/.test(entry.name) && !entry.name.endsWith(".d.ts"))
      found.push(file);
  }
  return found;
}

/** What is wrong with an import, or "". */
function importProblem(specifier: string, file: string, directory: string, map: ImportMap): string {
  const mapped = map.resolve(specifier);
  const target = mapped ?? specifier;
  // The binary has it, whatever version an editor's map names.
  if (specifier === "@std/yaml" && !/^[./]/.test(target)) return "";
  const via = mapped === null ? "" : ` (deno.json maps it to ${mapped})`;
  if (/^(npm|jsr|https?):/.test(target))
    return `imports ${specifier}${via}: nothing is fetched at run time, so vendor it: put its files in the module's folder and import them, or map the name to them in deno.json`;
  if (specifier === "holdfast" || isBuiltin(target) || target === "bun" || target.startsWith("bun:"))
    return "";
  if (target.startsWith("data:")) return "";
  const path = target.startsWith("file:") ? new URL(target).pathname : target;
  if (path.startsWith(".") || path.startsWith("/")) {
    const wanted = resolve(dirname(file), path);
    if (!wanted.startsWith(`${directory}/`))
      return `imports ${specifier}${via}, which lies outside of the module's folder`;
    return existsSync(wanted)
      ? ""
      : `imports ${specifier}${via}, but there is no ${relative(directory, wanted)}`;
  }
  const name = target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
  if (existsSync(join(directory, "node_modules", name))) return "";
  return `imports ${specifier}, which is not here: vendor it in the module's folder and map the name in deno.json`;
}

/** Imports of the module's own files that cannot work at run time. Test files may import what they like. */
export function checkImports(directory: string): Problem[] {
  const { map, problems } = readImportMap(directory);
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  for (const file of sourceFiles(directory)) {
    if (file.endsWith(".test.ts")) continue;
    const source = readFileSync(file, "utf8");
    const shown = relative(directory, file);
    let imports: { path: string }[];
    try {
      imports = transpiler.scan(source).imports;
    } catch (error) {
      // Hooks and checkers were inspected already; the rest is told here.
      if (!/^(hooks|checkers)\//.test(shown)) problems.push(...syntaxProblems(error, shown));
      continue;
    }
    for (const { path } of imports) {
      const message = importProblem(path, file, directory, map);
      const offset = Math.max(source.indexOf(`"${path}"`), source.indexOf(`'${path}'`), 0);
      if (message !== "") problems.push(problemAt(shown, source, offset, message));
    }
  }
  return problems;
}
