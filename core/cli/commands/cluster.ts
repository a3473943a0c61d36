/**
 * Commands that make a cluster out of nodes.
 *
 * Creating and joining work with or without a running daemon: through it when it answers, so that it takes the news at
 * once, else on the node's files.
 */
import { existsSync, readFileSync } from "node:fs";
import { durationText } from "../../../modules/units.ts";
import type { ClusterState } from "../../api/api.ts";
import {
  type Cluster,
  createCluster,
  createToken,
  joinCluster,
  loadCluster,
  parseClusterYaml,
  parseToken,
} from "../../cluster/cluster.ts";
import type { CommandResult } from "../../daemon/engine.ts";
import { witnessText } from "../../witness/promise.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { fetchDocument, request, requestIfReachable } from "../node.ts";
import { columns, type Output } from "../output.ts";

const AS = { as: { value: "NODE", help: "which of the nodes of cluster.yaml this machine is" } };

function ownName(values: Invocation["values"]): string {
  const name = values["as"];
  if (name === undefined)
    throw new CommandError(EXIT.usage, "--as is missing: the name of this node in cluster.yaml");
  return name;
}

/** The text of a file, or of standard input (-). Throws CommandError. */
export function readText(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = { ENOENT: "is not there", EISDIR: "is a directory" }[code ?? ""];
    throw new CommandError(EXIT.usage, `${file} ${why ?? `cannot be read: ${message}`}`);
  }
}

/** Says what came of it; `next` is what the user does now. */
function tell(output: Output, result: CommandResult, next: string): ExitStatus {
  if (result.status === EXIT.done) output.say(`${result.message}. ${next}`);
  else output.note(`holdfast: ${result.message}`);
  output.give(result);
  return result.status;
}

/** The result of a change made on the node's files, in the daemon's words. */
function made(what: string, { name, node, fingerprint }: Cluster): CommandResult {
  return {
    status: EXIT.done,
    message: `${what} cluster ${name}: this node is ${node}`,
    data: { cluster: name, node, fingerprint },
  };
}

const START_IT = "Start the daemon: holdfast service install (in the foreground: holdfast daemon)";

async function create({ arguments: { FILE }, values, varDir, output }: Invocation): Promise<ExitStatus> {
  const node = ownName(values);
  const yaml = readText(FILE!);
  const { nodes } = parseClusterYaml(yaml, FILE!);
  if (!Object.hasOwn(nodes, node))
    throw new CommandError(
      EXIT.usage,
      `--as: ${FILE} has no node ${node} (nodes: ${Object.keys(nodes).join(", ")})`,
    );
  const answered = await requestIfReachable(varDir, "POST", "/cluster/create", { yaml, node, file: FILE! });
  const result = answered ?? made("created", await createCluster(varDir, yaml, node, FILE!));
  const others = Object.keys(nodes).filter((name) => name !== node);
  // A token is given by a daemon that runs.
  const next =
    others.length === 0
      ? "Then a module: holdfast module templates"
      : `Then, for each of ${others.join(", ")}: holdfast cluster token`;
  return tell(output, result, `${answered ? "" : `${START_IT}. `}${next}`);
}

async function join({ arguments: { TOKEN }, values, varDir, output }: Invocation): Promise<ExitStatus> {
  const node = ownName(values);
  const token = TOKEN === "-" || existsSync(TOKEN!) ? readText(TOKEN!).trim() : TOKEN!;
  try {
    parseToken(token);
  } catch (error) {
    throw new CommandError(EXIT.usage, (error as Error).message);
  }
  const work = async (): Promise<[CommandResult, string]> => {
    const answered = await requestIfReachable(varDir, "POST", "/cluster/join", { token, node });
    if (answered) return [answered, "holdfast status shows its modules"];
    return [made("joined", await joinCluster(varDir, token, node)), START_IT];
  };
  const [result, next] = await output.progress("joining", work());
  return tell(output, result, next);
}

/** The cluster of this node. Throws CommandError when it belongs to none. */
export function ownCluster(varDir: string): Cluster {
  const cluster = loadCluster(varDir);
  if (cluster) return cluster;
  throw new CommandError(
    EXIT.usage,
    `this node (${varDir}) belongs to no cluster: holdfast cluster create makes one, holdfast cluster join enters one`,
  );
}

function makeToken({ varDir, output }: Invocation): ExitStatus {
  const cluster = ownCluster(varDir);
  const made = createToken(cluster);
  const others = cluster.peers.map(({ name }) => name);
  const expires = new Date(made.expires).toISOString();
  output.say(made.token);
  if (!output.json)
    output.note(
      `For one node, until ${expires}. There: holdfast cluster join TOKEN --as ${others.length === 1 ? others[0] : `NODE (${others.join(", ")})`}`,
    );
  output.give({ status: EXIT.done, token: made.token, expires });
  return EXIT.done;
}

