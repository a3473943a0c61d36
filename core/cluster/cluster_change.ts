/**
 * What may change in the cluster.yaml of a cluster that works: this version changes the witness, and nothing else.
 *
 * Two nodes that ask two different witnesses are both told yes. So a change goes to every node or to none, and one that takes a recording witness away, or puts
 * another in its place, waits until no mirror runs: what the old one has on record would be forgotten.
 */

import { formatDuration } from "../../modules/units.ts";
import { recordsAnything } from "../witness/config.ts";
import { type ClusterConfig, parseClusterYaml } from "./cluster_yaml.ts";
import { ClusterError } from "./credential_files.ts";
import type { Cluster } from "./identity.ts";

/** Throws ClusterError when this change is refused, ConfigError when the text is wrong. `running`: mirror modules that do not stand still. Returns what is meant. */
export function checkClusterChange(
  cluster: Cluster,
  yaml: string,
  running: readonly string[],
  file = "cluster.yaml",
): ClusterConfig {
  const next = parseClusterYaml(yaml, file);
  const { timeoutMs } = cluster.heartbeat;
  if (next.heartbeat.timeoutMs !== timeoutMs)
    throw new ClusterError(
      `${file}: the heartbeat timeout would change from ${formatDuration(timeoutMs)} to ${formatDuration(next.heartbeat.timeoutMs)} (without a word about it, it depends on the witness), and this version changes the witness only: write heartbeat: { timeout: ${formatDuration(timeoutMs)} }`,
    );
  const rest = ({ name, nodes, port, heartbeat }: ClusterConfig): string =>
    JSON.stringify({ name, nodes, port, heartbeat });
  if (rest(next) !== rest(cluster))
    throw new ClusterError(
      `${file} changes more than the witness (its name, nodes, addresses, port or heartbeat): this version does not apply that to a cluster that works`,
    );
  const isSame = JSON.stringify(next.witness) === JSON.stringify(cluster.witness);
  if (!isSame && recordsAnything(cluster.witness) && running.length > 0)
    throw new ClusterError(
      `${running.join(", ")} must be stopped first, on every node (holdfast stop NAME --all): what the present witness has on record would be forgotten while it counts`,
    );
  return next;
}
