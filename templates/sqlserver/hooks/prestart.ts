/**
 * Whether this node could run SQL Server, before it has to.
 */
import { defineHook } from "holdfast";
import { checkNode } from "../lib/node_check.ts";

export default defineHook(async ({ vars }) => {
  await checkNode({ programs: [vars.sqlcmd!], user: vars.user!, unit: vars.unit! });
});
