/**
 * Stops the site and its application pool: requests that are being answered are answered to their end; forced, the web service goes, and all with it.
 */
import { defineHook, log, service } from "holdfast";
import { appcmd, stateOf } from "../lib/appcmd.ts";

export default defineHook(async ({ vars, force }) => {
  const { site, pool } = vars as Record<string, string>;
  if (force) {
    await service("W3SVC").stop({ force });
    log("the web service stopped (forced)");
    return;
  }
  if (!(await service("W3SVC").isActive())) {
    log("the web service does not run");
    return;
  }
  if ((await stateOf(vars, "site", site)) === "Started")
    await appcmd(vars, "stop", "site", `/site.name:${site}`);
  if ((await stateOf(vars, "apppool", pool)) === "Started")
    await appcmd(vars, "stop", "apppool", `/apppool.name:${pool}`);
  log(`${site} stopped`);
});
