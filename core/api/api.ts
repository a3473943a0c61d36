/** The door of core/api: the node over HTTP, and the two ways to call it. */
export type { ClusterState } from "./cluster_state.ts";
export type { Api, ApiCaller, ApiHost, HeartbeatState } from "./host.ts";
export {
  type ApiAnswer,
  ApiRefusal,
  DaemonUnreachable,
  type LocalApi,
  localApi,
  type Target,
} from "./local_client.ts";
export { type CallOptions, callNode, fetchFromNode } from "./node_client.ts";
export { resultSchema } from "./result.ts";
export { createApi } from "./routes.ts";
export { apiSocket, serveLocal, serveMembers } from "./servers.ts";
