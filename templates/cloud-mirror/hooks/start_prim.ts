/**
 * Starts the application on the primary. The replicated directories are mounted. What `services` in module.yaml names is started afterwards,
 * without any hook.
 *
 * Return when the application serves: only then is the load balancer told that this is the node. Throw when it cannot: the module then stops here
 * and the peer takes over. It may be called when the application already runs.
 */
import { defineHook, log } from "holdfast";
import { take } from "../lib/move.ts";

export default defineHook(async ({ module, vars, signal }) => {
  await take(vars, signal);
  // Such as: await $`/srv/app/bin/app --port ${vars.port} --daemon`; and then: await waitFor.tcp(Number(vars.port));
  log(`${module}: this hook starts nothing yet (port ${vars.port})`);
});
