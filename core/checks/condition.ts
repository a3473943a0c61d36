/**
 * What a rule asks about resources, and its answer. Pure: the failover core decides by it, on this node's resources and the peer's.
 */

/** What a resource can be. `init`: not known yet; `unknown`: cannot be known (the checker is off, or could not look). */
export type ResourceState = "init" | "up" | "down" | "unknown";
/** All of them. */
export const RESOURCE_STATES: readonly ResourceState[] = ["init", "up", "down", "unknown"];

/** The states of resources by name: `tcp.db`. */
export type Resources = Readonly<Record<string, string>>;

/** A condition, parsed. Plain data. */
export type Condition =
  | { op: "not"; of: Condition }
  | { op: "and" | "or"; left: Condition; right: Condition }
  /** `name` may end in `*` (every one of its class) or `?` (any of them). */
  | { op: "is"; remote: boolean; name: string; equal: boolean; state: ResourceState };

/**
 * Does the condition hold? A resource that nobody has set is `unknown`; a wildcard that meets no resource is never true. Nor is `!=` of a resource
 * that is not known yet: `tcp.db != up` would act at each start.
 */
export function holds(condition: Condition, local: Resources, remote: Resources): boolean {
  switch (condition.op) {
    case "not":
      return !holds(condition.of, local, remote);
    case "and":
      return holds(condition.left, local, remote) && holds(condition.right, local, remote);
    case "or":
      return holds(condition.left, local, remote) || holds(condition.right, local, remote);
    case "is":
      return compares(condition, condition.remote ? remote : local);
  }
}

type Comparison = Extract<Condition, { op: "is" }>;

function compares({ name, equal, state }: Comparison, resources: Resources): boolean {
  const fits = (value: string): boolean => (equal ? value === state : value !== state && value !== "init");
  const wildcard = name.at(-1);
  if (wildcard !== "*" && wildcard !== "?") return fits(resources[name] ?? "unknown");
  const values = Object.entries(resources).flatMap(([at, value]) => (matches(name, at) ? [value] : []));
  return wildcard === "*" ? values.length > 0 && values.every(fits) : values.some(fits);
}

/** Does `pattern`, a name or a class with a wildcard, mean this resource? */
export function matches(pattern: string, name: string): boolean {
  return /[*?]$/.test(pattern) ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** Everything that a condition compares, in the order written. */
export function comparisons(condition: Condition): Comparison[] {
  switch (condition.op) {
    case "not":
      return comparisons(condition.of);
    case "is":
      return [condition];
    default:
      return [...comparisons(condition.left), ...comparisons(condition.right)];
  }
}
