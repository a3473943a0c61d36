/**
 * The runtime of scripts: the SDK under the name `holdfast`, the import map of deno.json, the `Deno` namespace.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { plugin } from "bun";
import { readImportMap } from "../modules/import_map.ts";
import { installConsole } from "./console/console.ts";
import { writeAllSync } from "./deno/descriptor.ts";
import { denoNamespace } from "./deno/mod.ts";
import * as sdk from "./sdk/mod.ts";
import { AS_TEXT, originalColumn, prepareSource, withOriginalColumns } from "./source.ts";
import { installTimeouts } from "./waiting.ts";

/** The nearest directory at or above `file` that has a deno.json, else the file's own. */
function projectOf(file: string): string {
  for (let directory = dirname(file); directory !== "/"; directory = dirname(directory))
    if (existsSync(join(directory, "deno.json"))) return directory;
  return dirname(file);
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** The one package that every script has; a copy that the module vendors itself wins. */
const YAML = "@std/yaml";

/** Prepares this process for `file` as its main script. `args` is what the script sees as its arguments. */
export function installRuntime(file: string, args: readonly string[]): void {
  const project = projectOf(file);
  const { map, problems } = readImportMap(project);
  for (const problem of problems) console.error(`${problem.file}: ${problem.message}`);
  plugin({
    name: "holdfast",
    setup(build) {
      build.module("holdfast", () => ({ exports: { ...sdk }, loader: "object" }));
      build.module("holdfast/testing", async () => ({
        exports: { ...(await import("./sdk/testing.ts")) },
        loader: "object",
      }));
      // By its place: asked for by its name, from source, this plugin would ask itself.
      build.module(YAML, async () => ({
        exports: { ...(await import("../node_modules/@std/yaml/dist/index.js")) },
        loader: "object",
      }));
      // Static imports of mapped names are changed in the source; these are for names that are only known when it runs.
      for (const name of map.names)
        build.module(name, async () => ({
          exports: { ...((await import(map.resolve(name)!)) as object) },
          loader: "object",
        }));
      build.onResolve({ filter: new RegExp(`^${AS_TEXT}:`) }, ({ path }) => ({
        path: path.slice(AS_TEXT.length + 1),
        namespace: AS_TEXT,
      }));
      build.onLoad({ filter: /.*/, namespace: AS_TEXT }, ({ path }) => ({
        exports: { default: readFileSync(path, "utf8") },
        loader: "object",
      }));
      build.onLoad(
        { filter: new RegExp(`^${literal(project)}/(?!.*node_modules/).*\\.(ts|mts|js|mjs)$`) },
        ({ path }) => ({
          contents: prepareSource(path, file, map),
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
  /\$bunfs|node:internal|native:|[( /]hooks\/(child|runtime|sdk\/\w+)\.ts|\(native\)|processTicksAndRejections/;

/** An error as its author wants to read it: what, where (file:line:column), and what caused it. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map(describeError).join("\n");
  if (typeof error !== "object" || error === null) return `error: ${String(error)}`;
  const message = "message" in error ? String(error.message) : String(error);
  const fetched = /'((?:npm|jsr|https?):[^']*)'/.exec(message)?.[1];
  if (fetched !== undefined && message.startsWith("Cannot find"))
    return `error: ${message}: nothing is fetched at run time, so vendor it: put its files beside this one, or map the name to them in deno.json`;
  const position: unknown = "position" in error ? error.position : null;
  if (typeof position === "object" && position !== null && "file" in position && "line" in position) {
    const file = String(position.file);
    const column =
      "column" in position ? `:${originalColumn(file, Number(position.line), Number(position.column))}` : "";
    return `error: ${file}:${String(position.line)}${column}: ${message}`;
  }
  const name = error instanceof Error && error.name !== "Error" ? error.name : "error";
  const frames =
    error instanceof Error
      ? withOriginalColumns(error.stack ?? "")
          .split("\n")
          .filter((line) => /^\s+at /.test(line))
      : [];
  const own = frames.filter((line) => !INTERNAL_FRAME.test(line));
  const cause =
    error instanceof Error && error.cause !== undefined ? [`caused by ${describeError(error.cause)}`] : [];
  return [`${name}: ${message}`, ...own, ...cause].join("\n");
}

/** Prints the error and ends the process with status 1. */
export function fail(error: unknown): never {
  writeAllSync(2, Buffer.from(`${describeError(error)}\n`));
  process.exit(1);
}
