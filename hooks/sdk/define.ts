/** Gives hooks and checkers their types. */
import type { CheckerContext, CheckerResult, HookContext } from "./context.ts";

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
