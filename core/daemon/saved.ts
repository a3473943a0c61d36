/**
 * What this node had written while both nodes of a mirror ran alone, and was kept aside when it gave way: it stays until people have seen to it, so
 * `status` and `doctor` go on saying it.
 */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";

/** Where what was kept aside of a module lies, oldest first: a directory for each split brain that this node lost. */
export function savedOf(varDir: string, module: string): string[] {
  return entries(join(varDir, "saved", module));
}

/** By module, all that was kept aside on this node. */
export function allSaved(varDir: string): Record<string, string[]> {
  const saved = entries(join(varDir, "saved")).map((path) => [basename(path), entries(path)] as const);
  return Object.fromEntries(saved.filter(([, found]) => found.length > 0));
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
      .sort()
      .map((name) => join(directory, name));
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ENOTDIR" ? [] : [`${directory} (it cannot be read: ${code})`];
  }
}
