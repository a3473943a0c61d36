/**
 * What takes the place of the machine while a hook is tested.
 *
 * It is found under a symbol of the global object: the test and the hook may have loaded the SDK each for itself.
 */
import type { CommandResult } from "./shell.ts";

/** What is asked of a machine that is made up. */
export interface StandIn {
  command(line: string, input: string): Promise<Pick<CommandResult, "exitCode" | "stdout" | "stderr">>;
  /** "" when what is waited for is there, else why not. */
  wait(what: string): string;
  service(name: string, verb: "start" | "stop" | "status"): string;
  adopt(pid: number): void;
  secret(key: string): string | undefined;
  log(line: string): void;
}

const PLACE = Symbol.for("holdfast.standIn");

/** The one that is in place, or null: the machine itself is meant. */
export function standIn(): StandIn | null {
  return (Reflect.get(globalThis, PLACE) as StandIn | undefined) ?? null;
}

/** Puts one into place, or takes it away. */
export function setStandIn(value: StandIn | null): void {
  Reflect.set(globalThis, PLACE, value ?? undefined);
}
