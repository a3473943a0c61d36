/** What a module's replication process is told: where the copies lie, whom it listens to, whom it dials, and with which key. */
import { join } from "node:path";
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { MirrorConfig } from "../../../modules/schema.ts";
import type { Cluster, ClusterNode } from "../../cluster/cluster.ts";
import type { ReplicationConfig } from "../../filesystem/control.ts";

/** What it follows from. */
export interface ReplicationPlace {
  varDir: string;
  cluster: Cluster;
  definition: ModuleDefinition;
  /** The module's place in the cluster: its port follows from it. */
  number: number;
  /** The other nodes of the module. */
  peers: readonly ClusterNode[];
}

/** What a module replicates, or null. */
export function replicationOf({ config }: ModuleDefinition): MirrorConfig["replicate"] | null {
  return config.kind === "mirror" ? (config.replicate ?? null) : null;
}

/** The configuration of this module's replication process. Throws when the module replicates nothing. */
export function replicationConfig(place: ReplicationPlace): ReplicationConfig {
  const { cluster, definition, number, peers, varDir } = place;
  const { config } = definition;
  const replicate = replicationOf(definition);
  if (!replicate) throw new Error(`${definition.name} replicates nothing`);
  const port = cluster.port + 1 + number;
  const lans = replicate.lans ?? cluster.lans;
  const reach = (
    node: ClusterNode | undefined,
    side: "address" | "bind",
  ): { address: string; port: number }[] =>
    lans.flatMap((lan) => {
      const at = node?.addresses[lan];
      return at ? [{ address: at[side], port }] : [];
    });
  const pair = config.nodes ?? Object.keys(cluster.nodes);
  return {
    module: definition.name,
    nodeNumber: pair.indexOf(cluster.node) === 0 ? 1 : 2,
    stateDir: join(varDir, "state", definition.name),
    savedDir: join(varDir, "saved", definition.name),
    paths: replicate.paths,
    durability: replicate.durability,
    close: replicate.close,
    timeoutMs: replicate.timeout,
    bandwidth: replicate.bandwidth,
    listen: reach(cluster.nodes[cluster.node], "bind"),
    dial: reach(peers[0], "address"),
    key: cluster.keys.replicationKey(definition.name),
  };
}
