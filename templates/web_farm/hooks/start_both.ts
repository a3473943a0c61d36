/**
 * Starts {{title}} and returns when it accepts connections. One that runs already reads its configuration again.
 */
import { rmSync } from "node:fs";
import process from "node:process";
import { $, defineHook, log, waitFor } from "holdfast";
import { faultOf, masterOf } from "../lib/web_server.ts";

export default defineHook(async ({ vars }) => {
  const { bin, config, pid, port } = vars as Record<string, string>;
  const fault = await faultOf(vars);
  const master = masterOf(pid);
  if (master === null) {
    if (fault !== "") throw new Error(`{{title}} cannot start with its configuration: ${fault}`);
    // It would believe a pid that is somebody else's by now.
    rmSync(pid, { force: true });
    await $`{{start}}`;
  } else if (fault === "") {
    process.kill(master, "{{reload}}");
    log("{{title}} runs already: it reads its configuration again");
  } else log.warning(`{{title}} runs already, and goes on with the configuration that it has: ${fault}`);
  await waitFor.tcp(Number(port), { timeout: "1d" });
  // It may open its port before it writes that down, and who looks for its process would find none.
  await waitFor(() => masterOf(pid) !== null, {
    what: `{{title}} in ${pid}`,
    timeout: "1d",
    interval: "50ms",
  });
  log(`{{title}} accepts connections on port ${port}`);
});
