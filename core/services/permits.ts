/**
 * The files by which units that a module manages may start: in /run, so that none is there after a boot of the machine.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DIRECTORY = "/run/holdfast/services";

/** A unit's own file; the unit's condition names it. */
export function permitOf(unit: string): string {
  return join(DIRECTORY, unit);
}

/** From now on the unit may be started. */
export function permit(unit: string): void {
  mkdirSync(DIRECTORY, { recursive: true, mode: 0o755 });
  writeFileSync(permitOf(unit), "");
}

/** From now on it may not, whoever asks. What runs goes on. */
export function forbid(unit: string): void {
  rmSync(permitOf(unit), { force: true });
}
