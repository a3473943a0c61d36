/**
 * Shuts the guest down, as its power button does, and takes its definition away from this node. Forced, its plug is pulled.
 */
import { defineHook, log, waitFor } from "holdfast";
import { destroy, exists, shutDown, stateOf, undefine } from "../lib/guest.ts";

/** States in which a guest does not see its power button. */
const DEAF = ["paused", "crashed", "pmsuspended"];

export default defineHook(async ({ vars, force }) => {
  const found = await stateOf(vars);
  if (found === null) return log(`${vars.domain} is not known here`);
  const { state, reason } = found;
  if (force || DEAF.includes(state)) {
    if (!force) log.warning(`${vars.domain} is ${state} (${reason}): it cannot be shut down`);
    if (exists(state)) await destroy(vars);
  } else if (exists(state)) {
    await shutDown(vars);
    const ended = async () => !exists((await stateOf(vars))?.state ?? "shut off");
    await waitFor(ended, { what: `${vars.domain} to shut down`, timeout: vars.shutdown!, interval: "500ms" });
  }
  await undefine(vars);
});
