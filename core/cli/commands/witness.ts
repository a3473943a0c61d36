/**
 * Commands about witnesses: to be one, and to have one.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";
import packageFile from "../../../package.json" with { type: "json" };
import { callByToken, parseToken, withWitness } from "../../cluster/cluster.ts";
import { WITNESS_PORT } from "../../witness/config.ts";
import { createWitnessToken, witnessIdentity } from "../../witness/enrolment.ts";
import { NodeWitness } from "../../witness/node_witness.ts";
import { probeWitness, witnessPromise, witnessText } from "../../witness/promise.ts";
import { ENROL_PATH } from "../../witness/protocol.ts";
import { ownAddresses, serveWitness } from "../../witness/service.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { loadedModules, request, tellResult } from "../node.ts";
import { ownCluster, readText } from "./cluster.ts";

const LEAVE_MS = 5000;
/** This node, whatever --node says. */
const HERE = { node: null, all: false };

/** Where a witness is. */
export const PLACE_OPTIONS = {
  address: {
    value: "ADDRESS",
    many: true,
    help: "an address of this machine that clusters reach it at (default: all that it has)",
  },
  port: { value: "PORT", help: `TCP port (default: ${WITNESS_PORT})` },
};

/** Where this witness is, by the command line. */
function placeOf({ lists, values }: Invocation): { addresses: readonly string[]; port: number } {
  const given = lists["address"] ?? [];
  const wrong = given.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw new CommandError(EXIT.usage, `--address: ${wrong} is no IP address`);
  const port = Number(values["port"] ?? WITNESS_PORT);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new CommandError(EXIT.usage, `--port: ${values["port"]} is no port: 1 to 65535`);
  const addresses = given.length > 0 ? given : ownAddresses();
  if (addresses.length === 0)
    throw new CommandError(
      EXIT.failed,
      "this machine has no address that another could reach: --address names one",
    );
  return { addresses, port };
}

/** The options for where it is as words of a command, checked. What is left out is found out at each start. */
export function placeWords(invocation: Invocation): string[] {
  const { port } = placeOf(invocation);
  const addresses = invocation.lists["address"] ?? [];
  return [...addresses.flatMap((address) => ["--address", address]), "--port", String(port)];
}

async function beWitness(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, output } = invocation;
  const { addresses, port } = placeOf(invocation);
  const tell = (text: string): void => output.note(`holdfast: ${text}`);
  const listener = await serveWitness({
    varDir: resolve(varDir),
    addresses,
    port,
    version: packageFile.version,
    tell,
  });
  output.say(`a witness at ${addresses.join(", ")}, port ${port}. For each cluster: holdfast witness token`);
  output.give({ status: EXIT.done, addresses, port });
  await new Promise<void>((stop) => {
    process.once("SIGTERM", stop);
    process.once("SIGINT", stop);
  });
  listener.close();
  process.exit(EXIT.done);
}

async function makeToken(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, output } = invocation;
  const place = placeOf(invocation);
  const identity = await witnessIdentity(resolve(varDir));
  const made = createWitnessToken(resolve(varDir), identity, place);
  const expires = new Date(made.expires).toISOString();
  output.say(made.token);
  if (!output.json)
    output.note(`For one cluster, until ${expires}. On one of its nodes: holdfast cluster witness add TOKEN`);
  output.give({ status: EXIT.done, token: made.token, expires, ...place });
  return EXIT.done;
}

/** Puts a changed cluster.yaml into force on every node, through the daemon. */
async function apply({ varDir, output }: Invocation, yaml: string, file: string): Promise<ExitStatus> {
  const handing = request({ varDir, target: HERE }, "POST", "/cluster/apply", { yaml, file });
  return tellResult(output, await output.progress("handing it to every node", handing));
}

async function addWitness(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, output } = invocation;
  const cluster = ownCluster(varDir);
  const given = invocation.arguments["TOKEN"]!;
  const text = given === "-" ? readFileSync(0, "utf8") : given;
  let token: ReturnType<typeof parseToken>;
  try {
    token = parseToken(text, "witness");
  } catch (error) {
    throw new CommandError(EXIT.usage, (error as Error).message);
  }
  // The daemon hands the change over: without it, the token is not worth using up.
  if ((await loadedModules(varDir)) === null)
    throw new CommandError(
      EXIT.unreachable,
      "this node's daemon does not run, and hands the change to every node: holdfast service install, or holdfast daemon",
    );
  const { addresses, port, fingerprint } = token;
  const yaml = withWitness(cluster.yaml, { addresses, port, fingerprint });
  const { secret } = token;
  const body = { secret, cluster: cluster.name, authority: cluster.credentials.authority };
  await output.progress("enrolling", callByToken(token, ENROL_PATH, body));
  return await apply(invocation, yaml, "cluster.yaml");
}

