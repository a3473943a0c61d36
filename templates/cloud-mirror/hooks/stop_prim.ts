/**
 * Stops the application on the primary. The load balancer was told before. Called again with `force: true` when it failed or took too long.
 *
 * It may be called when the application does not run.
 */
import { defineHook, log } from "holdfast";
import { drop } from "../lib/move.ts";

export default defineHook(async ({ module, vars, force }) => {
  log(`${module}: put the application's ${force ? "forced " : ""}stop here`);
  await drop(vars);
});
