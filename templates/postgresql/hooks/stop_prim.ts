/**
 * Stops PostgreSQL: sessions are ended and everything is written (fast); forced, it is cut off and recovers at its next start.
 */
import { existsSync, readFileSync } from "node:fs";
import { $, defineHook, log } from "holdfast";

export default defineHook(async ({ vars, force }) => {
  const { bin, user, data } = vars;
  const pidFile = `${data}/postmaster.pid`;
  const pid = existsSync(pidFile) ? readFileSync(pidFile, "utf8").split("\n")[0] : "";
  // A first process that was killed leaves its file behind, and pg_ctl fails on it.
  if (!pid || !existsSync(`/proc/${pid}`)) {
    log(pid ? `PostgreSQL does not run any more: process ${pid} is gone` : "PostgreSQL does not run");
    return;
  }
  const mode = force ? "immediate" : "fast";
  await $`runuser -u ${user} -- ${bin}/pg_ctl stop -D ${data} -w -t 86400 -s -m ${mode}`.cwd("/");
  log(`PostgreSQL stopped (${mode})`);
});
