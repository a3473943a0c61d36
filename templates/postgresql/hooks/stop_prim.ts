/**
 * Stops PostgreSQL: sessions are ended and everything is written (fast); forced, it is cut off and recovers at its next start.
 */
import { existsSync } from "node:fs";
import { $, defineHook, log } from "holdfast";

export default defineHook(async ({ vars, force }) => {
  const { bin, user, data } = vars;
  if (!existsSync(`${data}/postmaster.pid`)) {
    log("PostgreSQL does not run");
    return;
  }
  const mode = force ? "immediate" : "fast";
  await $`runuser -u ${user} -- ${bin}/pg_ctl stop -D ${data} -w -t 86400 -s -m ${mode}`.cwd("/");
  log(`PostgreSQL stopped (${mode})`);
});
