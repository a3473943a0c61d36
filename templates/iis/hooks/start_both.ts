/**
 * Starts the web service, the application pool and the site, and returns when the site answers.
 */
import { $, defineHook, log, service, waitFor } from "holdfast";

export default defineHook(async ({ vars }) => {
  const { appcmd, site, pool, url } = vars as Record<string, string>;
  await service("W3SVC").start();
  const stateOf = (kind: string, name: string) => $`${appcmd} list ${kind} /name:${name} /text:state`.text();
  if ((await stateOf("apppool", pool)).trim() !== "Started")
    await $`${appcmd} start apppool /apppool.name:${pool}`;
  if ((await stateOf("site", site)).trim() !== "Started") await $`${appcmd} start site /site.name:${site}`;
  await waitFor.http(url, { timeout: "1d" });
  log(`${site} answers`);
});
