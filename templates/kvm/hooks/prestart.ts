/**
 * Whether this node could run the guest, before it has to; and it may not run here yet.
 */
import { defineHook, log, retry } from "holdfast";
import { answers, destroy, exists, isOurs, stateOf, undefine } from "../lib/guest.ts";

export default defineHook(async ({ module, vars }) => {
  // At boot, libvirt may come up after us.
  await retry(answers, { attempts: 30, delay: "1s" });
  const left = await stateOf(vars);
  if (left === null) return;
  if (await isOurs(vars, module)) {
    log.warning(`${vars.domain} was left over from when this node was cut off or lost its power`);
    if (exists(left.state)) await destroy(vars);
    await undefine(vars);
  } else if (exists(left.state))
    throw new Error(
      `${vars.domain} runs on this node, and it was not this module that started it: shut it down, then start the module again`,
    );
  else
    log(
      `${vars.domain} is defined on this node, but not by this module: left as it is until the module starts it here`,
    );
});