function show({ varDir, output }: Invocation): ExitStatus {
  const { name, node, nodes, lans, port, heartbeat, witness, fingerprint } = ownCluster(varDir);
  const rows = Object.entries(nodes).map(([other, { addresses }]) => [
    other === node ? `${other} (this node)` : other,
    Object.entries(addresses)
      .map(([lan, { address }]) => `${lan} ${address}`)
      .join(", "),
  ]);
  output.say(
    `cluster ${name}, port ${port}\nheartbeat: every ${durationText(heartbeat.intervalMs)}, silent after ${durationText(heartbeat.timeoutMs)}\nwitness: ${witnessText(witness)}\n\n${columns([["NODE", "ADDRESSES"], ...rows])}`,
  );
  output.give({ version: 1, name, node, nodes, lans, port, heartbeat, witness, fingerprint });
  return EXIT.done;
}

function stateText(found: ClusterState, output: Output): string {
  const rows = Object.entries(found.nodes).map(([node, { reachable, heartbeats }]) => {
    if (!reachable) return [node, output.paint("red", "no answer")];
    const heard = Object.entries(heartbeats?.hears ?? {}).map(
      ([lan, peers]) => `${lan}: ${peers.join(", ") || output.paint("red", "nobody")}`,
    );
    const troubles = Object.entries(heartbeats?.troubles ?? {}).map(([lan, why]) =>
      output.paint("red", `${lan}: ${why}`),
    );
    return [
      node === found.node ? `${node} (this node)` : node,
      output.paint("green", "answers"),
      [...heard, ...troubles].join("; "),
    ];
  });
  return `cluster ${found.name}\n\n${columns([["NODE", "DAEMON", "HEARS"], ...rows])}`;
}

const isWhole = ({ nodes }: ClusterState): boolean =>
  Object.values(nodes).every(({ reachable }) => reachable);

async function state(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, target, output } = invocation;
  ownCluster(varDir);
  if (target.all) return await stateByAll(invocation);
  const found = (await output.progress(
    "asking every node",
    fetchDocument({ varDir, target }, "/cluster/state"),
  )) as ClusterState;
  output.say(stateText(found, output));
  output.give({ version: 1, ...found });
  return isWhole(found) ? EXIT.done : EXIT.no;
}

/** As each node finds it. */
async function stateByAll(invocation: Invocation): Promise<ExitStatus> {
  const { output } = invocation;
  const asking = request(invocation, "GET", "/cluster/state");
  const result = await output.progress("asking every node", asking);
  const answers = Object.entries(result.data as Record<string, CommandResult>);
  const texts = answers.map(([node, { status, message, data }]) =>
    status === EXIT.done
      ? stateText(data as ClusterState, output)
      : `${node}: ${output.paint("red", message)}`,
  );
  const isGood = answers.every(({ 1: one }) => one.status === EXIT.done && isWhole(one.data as ClusterState));
  const status = isGood ? EXIT.done : EXIT.no;
  output.say(texts.join("\n\n"));
  output.give({ ...result, status });
  return status;
}

/** See the top of the file. */
export const CLUSTER_COMMANDS: readonly Command[] = [
  {
    name: "cluster create",
    summary: "Make a cluster, with this machine as its first node",
    arguments: [{ name: "FILE", help: "cluster.yaml: name, nodes, addresses; - is standard input" }],
    options: AS,
    changes:
      "Makes VAR/cluster: the configuration, the cluster's authority and keys, this node's certificate.",
    examples: ["holdfast cluster create cluster.yaml --as n1"],
    run: create,
  },
  {
    name: "cluster token",
    summary: "Print a token with which one node may join",
    changes:
      "Remembers the token on this node until it is used or expires. It carries this node's addresses and the authority's fingerprint.",
    examples: ["holdfast cluster token", "holdfast cluster token > token"],
    run: makeToken,
  },
  {
    name: "cluster join",
    summary: "Make this machine a node of a cluster",
    arguments: [
      {
        name: "TOKEN",
        help: "what holdfast cluster token printed on a member; or a file that holds it; - is standard input",
      },
    ],
    options: AS,
    changes:
      "Makes VAR/cluster, with a certificate of its own for this node. The token is used up. The member that made it must be running.",
    examples: ["holdfast cluster join hf1.abc --as n2", "holdfast cluster join - --as n2 < token"],
    run: join,
  },
  {
    name: "cluster show",
    summary: "Show the cluster's configuration",
    changes: "Nothing.",
    examples: ["holdfast cluster show"],
    run: show,
  },
  {
    name: "cluster state",
    summary: "Ask every node whether it answers, and whom it hears",
    changes: "Nothing. Exit status 4 when a node does not answer.",
    examples: ["holdfast cluster state", "holdfast cluster state --all"],
    remote: true,
    run: state,
  },
];
