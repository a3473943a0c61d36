/**
 * The runtime of scripts: the SDK under the name `holdfast`, the import map of deno.json, the `Deno` namespace.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { plugin } from "bun";
import { type ImportMap, readImportMap } from "../modules/import_map.ts";
import { installConsole } from "./console/console.ts";
import { denoNamespace } from "./deno/mod.ts";
import * as sdk from "./sdk/mod.ts";
import { installTimeouts } from "./waiting.ts";

/** Makes the main script one that knows it: Bun says so only of the file that a process began with. */
const BE_MAIN = 'Object.defineProperty(import.meta, "main", { value: true });';

/** Adds that to a source which asks, without a new line: of places in error messages only the columns of one line move. */
function asMain(source: string): string {
  if (!source.includes("import.meta.main")) return source;
  const start = source.startsWith("#!") ? source.indexOf("\n") + 1 : 0;
  return `${source.slice(0, start)}${BE_MAIN}${source.slice(start)}`;
}

/** The nearest directory at or above `file` that has a deno.json, else the file's own. */
function projectOf(file: string): string {
  for (let directory = dirname(file); directory !== "/"; directory = dirname(directory))
    if (existsSync(join(directory, "deno.json"))) return directory;
  return dirname(file);
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** Puts the targets of mapped names into the import statements: Bun asks no plugin about a bare name in a static import. */
function withMappedImports(source: string, map: ImportMap): string {
  let result = source;
  const scanned = new Bun.Transpiler({ loader: "ts" }).scanImports(source);
  for (const { path } of scanned) {
    const target = map.resolve(path);
    if (target?.startsWith("/"))
      result = result.replace(
        new RegExp(`(\\bfrom\\s*|\\bimport\\s*\\(?\\s*)(["'])${literal(path)}\\2`, "g"),
        (_, before: string) => `${before}${JSON.stringify(target)}`,
      );
  }
  return result;
}

/** Source as it is run: mapped imports resolved, and for the main script `import.meta.main` true. */
function prepare(file: string, main: string, map: ImportMap): string {
  const source = readFileSync(file, "utf8");
  const own = file === main ? asMain(source) : source;
  try {
    return withMappedImports(own, map);
  } catch {
    // A syntax error: the import itself tells it, with its place.
    return own;
  }
}

/** Prepares this process for `file` as its main script. `args` is what the script sees as its arguments. */
export function installRuntime(file: string, args: readonly string[]): void {
  const project = projectOf(file);
  const { map, problems } = readImportMap(project);
  for (const problem of problems) console.error(`${problem.file}: ${problem.message}`);
  plugin({
    name: "holdfast",
    setup(build) {
      build.module("holdfast", () => ({ exports: { ...sdk }, loader: "object" }));
      build.onResolve({ filter: /^[^./]/ }, ({ path }) => {
        const target = map.resolve(path);
        return target?.startsWith("/") ? { path: target } : undefined;
      });
      build.onLoad(
        { filter: new RegExp(`^${literal(project)}/(?!.*node_modules/).*\\.(ts|mts|js|mjs)$`) },
        ({ path }) => ({
          contents: prepare(path, file, map),
          loader: path.endsWith("js") ? "js" : "ts",
        }),
      );
    },
  });
  installConsole();
  installTimeouts();
  process.argv = [process.execPath, file, ...args];
  Reflect.set(globalThis, "Deno", denoNamespace(file, args));
}

/** Frames that belong to the binary, not to the script. */
const INTERNAL_FRAME =
  /\$bunfs|node:internal|native:|\/hooks\/(child|runtime)\.ts|\(native\)|processTicksAndRejections/;

/** An error as its author wants to read it: what, where (file:line:column), and what caused it. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map(describeError).join("\n");
  if (typeof error !== "object" || error === null) return `error: ${String(error)}`;
  const message = "message" in error ? String(error.message) : String(error);
  const position: unknown = "position" in error ? error.position : null;
  if (typeof position === "object" && position !== null && "file" in position && "line" in position) {
    const column = "column" in position ? `:${String(position.column)}` : "";
    return `error: ${String(position.file)}:${String(position.line)}${column}: ${message}`;
  }
  const name = error instanceof Error && error.name !== "Error" ? error.name : "error";
  const frames =
    error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)) : [];
  const own = frames.filter((line) => !INTERNAL_FRAME.test(line));
  const cause =
    error instanceof Error && error.cause !== undefined ? [`caused by ${describeError(error.cause)}`] : [];
  return [`${name}: ${message}`, ...own, ...cause].join("\n");
}

/** Prints the error and ends the process with status 1. */
export function fail(error: unknown): never {
  console.error(describeError(error));
  process.exit(1);
}
