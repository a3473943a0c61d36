/**
 * Starts the web service, the application pool and the site, and returns when the site answers.
 */
import { defineHook, log, service, waitFor } from "holdfast";
import { appcmd, stateOf } from "../lib/appcmd.ts";

export default defineHook(async ({ vars }) => {
  const { site, pool, url } = vars as Record<string, string>;
  await service("W3SVC").start();
  if ((await stateOf(vars, "apppool", pool)) !== "Started")
    await appcmd(vars, "start", "apppool", `/apppool.name:${pool}`);
  if ((await stateOf(vars, "site", site)) !== "Started")
    await appcmd(vars, "start", "site", `/site.name:${site}`);
  await waitFor.http(url, { timeout: "1d" });
  log(`${site} answers`);
});
