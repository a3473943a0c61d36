/**
 * Stops {{title}}: requests that are being answered are answered to their end; forced, they are cut off.
 */
import process from "node:process";
import { defineHook, log, waitFor } from "holdfast";
import { masterOf } from "../lib/web_server.ts";

export default defineHook(async ({ vars, force }) => {
  const master = masterOf(vars.pid!);
  if (master === null) {
    log("{{title}} does not run");
    return;
  }
  process.kill(master, force ? "SIGTERM" : "{{quit}}");
  await waitFor(() => masterOf(vars.pid!) !== master, { what: "the end of {{title}}", timeout: "1d" });
  log(`{{title}} stopped${force ? " (cut off)" : ""}`);
});
