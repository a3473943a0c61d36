/**
 * Stops Redis: what was written is in the append-only file already; forced, it is cut off.
 */
import { defineHook, log } from "holdfast";
import { end, serverIn } from "../lib/server.ts";

export default defineHook(async ({ vars, force }) => {
  const pid = serverIn(vars.data!, "redis-server");
  if (pid === null) {
    log("Redis does not run");
    return;
  }
  await end(pid, force);
  log(`Redis stopped${force ? " (cut off)" : ""}`);
});
