/**
 * Is the database open, for reading and writing, and does the listener answer?
 */
import { defineChecker } from "holdfast";
import { oracle, sql } from "../lib/oracle.ts";

export default defineChecker(async ({ vars }) => {
  const said = await sql(vars, "select open_mode from v$database;");
  if (said !== "READ WRITE") return { state: "down", detail: said };
  const listener = await oracle(vars, "lsnrctl", "status", vars.listener!).nothrow().quiet();
  return listener.exitCode === 0 || { state: "down", detail: listener.stdout.trim() };
});
