/**
 * Starts the application on a node of the farm.
 *
 * Return when it serves: only then the load balancer is told so. It may be called when the application already runs.
 */
import { defineHook, log } from "holdfast";

export default defineHook(async ({ module, vars }) => {
  log(`${module}: put the application's start here (port ${vars["port"]})`);
});
