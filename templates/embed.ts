/**
 * Reads the templates' files at build time: imported as a macro, the call is replaced by what it returns, and the binary
 * needs no files beside it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { Glob } from "bun";

const byName = (one: string, other: string) => (one < other ? -1 : 1);

function folders(below: string): string[] {
  return readdirSync(`${import.meta.dir}/${below}`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `${below}${name}`);
}

/** Every part, as the JSON of `Parts`: one text costs nothing until it is read. */
export function readParts(): string {
  const names = [...folders("").filter((name) => name !== "shared"), ...folders("shared/")].sort(byName);
  const parts = names.map((name) => {
    const folder = `${import.meta.dir}/${name}`;
    const paths = [...new Glob("**/*").scanSync({ cwd: folder, dot: true })].sort(byName);
    return [name, Object.fromEntries(paths.map((path) => [path, readFileSync(`${folder}/${path}`, "utf8")]))];
  });
  return JSON.stringify(Object.fromEntries(parts));
}
