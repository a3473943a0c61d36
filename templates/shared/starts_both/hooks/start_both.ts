/**
 * Starts the application on this node. What `services` in module.yaml names is started afterwards, without any hook.
 *
 * Return when the application serves; throw when it cannot. It may be called when the application already runs.
 */
import { defineHook, log } from "holdfast";

export default defineHook(async ({ module, vars }) => {
  // Such as: await $`/srv/app/bin/app --port ${vars.port} --daemon`; and then: await waitFor.tcp(Number(vars.port));
  log(`${module}: this hook starts nothing yet (port ${vars.port})`);
});
