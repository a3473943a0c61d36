/** Offsets in a source text as line and column. */
import type { Problem } from "./yaml_document.ts";

/** A problem at a character offset of `source`. */
export function problemAt(file: string, source: string, offset: number, message: string): Problem {
  const before = source.slice(0, offset).split("\n");
  return { file, line: before.length, column: (before.at(-1)?.length ?? 0) + 1, path: "", message };
}
