/**
 * Starts the application on the primary. The replicated directories are mounted.
 *
 * Return when the application serves: only then the load balancer is told that this is the node. Throw when it cannot: the module then stops here
 * and the peer takes over. It may be called when the application already runs.
 */
import { defineHook, log } from "holdfast";
import { take } from "../lib/move.ts";

export default defineHook(async ({ module, vars, signal }) => {
  await take(vars, signal);
  log(`${module}: put the application's start here (port ${vars["port"]})`);
});
