/**
 * IIS's own tool, which tells and changes the state of sites and application pools.
 */
import { type Command, powershell } from "holdfast";

/** Runs appcmd.exe with these words; it fails when appcmd does. */
export function appcmd(vars: Readonly<Record<string, string>>, ...words: string[]): Command {
  return powershell`& ${vars["appcmd"]} ${words}; exit $LASTEXITCODE`;
}

/** Started, Stopped, Starting or Stopping. */
export async function stateOf(
  vars: Readonly<Record<string, string>>,
  kind: string,
  name: string,
): Promise<string> {
  return (await appcmd(vars, "list", kind, `/name:${name}`, "/text:state").text()).trim();
}
