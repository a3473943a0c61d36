/** Gives hooks and checkers their types. */
import type { HookContext } from "../context.ts";

/** What a checker's function gets. */
export interface CheckerContext {
  module: string;
  node: string;
  /** The resource's name, such as custom.orders. */
  resource: string;
  vars: Readonly<Record<string, string>>;
  dir: string;
  /** Aborted shortly before the checker's time limit. */
  signal: AbortSignal;
}

/** What a checker may answer; a throw or a time-out is down, with the reason. */
export type CheckerResult = boolean | { state: "up" | "down"; detail?: string };

/** A hook: `export default defineHook(async ({ force, vars }) => { … })`. It fails when the function throws. */
export function defineHook(run: (context: HookContext) => unknown): (context: HookContext) => unknown {
  return run;
}

/** A checker: `export default defineChecker(async ({ vars }) => …)`. */
export function defineChecker(
  check: (context: CheckerContext) => CheckerResult | Promise<CheckerResult>,
): (context: CheckerContext) => CheckerResult | Promise<CheckerResult> {
  return check;
}
