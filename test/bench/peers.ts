/**
 * What others make of the same disks: bindfs, which passes everything on and replicates nothing, and GlusterFS with two replicas, where they are installed.
 *
 * Nothing of GlusterFS is left: its daemons run on the nodes, its state lies in their memory, and both end with them.
 */
import { existsSync } from "node:fs";
import type { Mirror } from "../cluster/mirror.ts";
import { type Node, until } from "../cluster/testbed.ts";

/** A directory behind another file system. */
interface Peer {
  name: string;
  directory: string;
}

/** What there is to compare with. */
export interface Peers {
  peers: Peer[];
  /** What cannot be compared with here, and why. */
  missing: string[];
}

/** Mounts bindfs on n1. */
async function mountBindfs({ n1 }: Mirror): Promise<Peer> {
  const directory = `${n1.dataDir}/bindfs`;
  await n1.exec(["mkdir", "-p", directory, `${n1.dataDir}/behind-bindfs`]);
  await n1.exec(["bindfs", `${n1.dataDir}/behind-bindfs`, directory]);
  return { name: "bindfs", directory };
}

/** Runs one command of GlusterFS's, which asks nothing then. */
const gluster = (node: Node, ...args: string[]) => node.exec(["gluster", "--mode=script", ...args]);

/** A volume with a brick on each node's disk, mounted on n1. */
async function mountGluster({ n1, n2, bed }: Mirror): Promise<Peer> {
  for (const node of [n1, n2]) {
    // The nodes share this machine's files: what is of one node must not be seen by the other.
    const own = ["/var/lib/glusterd", "/var/log/glusterfs"].map((path) => `mount -t tmpfs tmpfs ${path}`);
    await node.exec(["bash", "-ec", [...own, "mkdir -p /run/gluster"].join("; ")]);
    await node.spawn(["glusterd", "--no-daemon"], { log: `${bed.dir}/${node.name}.glusterd.log` });
    await until(
      `glusterd of ${node.name} answers`,
      async () => (await node.exec(["gluster", "pool", "list"], { mayFail: true })).status === 0,
      30_000,
      200,
    );
  }
  const address = (node: Node): string => node.addresses["repl"]!;
  const brick = (node: Node): string => `${address(node)}:${node.dataDir}/behind-gluster`;
  await gluster(n1, "peer", "probe", address(n2));
  await until(
    "the peers know each other",
    async () => (await gluster(n1, "peer", "status")).stdout.includes("Peer in Cluster (Connected)"),
    30_000,
    200,
  );
  await gluster(n1, "volume", "create", "bench", "replica", "2", brick(n1), brick(n2), "force");
  await gluster(n1, "volume", "start", "bench");
  const directory = `${n1.dataDir}/gluster`;
  await n1.exec(["mkdir", "-p", directory]);
  await n1.exec(["mount", "-t", "glusterfs", `${address(n1)}:/bench`, directory]);
  return { name: "GlusterFS", directory };
}

/** Mounts all that is installed. `direct`: the nodes' link is not through a relay, which only ours passes. */
export async function mountPeers(mirror: Mirror, direct: boolean): Promise<Peers> {
  const peers: Peer[] = [];
  const missing: string[] = [];
  if (existsSync("/usr/bin/bindfs")) peers.push(await mountBindfs(mirror));
  else missing.push("bindfs: not installed (Debian: apt install bindfs)");
  if (!direct) missing.push("GlusterFS: the delayed link is Holdfast's only");
  else if (existsSync("/usr/sbin/glusterd")) peers.push(await mountGluster(mirror));
  else
    missing.push("GlusterFS: not installed (Debian: apt install --no-install-recommends glusterfs-server)");
  return { peers, missing };
}
