/**
 * `cluster apply`: a new cluster.yaml for every node, or for none.
 *
 * First every node looks at it, and says no while nothing has changed; then each takes it. A node that dies in between has the old one: the same command again,
 * once it is back, ends what was begun.
 */
import * as v from "valibot";
import { type Cluster, checkClusterChange } from "../cluster/cluster.ts";
import type { CommandResult, StatusDocument } from "../daemon/engine.ts";
import { callNode } from "./node_client.ts";

const NODE_TIMEOUT_MS = 10_000;
const MAX_CHARACTERS = 256 * 1024;

/** What a node is sent. `dryRun`: look at it only. */
export const yamlBody = v.strictObject({
  yaml: v.pipe(v.string(), v.maxLength(MAX_CHARACTERS)),
  dryRun: v.boolean(),
});

/** Mirrors that are not known to stand still on every node. */
export function runningMirrors({ modules }: StatusDocument): string[] {
  return Object.entries(modules)
    .filter(([, { kind }]) => kind === "mirror")
    .filter(([, { nodes }]) => Object.values(nodes).some(({ state }) => state !== "STOP"))
    .map(([name]) => name);
}

/** Hands the text to every node. `take` is this node's own taking. Throws ConfigError and ClusterError: then nothing changed. */
export async function applyClusterYaml(
  cluster: Cluster,
  status: StatusDocument,
  yaml: string,
  file: string,
  take: (yaml: string) => Promise<void>,
): Promise<CommandResult> {
  checkClusterChange(cluster, yaml, runningMirrors(status), file);
  const peers = cluster.peers.map(({ name }) => name);
  const send = async (dryRun: boolean): Promise<[string, CommandResult][]> =>
    await Promise.all(
      peers.map(
        async (node): Promise<[string, CommandResult]> => [
          node,
          await callNode(
            cluster,
            node,
            "POST",
            "/cluster/yaml",
            { yaml, dryRun },
            { timeoutMs: NODE_TIMEOUT_MS },
          ),
        ],
      ),
    );
  const words = (answers: readonly (readonly [string, CommandResult])[]): string =>
    answers
      .map(([node, { message }]) => (message.startsWith(node) ? message : `${node}: ${message}`))
      .join("\n");
  const noes = (await send(true)).filter(([, { status: code }]) => code !== 0);
  if (noes.length > 0)
    return { status: 1, message: `nothing was changed, since every node must take it:\n${words(noes)}` };
  const failed = (await send(false)).filter(([, { status: code }]) => code !== 0);
  await take(yaml);
  const nodes = Object.keys(cluster.nodes).filter((node) => failed.every(([other]) => other !== node));
  if (failed.length === 0)
    return { status: 0, message: `cluster.yaml is in force on ${nodes.join(", ")}`, data: { nodes } };
  return {
    status: 1,
    message: `cluster.yaml is in force on ${nodes.join(", ")}, but not everywhere: type the same command again\n${words(failed)}`,
    data: { nodes },
  };
}
