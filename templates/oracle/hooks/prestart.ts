/**
 * Whether this node could run the database, before it has to.
 */
import { defineHook } from "holdfast";
import { checkNode } from "../lib/node_check.ts";

export default defineHook(async ({ vars }) => {
  const programs = ["sqlplus", "lsnrctl", "oracle"].map((name) => `${vars.home}/bin/${name}`);
  await checkNode({ programs, user: vars.user!, unit: `oracle-${vars.sid}.service` });
});
