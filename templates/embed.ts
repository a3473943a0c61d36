/**
 * Reads a template's files at build time: imported as a macro, the call is replaced by what it returns, and the binary
 * needs no files beside it.
 */
import { readFileSync } from "node:fs";
import { Glob } from "bun";

/** Path to content of every file of the template `name`, sorted by path. */
export function templateFiles(name: string): Record<string, string> {
  const folder = `${import.meta.dir}/${name}/files`;
  const paths = [...new Glob("**/*").scanSync({ cwd: folder, dot: true })].sort((one, other) =>
    one < other ? -1 : 1,
  );
  return Object.fromEntries(paths.map((path) => [path, readFileSync(`${folder}/${path}`, "utf8")]));
}
