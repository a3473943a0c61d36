/**
 * A node of the testbed with system directories of its own: what a system daemon (dockerd, libvirtd) keeps there is on the node's disk, where a
 * power cut finds it, and the machine that runs the tests never sees it.
 */
import type { Node } from "./testbed.ts";
import { cgroupMount } from "./testbed_machine.ts";

const V2 = "/sys/fs/cgroup";

/** Covers directories (`/etc`, `/var/lib`) and cgroups of the node, which must be on and without a daemon. */
export async function ownSystem(node: Node, directories: readonly string[]): Promise<void> {
  const lines = directories.flatMap((directory) => {
    const own = `${node.bed.diskDir}/system${directory}`;
    return [
      `mkdir -p ${own}/upper ${own}/work`,
      `mount -t overlay overlay -o lowerdir=${directory},upperdir=${own}/upper,workdir=${own}/work ${directory}`,
    ];
  });
  const mount = cgroupMount();
  // Beside hierarchies of version 1, engines would use those, which are not the node's own.
  if (mount !== null && mount !== V2)
    lines.push(
      `while umount -l ${V2} 2>/dev/null; do :; done`,
      `mount -t cgroup2 cgroup2 ${V2}`,
      // Where the testbed looks for it: now a cgroup of that name.
      `mkdir -p ${mount}`,
    );
  await node.exec(["sh", "-ec", lines.join("\n")]);
}
