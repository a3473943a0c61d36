/** What is wrong with a module, found and told in the same way by every command that looks for it. */
import { examineModule } from "../../../modules/mod.ts";
import type { Invocation } from "../command.ts";
import type { Output } from "../output.ts";
import { clusterNames } from "./module_place.ts";

/** As `module check` finds it, by file, line and column. */
export interface Findings {
  errors: string[];
  warnings: string[];
}

/** Looks, types included unless --no-types was given; says meanwhile that it does. */
export async function findingsOf(invocation: Invocation, directory: string): Promise<Findings> {
  const { varDir, flags, output } = invocation;
  const examining = () => examineModule(directory, clusterNames(varDir), !flags.has("no-types"));
  const { errors, warnings } = await output.busy(`checking ${directory}`, examining);
  return { errors, warnings };
}

/** Each finding, a line on stderr. */
export function tellFindings(output: Output, directory: string, { errors, warnings }: Findings): void {
  for (const error of errors) output.note(`${directory}/${error}`);
  for (const warning of warnings) output.note(`${directory}/${warning} (warning)`);
}
