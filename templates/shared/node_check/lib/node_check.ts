/**
 * What must be so on every node that may have to run the application: it is found out when the module starts there, rather than in the
 * middle of a failover.
 */
import { existsSync } from "node:fs";
import { $, log } from "holdfast";

/** Throws when a program or the user is missing. The distribution's own service (a systemd unit) must neither run it too nor start it at boot. */
export async function checkNode(needed: {
  programs: readonly string[];
  user?: string;
  unit: string;
}): Promise<void> {
  const { programs, user, unit } = needed;
  for (const program of programs)
    if (!existsSync(program))
      throw new Error(`${program} is not on this node: install it, or fit vars in module.yaml`);
  if (user !== undefined && (await $`id -u ${user}`.nothrow().quiet()).exitCode !== 0)
    throw new Error(`this node has no user ${user}: make it, or fit vars in module.yaml`);
  if ((await $`test -d /run/systemd/system`.nothrow()).exitCode !== 0) return;
  const says = async (question: string) => (await $`systemctl ${question} ${unit}`.nothrow().text()).trim();
  if ((await says("is-enabled")) === "enabled") {
    await $`systemctl disable ${unit}`;
    log(`${unit} is no longer started at boot: this module starts it, where and when it should run`);
  }
  if ((await says("is-active")) === "active")
    throw new Error(
      `${unit} runs on this node, beside this module: systemctl stop ${unit}, then start the module again`,
    );
}
