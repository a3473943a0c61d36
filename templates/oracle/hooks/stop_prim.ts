/**
 * Stops the database: sessions are ended, everything is written (immediate); forced, it is cut off (abort) and recovers at its next start.
 */
import { defineHook, log } from "holdfast";
import { instance, oracle, refuseErrors, sql } from "../lib/oracle.ts";

export default defineHook(async ({ vars, force }) => {
  await oracle(vars, "lsnrctl", "stop", vars.listener!).nothrow().quiet();
  if (!force && (await instance(vars)) === "DOWN") {
    log("the database does not run");
    return;
  }
  const said = await sql(vars, force ? "shutdown abort" : "shutdown immediate");
  // Not mounted, not open, or not there at all: it is down all the same.
  refuseErrors("shutdown", said.replaceAll(/^ORA-(01507|01109|01034|27101).*$/gm, ""));
  log(`the database is down${force ? " (cut off)" : ""}`);
});
