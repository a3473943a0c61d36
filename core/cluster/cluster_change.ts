/**
 * What may change in the cluster.yaml of a cluster that works: heartbeat and witness. A change goes to every node or to none; all else is refused with
 * what to do instead.
 *
 * Two nodes that ask two different witnesses are both told yes. So a change that takes a recording witness away, or puts another in its place,
 * waits until no mirror runs: what the old one has on record would be forgotten.
 */
import { join } from "node:path";
import type { Finding } from "../../modules/cross_checks.ts";
import { inOrder, readYaml } from "../../modules/yaml_document.ts";
import { recordsAnything } from "../witness/config.ts";
import { type ClusterConfig, type ClusterNode, ConfigError, parseClusterYaml } from "./cluster_yaml.ts";
import { ClusterError, clusterDirectory } from "./credential_files.ts";
import type { Cluster } from "./identity.ts";

/**
 * Returns what the text means. Throws ConfigError when it is wrong, or means more than may change, each with its place; ClusterError when this
 * change has to wait. `running`: mirrors that do not stand still.
 */
export function checkClusterChange(
  cluster: Cluster,
  yaml: string,
  running: readonly string[],
  file = "cluster.yaml",
): ClusterConfig {
  const next = parseClusterYaml(yaml, file);
  const refused = refusals(cluster, next);
  if (refused.length > 0) throw new ConfigError(inOrder(refused.map(readYaml(yaml, file).locate)));
  const isSame = JSON.stringify(next.witness) === JSON.stringify(cluster.witness);
  if (!isSame && recordsAnything(cluster.witness) && running.length > 0)
    throw new ClusterError(
      `${running.join(", ")} must be stopped first, on every node (holdfast stop NAME --all): what the present witness has on record would be forgotten while it counts`,
    );
  return next;
}

/** What a person does instead, on every node: the daemons read the file at their start, and must all have the same. */
const atRest = (directory: string): string =>
  `while a cluster works, only heartbeat and witness change. To change this, on every node: holdfast shutdown, stop the daemon, put this file at ${join(directory, "cluster.yaml")}, and start the daemons when all have it`;

function refusals(cluster: Cluster, next: ClusterConfig): Finding[] {
  const findings: Finding[] = [];
  const instead = atRest(clusterDirectory(cluster.varDir));
  const refuse = (path: Finding["path"], message: string, more = ""): number =>
    findings.push({ path, message: `${message}: ${instead}${more}` });
  if (next.name !== cluster.name)
    findings.push({
      path: ["name"],
      message: `this cluster is ${cluster.name}, not ${next.name}: it keeps its name for good, since its witness has its records under it; another name is another cluster`,
    });
  if (next.port !== cluster.port) refuse(["port"], `the port is ${cluster.port}, not ${next.port}`);
  for (const name of Object.keys(cluster.nodes))
    if (!Object.hasOwn(next.nodes, name))
      refuse(
        ["nodes"],
        `the node ${name} is missing`,
        `; ${name} stays off, or its ${clusterDirectory(cluster.varDir)} is moved away`,
      );
  for (const [name, node] of Object.entries(next.nodes)) {
    const known = Object.hasOwn(cluster.nodes, name) ? cluster.nodes[name] : undefined;
    if (known === undefined)
      refuse(
        ["nodes", name],
        `the cluster has no node ${name}`,
        `; then, on ${name}: holdfast cluster join TOKEN --as ${name}`,
      );
    else for (const [path, message] of moves(known, node)) refuse(["nodes", name, ...path], message);
  }
  return findings;
}

/** What of a node is not what it was. */
function moves(known: ClusterNode, node: ClusterNode): [string[], string][] {
  const { name } = known;
  const found: [string[], string][] = [];
  if (known.number !== node.number) found.push([[], `${name} is node number ${known.number}`]);
  const lans = new Set([...Object.keys(known.addresses), ...Object.keys(node.addresses)]);
  for (const lan of lans) {
    const [before, after] = [known.addresses[lan], node.addresses[lan]];
    if (before === undefined) found.push([["addresses", lan], `${name} has no address on ${lan}`]);
    else if (after === undefined) found.push([["addresses"], `${name} has an address on ${lan}`]);
    else if (before.address !== after.address || before.bind !== after.bind)
      found.push([["addresses", lan], `${name} is ${before.address} on ${lan}`]);
  }
  return found;
}
