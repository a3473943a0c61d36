/**
 * Whether this node could run {{title}}, before it has to: a configuration with a fault is told now.
 */
import { defineHook } from "holdfast";
import { checkNode } from "../lib/node_check.ts";
import { faultOf } from "../lib/web_server.ts";

export default defineHook(async ({ vars }) => {
  await checkNode({ programs: [vars.bin!], unit: "{{program}}.service" });
  const fault = await faultOf(vars);
  if (fault !== "") throw new Error(`{{title}} cannot start with its configuration: ${fault}`);
});
