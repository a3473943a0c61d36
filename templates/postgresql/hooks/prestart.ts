/**
 * Whether this node could run PostgreSQL, before it has to.
 */
import { defineHook } from "holdfast";
import { checkNode } from "../lib/node_check.ts";

export default defineHook(async ({ vars }) => {
  const programs = ["initdb", "pg_ctl", "postgres"].map((name) => `${vars.bin}/${name}`);
  await checkNode({ programs, user: vars.user!, unit: "postgresql.service" });
});
