/**
 * Where it is measured: directories on one and the same disk of one node, each behind another file system.
 */
import { chmodSync } from "node:fs";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import type { CommandOptions, Ended } from "../cluster/testbed.ts";
import { lengthenLink } from "./long_link.ts";
import { mountPeers, type Peers } from "./peers.ts";

/** A directory to measure in. */
export interface Place {
  name: string;
  directory: string;
  /** Runs a command on the node; throws with its output when it fails. */
  exec(argv: readonly string[], options?: CommandOptions): Promise<Ended>;
}

/** The places, and the nodes that they are on. */
export interface Places {
  /** The first is the one that the others are compared with. */
  all: Place[];
  /** What cannot be compared with here, and why. */
  missing: string[];
  /** Waits until nothing that was written before is still on its way to a disk. */
  settle(): Promise<void>;
  /** Ends everything. */
  close(): Promise<void>;
}

const DISK_MIB = 6144;
const worker = new URL("in_node.ts", import.meta.url).pathname;

/** The number that `in_node.ts` measures. */
export async function inNode(place: Place, ...args: string[]): Promise<number> {
  return Number((await place.exec([process.execPath, worker, ...args])).stdout);
}

/** What the nodes are made of. */
export interface Surroundings {
  /** Directories that the disks' images lie in, in turn. */
  images: readonly string[];
  /** Added to a round trip of the replication link, microseconds; null: a link without a relay. */
  delay: number | null;
  /** Compare with others too, where they are installed. */
  peers: boolean;
}

/** Two nodes with a module that replicates one directory, in sync; beside that directory, the others. */
export async function makePlaces({ images, delay, peers }: Surroundings): Promise<Places> {
  const mirror = await createMirror({ diskMiB: DISK_MIB, images });
  try {
    const link = delay === null ? null : await lengthenLink(mirror);
    const others = peers ? await mountPeers(mirror, delay === null) : { peers: [], missing: [] };
    const places = await fill(mirror, others);
    await link?.check(true);
    await link?.setDelay(delay!);
    return places;
  } catch (error) {
    await mirror.bed.destroy();
    throw error;
  }
}

async function fill(mirror: Mirror, { peers, missing }: Peers): Promise<Places> {
  const { n1, n2, bed } = mirror;
  await mirror.start();
  // The database's user must be able to come in.
  chmodSync(bed.dir, 0o711);
  const exec: Place["exec"] = (argv, options) => n1.exec(argv, options);
  const place = async (name: string, directory: string): Promise<Place> => {
    await exec(["mkdir", "-p", directory]);
    return { name, directory, exec };
  };
  const all = [await place("bare", `${n1.dataDir}/bare`), await place("replicated", `${mirror.data}/bench`)];
  for (const { name, directory } of peers) all.push(await place(name, directory));
  return {
    all,
    missing,
    settle: async () => {
      for (const { directory } of all) await exec(["sync", "-f", directory]);
      for (const node of [n1, n2]) await node.exec(["sync", "-f", node.varDir]);
    },
    close: () => bed.destroy(),
  };
}
