/** `cluster state`: what every node hears, asked from each of them. */
import type { Cluster } from "../cluster/cluster.ts";
import type { HeartbeatState } from "./host.ts";
import { fetchFromNode } from "./node_client.ts";

const NODE_TIMEOUT_MS = 3000;

/** The state of the cluster as one node can tell it. */
export interface ClusterState {
  name: string;
  /** The node that was asked. */
  node: string;
  nodes: Record<string, { reachable: boolean; heartbeats: HeartbeatState | null }>;
}

/** Asks all nodes at once; one that does not answer in 3 s is not reachable. */
export async function clusterState(cluster: Cluster, own: HeartbeatState): Promise<ClusterState> {
  const entries = await Promise.all(
    Object.keys(cluster.nodes).map(async (node) => {
      if (node === cluster.node) return [node, { reachable: true, heartbeats: own }] as const;
      const answer = (await fetchFromNode(cluster, node, "/cluster/self", {
        timeoutMs: NODE_TIMEOUT_MS,
      })) as { heartbeats: HeartbeatState } | null;
      return [node, { reachable: answer !== null, heartbeats: answer?.heartbeats ?? null }] as const;
    }),
  );
  return { name: cluster.name, node: cluster.node, nodes: Object.fromEntries(entries) };
}
