/**
 * Starts the listener and the database, and returns when it is open.
 */
import { defineHook, log } from "holdfast";
import { instance, oracle, refuseErrors, sql } from "../lib/oracle.ts";

/** A file "in backup mode" needs recovery as if it were a restored one, after a failover in the midst of a hot backup. */
const IN_BACKUP = /ORA-(01113|10873)/;

export default defineHook(async ({ vars }) => {
  const listener = await oracle(vars, "lsnrctl", "status", vars.listener!).nothrow().quiet();
  // Not quiet: the listener keeps the output that lsnrctl was given, for as long as it runs.
  if (listener.exitCode !== 0) await oracle(vars, "lsnrctl", "start", vars.listener!);
  let status = await instance(vars);
  if (status === "OPEN") {
    log("the database is open already");
    return;
  }
  if (status === "STARTED") await sql(vars, "shutdown abort");
  if (status !== "MOUNTED") refuseErrors("startup mount", await sql(vars, "startup mount"));
  const opened = await sql(vars, "alter database open;");
  if (IN_BACKUP.test(opened)) {
    log.warning(
      "the other node failed in the midst of a hot backup: ending that, so that the database can open",
    );
    refuseErrors("opening it", await sql(vars, "alter database end backup;", "alter database open;"));
  } else refuseErrors("opening it", opened);
  status = await instance(vars);
  if (status !== "OPEN") throw new Error(`the database is ${status}, not OPEN: its alert log says why`);
  await sql(vars, "alter system register;");
  log("the database is open");
});
