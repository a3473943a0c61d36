/**
 * Are both replicas the same on the disks, underneath the mounts? Our own comparison, which trusts nothing of the product, and then the
 * product's.
 */
import { differences, treeOf } from "../cluster/life_tree.ts";
import type { Mirror } from "../cluster/mirror.ts";
import type { Node } from "../cluster/testbed.ts";
import { verifyEqual } from "./power_cuts.ts";

/** Where a machine shows its disk without what is mounted on it. */
const UNDERNEATH = "/run/underneath";
/** Pages that nobody synced follow within a second; the last removals may be on their way. */
const TRIES = 5;

async function underneath(node: Node, directory: string): Promise<Map<string, string>> {
  const disk = node.bed.diskDir;
  await node.exec(["bash", "-ec", `mkdir -p ${UNDERNEATH}; mount --bind ${disk} ${UNDERNEATH}`]);
  try {
    return await treeOf(node, directory.replace(disk, UNDERNEATH));
  } finally {
    // Lazily: what still reads there, after one of several readers failed, must not hide why.
    await node.exec(["umount", "-l", UNDERNEATH]);
  }
}

/** Throws with the first differences. Nothing may write meanwhile. Returns what was compared, in words. */
export async function backingTreesEqual(mirror: Mirror, prim: Node): Promise<string> {
  let different: string[] = [];
  for (let tries = 1; tries <= TRIES; tries++) {
    const [first, second] = await Promise.all(
      [mirror.n1, mirror.n2].map((node) => underneath(node, mirror.data)),
    );
    different = differences(first!, second!);
    if (different.length === 0)
      return `${first!.size} names, equal on both disks; ${await verifyEqual(prim)}`;
    await Bun.sleep(1000);
  }
  throw new Error(`${different.length} names differ on the disks:\n${different.slice(0, 20).join("\n")}`);
}
