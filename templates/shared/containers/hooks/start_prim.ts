/**
 * Starts the containers, and returns when they run and are not known to be unhealthy.
 */
import { $, Command, defineHook, log, waitFor } from "holdfast";
import {
  adoptAll,
  type Container,
  containersOf,
  hasImage,
  labelOf,
  removeAll,
  trouble,
} from "../lib/containers.ts";

/** One container from `image`, or those of the compose file. */
async function create(module: string, vars: Record<string, string>): Promise<void> {
  const { engine, image, archive, compose, patience } = vars;
  if (compose) {
    await $`${engine} compose --project-name ${module} --file ${compose} up --detach --remove-orphans`;
    return;
  }
  if (archive && !(await hasImage(vars))) await $`${engine} load --input ${archive}`;
  // What an administrator writes as he would on a command line is taken as such.
  const [options, command] = [vars.options ?? "", vars.command ?? ""].map((words) => new Command(words));
  await $`${engine} run --detach --name ${module} --label ${labelOf(module)} --restart no --stop-timeout ${patience} ${options} ${image} ${command}`;
}

/** This module says where they run: nothing else may start them again. */
async function neverByItself(engine: string, containers: readonly Container[]): Promise<void> {
  const eager = containers.filter(({ restart }) => restart !== "no");
  if (eager.length === 0) return;
  const names = eager.map(({ name }) => name);
  log(`${engine} does not restart them by itself any more: ${names.join(", ")}`);
  if ((await $`${engine} update --restart no ${names}`.nothrow().quiet()).exitCode !== 0)
    throw new Error(
      `${engine} would restart ${names.join(", ")} by itself: take "restart" out of their options`,
    );
}

export default defineHook(async ({ module, vars }) => {
  const before = await containersOf(vars, module);
  if (trouble(before) === "") log("the containers run already");
  else {
    await removeAll(vars, before);
    await create(module, vars);
  }
  let containers = await containersOf(vars, module);
  adoptAll(containers);
  await neverByItself(vars.engine!, containers);
  for (const { name, volumes } of containers)
    for (const volume of volumes)
      log.warning(
        `${name} keeps ${volume} in a volume of ${vars.engine}: it is not replicated, and stays behind at a failover. Mount a replicated directory there`,
      );
  // timeouts.start bounds it.
  const known = async () => {
    containers = await containersOf(vars, module);
    return trouble(containers) !== "" || containers.every(({ health }) => health !== "starting");
  };
  await waitFor(known, { what: "the containers' health checks", timeout: "1d", interval: "500ms" });
  const why = trouble(containers);
  if (why === "") return log(`${containers.map(({ name }) => name).join(", ")}: running`);
  for (const { id } of containers) await $`${vars.engine} logs --tail 15 ${id} 2>&1`.nothrow();
  throw new Error(why);
});
