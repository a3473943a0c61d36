/**
 * Does the guest run? With `agent: yes`, its own agent must answer too: a kernel that hangs still runs for libvirt.
 */
import { adopt, defineChecker } from "holdfast";
import { agentAnswers, lives, processOf, stateOf } from "../lib/guest.ts";

export default defineChecker(async ({ vars }) => {
  const found = await stateOf(vars).catch(async (error: Error) => {
    // libvirt may be restarted, or have died: the guest does not notice.
    if (await lives(vars)) return error;
    throw error;
  });
  if (found instanceof Error) return { state: "up", detail: `its process lives; ${found.message}` };
  if (found === null) return { state: "down", detail: `libvirt does not know ${vars.domain}` };
  const { state, reason } = found;
  if (state !== "running") return { state: "down", detail: `${vars.domain} is ${state} (${reason})` };
  // Somebody may have started it anew: it is another process now.
  adopt(await processOf(vars));
  if (vars.agent === "yes" && !(await agentAnswers(vars)))
    return { state: "down", detail: `the agent in ${vars.domain} does not answer` };
  return { state: "up", detail: "" };
});
