/**
 * Whether this node could run the machine, before it has to; and it may not run here yet.
 */
import { defineHook, log, retry } from "holdfast";
import { isInside, machineOf, turnOff } from "../lib/machine.ts";

export default defineHook(async ({ vars }) => {
  // At boot, Hyper-V may come up after us.
  const left = await retry(() => machineOf(vars), { attempts: 30, delay: "1s" });
  if (left === null || left.state === "Off" || left.state === "Saved") return;
  if (!isInside(vars, left.path))
    throw new Error(
      `${vars.vm} runs on this node from ${left.path}, outside ${vars.directory}: shut it down, then start the module again`,
    );
  log.warning(`${vars.vm} was left over from when this node was cut off`);
  await turnOff(vars, left);
});
