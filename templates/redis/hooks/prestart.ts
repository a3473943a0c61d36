/**
 * Whether this node could run Redis, before it has to.
 */
import { defineHook } from "holdfast";
import { checkNode } from "../lib/node_check.ts";

export default defineHook(async ({ vars }) => {
  await checkNode({
    programs: [vars.bin!, "/usr/bin/redis-cli"],
    user: vars.user!,
    unit: "redis-server.service",
  });
});
