/**
 * Whether this node could run the containers, before it has to; and nothing of them may run here yet.
 */
import { $, defineHook, log, retry } from "holdfast";
import { containersOf, hasImage, removeAll } from "../lib/containers.ts";

export default defineHook(async ({ module, vars }) => {
  const { engine, image, archive, compose } = vars;
  // At boot it may come up after us.
  await retry(() => $`${engine} ps --quiet`.quiet(), { attempts: 30, delay: "1s" });
  const left = await containersOf(vars, module);
  if (left.length > 0)
    log.warning("containers were left over from when this node was cut off or lost its power");
  await removeAll(vars, left);
  if (compose || archive || (await hasImage(vars))) return;
  log(`this node does not have ${image}: pulling it`);
  if ((await $`${engine} pull ${image}`.nothrow().quiet()).exitCode !== 0)
    log.warning(
      `${image} cannot be pulled: without it this node cannot take over. ${engine} load brings it too`,
    );
});
