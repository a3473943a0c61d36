/**
 * The templates' files, in the binary and in the sources alike.
 *
 * A file of its own, and a small one: Bun keeps what it made of a larger source for its next run, but not what a macro in it returned.
 */
import type { Parts } from "./compose.ts";
import { readParts } from "./embed.ts" with { type: "macro" };

let parts: Parts | null = null;

/** Every part, read when it is first asked for. */
export function allParts(): Parts {
  parts ??= JSON.parse(readParts()) as Parts;
  return parts;
}
