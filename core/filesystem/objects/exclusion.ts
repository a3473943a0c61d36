/** Names that a module leaves out of replication. Both copies must judge alike, whoever serves. */
import type { ReplicatedPath } from "../control.ts";

/** Is the object of this name (one character per byte) left out? `top`: it lies directly in the replicated directory. */
export type NameFilter = (name: string, top: boolean) => boolean;

/** `exclude` and `only` are patterns of single names, with * and ?. `only` concerns names at the top. */
export function nameFilter({ exclude, only }: Pick<ReplicatedPath, "exclude" | "only">): NameFilter | null {
  if (exclude.length === 0 && only.length === 0) return null;
  const out = exclude.map(expressionOf);
  const wanted = only.map(expressionOf);
  return (name, top) =>
    out.some((expression) => expression.test(name)) ||
    (top && wanted.length > 0 && !wanted.some((expression) => expression.test(name)));
}

function expressionOf(pattern: string): RegExp {
  const bytes = Buffer.from(pattern, "utf8").toString("latin1");
  const escaped = bytes
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  return new RegExp(`^${escaped}$`, "s");
}
