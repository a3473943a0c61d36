/** The door of core/cluster: who belongs to the cluster, and how its members recognise each other. */
export type { Beat, ModuleView } from "./beat.ts";
export { checkClusterChange } from "./cluster_change.ts";
export {
  type ClusterConfig,
  type ClusterNode,
  ConfigError,
  DEFAULT_PORT,
  type LanAddress,
  parseClusterYaml,
} from "./cluster_yaml.ts";
export { withWitness } from "./cluster_yaml_edit.ts";
export { ClusterError, clusterDirectory, JoinRefused } from "./credential_files.ts";
export { forgetFormerTimeouts } from "./former_timeouts.ts";
export {
  type HeartbeatCounters,
  type HeartbeatListener,
  HeartbeatSockets,
  heartbeatPort,
  type SignOfLife,
} from "./heartbeat_socket.ts";
export { type Cluster, createCluster, loadCluster, nodeOf, replaceClusterYaml } from "./identity.ts";
export { parseToken, TOKEN_LIFE_MS } from "./join_token.ts";
export { AUTHORITY_PATH, admitNode, createToken, JOIN_PATH, joinCluster } from "./joining.ts";
export type { ClusterKeys } from "./membership_keys.ts";
export { type Caller, type NodeServer, serveNodes } from "./node_server.ts";
export { callByToken } from "./token_call.ts";
