/**
 * What a node has once, and every module on it works with: its directory, its cluster, its guardian, its network, its secrets.
 */
import type { StatusOf } from "../checks/probes/probes.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { VirtualIp } from "../network/virtual_ip.ts";
import type { GuardianLink, Welcome } from "./guardian/link.ts";
import type { NodeSecrets } from "./secrets/node_secrets.ts";
import type { WitnessDesk } from "./witness_desk.ts";

/** See the top of the file. */
export interface NodeParts {
  varDir: string;
  cluster: Cluster;
  guardian: GuardianLink;
  /** What the guardian had kept when this daemon came. */
  welcome: Welcome;
  /** This start of the daemon, hex. */
  incarnation: string;
  network: VirtualIp;
  /** Tell the peers soon. */
  publish(): void;
  /** Nodes whose heartbeats are heard now. */
  heard(): ReadonlySet<string>;
  /** How a module is, by node; null where this node has no such module. */
  statusOf: StatusOf;
  secrets: Pick<NodeSecrets, "lack" | "values">;
  witness: Pick<WitnessDesk, "ask" | "release">;
}
