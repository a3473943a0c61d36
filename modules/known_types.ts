/**
 * Remembers in a module's folder which of its code had good types: checking costs seconds, and most applies change none of it.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readFiles } from "./history/module_files.ts";
import { resourceType } from "./resource_types.ts";
import { sdkSources, typesVersion } from "./type_files/type_files.ts";

const FILE = ".holdfast/good_types";
/** What the compiler may read of a module. */
const CODE = /\.([cm]?[jt]sx?|json)$/;

/** Stands for all that the check looks at: the module's code, and the types in this program. Throws ModuleInvalid where the files make no module. */
export async function typesDigest(directory: string): Promise<string> {
  const [version, sdk] = await Promise.all([typesVersion(), sdkSources()]);
  const hash = createHash("sha256").update(
    `${version}\0${JSON.stringify(sdk)}\0${resourceType(directory)}\0`,
  );
  for (const [path, { content }] of readFiles(directory))
    if (CODE.test(path)) hash.update(`${path}\0${content.length}\0`).update(content);
  return hash.digest("hex");
}

/** Was this digest's code found good? */
export function areKnownGood(directory: string, digest: string): boolean {
  const file = join(directory, FILE);
  return existsSync(file) && readFileSync(file, "utf8") === digest;
}

/** It was. A folder without the SDK's is none that anybody works in. */
export function noteGood(directory: string, digest: string): void {
  if (existsSync(join(directory, ".holdfast"))) writeFileSync(join(directory, FILE), digest);
}
