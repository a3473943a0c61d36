/**
 * Stops the containers and removes them: only the node that has the role knows them. Forced, they are killed.
 */
import { $, defineHook, log } from "holdfast";
import { containersOf, removeAll, runs } from "../lib/containers.ts";

export default defineHook(async ({ module, vars, force }) => {
  const { engine, compose, patience } = vars;
  const containers = await containersOf(vars, module);
  if (containers.length === 0) return log("there is no container");
  // In the order that the compose file asks for.
  if (compose && !force)
    await $`${engine} compose --project-name ${module} --file ${compose} stop --timeout ${patience}`;
  const running = containers.filter(runs).map(({ id }) => id);
  if (running.length > 0 && !force) await $`${engine} stop --time ${patience} ${running}`.quiet();
  await removeAll(vars, containers);
});
