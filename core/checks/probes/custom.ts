/** The module's own checkers: `checkers/NAME.ts`, or an executable. */
import { runChecker } from "../../../hooks/checker_runner.ts";
import type { Probe } from "../probe.ts";

/** How a run of one checker is made: as the module is at that moment. */
export type CheckerOrder = () => Omit<Parameters<typeof runChecker>[0], "signal">;

/** See the top of the file. */
export function customProbe(order: CheckerOrder): Probe {
  return { look: async (signal) => await runChecker({ ...order(), signal }) };
}
