/**
 * Starts the application on the primary. The replicated directories are mounted and the virtual IP is up.
 *
 * Return when the application serves; throw when it cannot: the module then stops here and the peer takes over.
 * It may be called when the application already runs.
 */
import { defineHook, log } from "holdfast";

export default defineHook(async ({ module, vars }) => {
  log(`${module}: put the application's start here (port ${vars.port})`);
});
