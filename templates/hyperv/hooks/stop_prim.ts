/**
 * Shuts the machine down, and takes its registration away from this node. Forced, its plug is pulled.
 */
import { defineHook, log } from "holdfast";
import { forget, machineOf, shutDown, turnOff } from "../lib/machine.ts";

export default defineHook(async ({ vars, force }) => {
  const machine = await machineOf(vars);
  if (machine === null) return log(`${vars.vm} is not known here`);
  if (machine.state === "Running" && !force) await shutDown(vars, machine);
  else if (machine.state !== "Off" && machine.state !== "Saved") await turnOff(vars, machine);
  await forget(vars, machine);
});
