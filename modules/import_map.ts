/**
 * The import map of a module's deno.json: which file a bare name stands for.
 *
 * Bun does not read deno.json, so `check` and the hook runtime both resolve names here, and agree.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as v from "valibot";
import { found } from "./fields.ts";
import type { Problem } from "./yaml_document.ts";

/** Resolves the names of an import map. */
export interface ImportMap {
  /** Names, not prefixes, that stand for files of the module. */
  names: readonly string[];
  /** The target of a mapped specifier (absolute path, or `npm:…` and the like as written), or null when it is not mapped. */
  resolve(specifier: string): string | null;
}

const denoJson = v.looseObject({
  imports: v.optional(
    v.record(
      v.string(),
      v.string((issue) => `imports: expected a text, found ${found(issue.input)}`),
    ),
    {},
  ),
});

/** An exact name, or the longest prefix that ends in a slash. */
function lookup(imports: Readonly<Record<string, string>>, specifier: string): string | null {
  if (Object.hasOwn(imports, specifier)) return imports[specifier]!;
  const prefix = Object.keys(imports)
    .filter((key) => key.endsWith("/") && specifier.startsWith(key))
    .sort((a, b) => b.length - a.length)[0];
  return prefix === undefined ? null : `${imports[prefix]}${specifier.slice(prefix.length)}`;
}

/** Reads `deno.json` of a module directory. A missing file is an empty map; a wrong one is a problem and an empty map. */
export function readImportMap(directory: string): { map: ImportMap; problems: Problem[] } {
  const file = join(directory, "deno.json");
  const none: ImportMap = { names: [], resolve: () => null };
  if (!existsSync(file)) return { map: none, problems: [] };
  const refuse = (message: string) => ({
    map: none,
    problems: [{ file: "deno.json", line: 1, column: 1, path: "", message }],
  });
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    return refuse(`not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const result = v.safeParse(denoJson, value);
  if (!result.success) return refuse(result.issues[0].message);
  const { imports } = result.output;
  const isLocal = (target: string) => target.startsWith("./") || target.startsWith("../");
  return {
    map: {
      names: Object.keys(imports).filter(
        (name) => name !== "holdfast" && !name.endsWith("/") && isLocal(imports[name]!),
      ),
      resolve(specifier) {
        // The SDK is the binary's own, whatever the editor's map says.
        if (specifier === "holdfast") return null;
        const target = lookup(imports, specifier);
        return target !== null && isLocal(target) ? resolve(directory, target) : target;
      },
    },
    problems: [],
  };
}
