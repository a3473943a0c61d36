/**
 * Registers the machine from the replicated directory, and starts it.
 */
import { defineHook, log } from "holdfast";
import { fit, forget, isInside, machineOf, register, restoreKept, start, turnOff } from "../lib/machine.ts";

export default defineHook(async ({ vars }) => {
  await restoreKept(vars);
  const before = await machineOf(vars);
  if (before?.state === "Running" && isInside(vars, before.path)) return log(`${vars.vm} runs already`);
  if (before) {
    if (!isInside(vars, before.path))
      throw new Error(
        `${vars.vm} lies in ${before.path}: move it, with its storage, to ${vars.directory} (Move-VMStorage)`,
      );
    if (before.state !== "Off" && before.state !== "Saved") await turnOff(vars, before);
    // What Hyper-V remembers of it may be older than the files, which the other node has had since.
    await forget(vars, before);
  }
  await register(vars);
  const machine = await machineOf(vars);
  if (!machine)
    throw new Error(
      `the configuration in ${vars.directory} is not that of ${vars.vm}: fit vars.vm in module.yaml`,
    );
  await fit(vars, machine);
  await start(machine);
  log(`${vars.vm} is started`);
});
