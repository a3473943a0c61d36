/**
 * Stops the site and its application pool: requests that are being answered are answered to their end; forced, the web service goes, and all with it.
 */
import { $, defineHook, log, service } from "holdfast";

export default defineHook(async ({ vars, force }) => {
  const { appcmd, site, pool } = vars as Record<string, string>;
  if (force) {
    await service("W3SVC").stop({ force });
    log("the web service stopped (forced)");
    return;
  }
  if (!(await service("W3SVC").isActive())) {
    log("the web service does not run");
    return;
  }
  const stateOf = (kind: string, name: string) => $`${appcmd} list ${kind} /name:${name} /text:state`.text();
  if ((await stateOf("site", site)).trim() === "Started") await $`${appcmd} stop site /site.name:${site}`;
  if ((await stateOf("apppool", pool)).trim() === "Started")
    await $`${appcmd} stop apppool /apppool.name:${pool}`;
  log(`${site} stopped`);
});
