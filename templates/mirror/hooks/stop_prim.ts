/**
 * Stops the application on the primary; its `services` are stopped already. Called again with `force: true` when it failed or took too long.
 *
 * It may be called when the application does not run.
 */
import { defineHook, log } from "holdfast";

export default defineHook(async ({ module, force }) => {
  log(`${module}: this hook stops nothing yet${force ? " (forced)" : ""}`);
});
