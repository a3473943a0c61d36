/**
 * Stops the application on the primary; its `services` are stopped already, and the load balancer was told before. Called again with `force: true` when it failed or took too long.
 *
 * It may be called when the application does not run.
 */
import { defineHook, log } from "holdfast";
import { drop } from "../lib/move.ts";

export default defineHook(async ({ module, vars, force }) => {
  log(`${module}: this hook stops nothing yet${force ? " (forced)" : ""}`);
  await drop(vars);
});
