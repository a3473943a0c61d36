/**
 * Do all containers run, and is none of them unhealthy by its own check?
 */
import { defineChecker } from "holdfast";
import { adoptAll, containersOf, trouble } from "../lib/containers.ts";

export default defineChecker(async ({ module, vars }) => {
  const containers = await containersOf(vars, module);
  // An administrator may have restarted one: it is another process now.
  adoptAll(containers);
  const detail = trouble(containers);
  return { state: detail === "" ? "up" : "down", detail };
});
