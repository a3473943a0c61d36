/**
 * What may change in the cluster.yaml of a cluster that works: this version changes the witness, and nothing else.
 *
 * Two nodes that ask two different witnesses are both told yes. So a change goes to every node or to none, and one that takes a recording witness away, or puts
 * another in its place, waits until no mirror runs: what the old one has on record would be forgotten.
 */

import { formatDuration } from "../../modules/units.ts";
import { recordsAnything } from "../witness/config.ts";
import { type ClusterConfig, ConfigError, parseClusterYaml } from "./cluster_yaml.ts";
import { ClusterError } from "./credential_files.ts";
import type { Cluster } from "./identity.ts";

/**
 * Returns what the text means. Throws ConfigError when it is wrong, or means more than may change; ClusterError when this change has to wait. `running`: mirrors
 * that do not stand still.
 */
export function checkClusterChange(
  cluster: Cluster,
  yaml: string,
  running: readonly string[],
  file = "cluster.yaml",
): ClusterConfig {
  const next = parseClusterYaml(yaml, file);
  const { timeoutMs } = cluster.heartbeat;
  const refusal = (path: string, message: string): ConfigError =>
    new ConfigError([{ file, line: 1, column: 1, path, message }]);
  if (next.heartbeat.timeoutMs !== timeoutMs)
    throw refusal(
      "heartbeat",
      `the timeout would change from ${formatDuration(timeoutMs)} to ${formatDuration(next.heartbeat.timeoutMs)} (without a word about it, it depends on the witness), and this version changes the witness only: write heartbeat: { timeout: ${formatDuration(timeoutMs)} }`,
    );
  const rest = ({ name, nodes, port, heartbeat }: ClusterConfig): string =>
    JSON.stringify({ name, nodes, port, heartbeat });
  if (rest(next) !== rest(cluster))
    throw refusal(
      "",
      `more than the witness is changed (name, nodes, addresses, port or heartbeat): this version does not apply that to a cluster that works`,
    );
  const isSame = JSON.stringify(next.witness) === JSON.stringify(cluster.witness);
  if (!isSame && recordsAnything(cluster.witness) && running.length > 0)
    throw new ClusterError(
      `${running.join(", ")} must be stopped first, on every node (holdfast stop NAME --all): what the present witness has on record would be forgotten while it counts`,
    );
  return next;
}
