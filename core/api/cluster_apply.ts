/**
 * `cluster apply`: a new cluster.yaml for every node, or for none.
 *
 * First every node looks at it, and says no while nothing has changed; then each takes it; then each hears that all have it. Until it does, a node
 * goes by the more careful of the old heartbeat timeout and the new. A node that dies in between has the old one: the same command again, once it is
 * back, ends what was begun.
 */
import * as v from "valibot";
import { type Cluster, checkClusterChange } from "../cluster/cluster.ts";
import type { CommandResult, StatusDocument } from "../daemon/engine.ts";
import type { ApiHost } from "./host.ts";
import { callNode } from "./node_client.ts";

const NODE_TIMEOUT_MS = 10_000;
const MAX_CHARACTERS = 256 * 1024;

/** What a node is sent. `dryRun`: look at it only. */
export const yamlBody = v.strictObject({
  yaml: v.pipe(v.string(), v.maxLength(MAX_CHARACTERS)),
  dryRun: v.boolean(),
});

/** Every node has taken this text. */
export const settleBody = v.strictObject({ yaml: v.pipe(v.string(), v.maxLength(MAX_CHARACTERS)) });

/** This node's own part. */
type Taker = Pick<ApiHost, "takeClusterYaml" | "settleClusterYaml">;

/** Mirrors that are not known to stand still on every node. */
export function runningMirrors({ modules }: StatusDocument): string[] {
  return Object.entries(modules)
    .filter(([, { kind }]) => kind === "mirror")
    .filter(([, { nodes }]) => Object.values(nodes).some(({ state }) => state !== "STOP"))
    .map(([name]) => name);
}

/** Hands the text to every node. Throws ConfigError and ClusterError: then nothing changed. */
export async function applyClusterYaml(
  cluster: Cluster,
  status: StatusDocument,
  yaml: string,
  file: string,
  own: Taker,
): Promise<CommandResult> {
  checkClusterChange(cluster, yaml, runningMirrors(status), file);
  const peers = cluster.peers.map(({ name }) => name);
  /** The nodes that did not say yes, with what they said. */
  const refusing = async (path: string, body: object): Promise<[string, CommandResult][]> => {
    const options = { timeoutMs: NODE_TIMEOUT_MS };
    const answers = await Promise.all(
      peers.map(async (node) => [node, await callNode(cluster, node, "POST", path, body, options)] as const),
    );
    return answers.flatMap(([node, answer]) => (answer.status === 0 ? [] : [[node, answer]]));
  };
  const noes = await refusing("/cluster/yaml", { yaml, dryRun: true });
  if (noes.length > 0)
    return { status: 1, message: `nothing was changed, since every node must take it:\n${words(noes)}` };
  const failed = await refusing("/cluster/yaml", { yaml, dryRun: false });
  await own.takeClusterYaml(yaml);
  const nodes = Object.keys(cluster.nodes).filter((node) => failed.every(([other]) => other !== node));
  const force = `cluster.yaml is in force on ${nodes.join(", ")}`;
  if (failed.length > 0)
    return {
      status: 1,
      message: `${force}, but not everywhere: type the same command again\n${words(failed)}`,
      data: { nodes },
    };
  await own.settleClusterYaml(yaml);
  const deaf = await refusing("/cluster/settle", { yaml });
  if (deaf.length === 0) return { status: 0, message: force, data: { nodes } };
  return {
    status: 1,
    message: `${force}, and these may go by the more careful of the old heartbeat timeout and the new until they hear that all have it: type the same command again\n${words(deaf)}`,
    data: { nodes },
  };
}

function words(answers: readonly (readonly [string, CommandResult])[]): string {
  return answers
    .map(([node, { message }]) => (message.startsWith(node) ? message : `${node}: ${message}`))
    .join("\n");
}
