/**
 * Stops MariaDB: transactions are rolled back or done, and everything is written; forced, it is cut off and recovers at its next start.
 */
import { defineHook, log } from "holdfast";
import { end, serverIn } from "../lib/server.ts";

export default defineHook(async ({ vars, force }) => {
  const pid = serverIn(vars.data!, "mariadbd");
  if (pid === null) {
    log("MariaDB does not run");
    return;
  }
  await end(pid, force);
  log(`MariaDB stopped${force ? " (cut off)" : ""}`);
});