async function removeWitness(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, output } = invocation;
  const cluster = ownCluster(varDir);
  const { witness } = cluster;
  if (witness === null) throw new CommandError(EXIT.usage, `cluster ${cluster.name} has no witness`);
  const status = await apply(invocation, withWitness(cluster.yaml, null), "cluster.yaml");
  if (status !== EXIT.done || witness.kind !== "node") return status;
  const asked = new NodeWitness(witness, { ...cluster.credentials, deadlineMs: LEAVE_MS });
  try {
    await asked.leave();
  } catch (error) {
    output.note(
      `holdfast: ${asked.name} was not told, and keeps its records of this cluster: ${(error as Error).message}`,
    );
  }
  return status;
}

async function showWitness({ varDir, output }: Invocation): Promise<ExitStatus> {
  const cluster = ownCluster(varDir);
  const { witness } = cluster;
  const probe =
    witness === null
      ? null
      : await output.progress("asking it", probeWitness(witness, cluster, resolve(varDir)));
  const promise = witnessPromise(witness, probe?.answers);
  const lines = [`witness: ${witnessText(witness)}`];
  if (probe !== null)
    lines.push(
      `answers: ${probe.answers ? output.paint("green", "yes") : output.paint("red", "no")} (${probe.detail})`,
    );
  output.say([...lines, `so: ${promise}`].join("\n"));
  output.give({
    version: 1,
    witness,
    answers: probe?.answers ?? null,
    detail: probe?.detail ?? null,
    promise,
  });
  return probe === null || probe.answers ? EXIT.done : EXIT.no;
}

/** `cluster apply`, which is how every other witness gets into force. */
async function applyFile(invocation: Invocation): Promise<ExitStatus> {
  const file = invocation.arguments["FILE"]!;
  ownCluster(invocation.varDir);
  return await apply(invocation, readText(file), file);
}

/** See the top of the file. */
export const WITNESS_COMMANDS: readonly Command[] = [
  {
    name: "cluster apply",
    summary: "Put a changed cluster.yaml into force, on every node",
    arguments: [{ name: "FILE", help: "cluster.yaml; - is standard input" }],
    changes:
      "The cluster's configuration, on every node or on none. Only heartbeat and witness may differ from what is in force; modules go on.",
    details:
      "A recording witness is taken away, or replaced, only while no mirror runs: what the old one has on record would be forgotten. Nodes, their addresses, lans and the port change while the cluster stands still: what is refused says how.",
    examples: ["holdfast cluster apply cluster.yaml"],
    run: applyFile,
  },
  {
    name: "cluster witness add",
    summary: "Enrol this cluster with a Holdfast witness, by its token",
    arguments: [
      { name: "TOKEN", help: "what holdfast witness token printed on the witness; - is standard input" },
    ],
    changes:
      "The witness serves this cluster from now on, and every node asks it: witness in cluster.yaml. The token is used up.",
    details:
      "A heartbeat timeout that cluster.yaml does not name stays what it was, and is written into it. Other witnesses (etcd, S3, ping) are written into cluster.yaml by hand: holdfast cluster apply.",
    examples: ["holdfast cluster witness add hw1.abc", "holdfast cluster witness add - < token"],
    run: addWitness,
  },
  {
    name: "cluster witness remove",
    summary: "Do without the witness",
    changes:
      "Takes witness out of cluster.yaml on every node; a Holdfast witness deletes what it has on record of this cluster. Mirrors must be stopped, but with a ping witness.",
    examples: ["holdfast cluster witness remove"],
    run: removeWitness,
  },
  {
    name: "cluster witness show",
    summary: "Tell which witness there is, whether it answers, and which promise holds",
    changes: "Nothing. Exit status 4 when the witness does not answer.",
    examples: ["holdfast cluster witness show", "holdfast cluster witness show --json"],
    run: showWitness,
  },
  {
    name: "witness",
    summary: "Be a witness for other clusters, in the foreground",
    options: PLACE_OPTIONS,
    changes:
      "Makes VAR/witness: this witness's certificate, the clusters that enrolled, what they have on record. Listens with TLS. Needs no cluster, no module and not root.",
    details:
      "One witness serves many clusters, and none of them can see or touch the records of another. It belongs on a machine that fails neither with one node of a cluster nor with its network.",
    examples: ["holdfast witness", "holdfast witness --address 10.0.0.9 --var /srv/witness"],
    run: beWitness,
  },
  {
    name: "witness token",
    summary: "Print a token with which one cluster may enrol here",
    options: PLACE_OPTIONS,
    changes:
      "Remembers the token in VAR/witness until it is used or expires. The witness must run when it is used.",
    examples: ["holdfast witness token", "holdfast witness token --address 10.0.0.9 --var /srv/witness"],
    run: makeToken,
  },
];
