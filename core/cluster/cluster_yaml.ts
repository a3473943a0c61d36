/**
 * cluster.yaml: what a cluster is, as people write it.
 *
 * A file is taken whole or refused whole, and every fault is named with its line, its column and the path of the field:
 * a cluster that starts on half of what was meant fails on the day that it is needed.
 */
import * as v from "valibot";
import type { Finding } from "../../modules/cross_checks.ts";
import { duration, found, ipAddress, mapping, named, networkName, whole } from "../../modules/fields.ts";
import { formatProblem, inOrder, type Problem, readYaml, validateYaml } from "../../modules/yaml_document.ts";
import { recordsAnything, type WitnessConfig, witnessSchema } from "../witness/config.ts";

/** Where a node is on one lan: `address` is what the others dial, `bind` what it listens on (the same, but behind NAT). */
export interface LanAddress {
  address: string;
  bind: string;
}

/** One node of cluster.yaml. `number` is its place there, from 1. */
export interface ClusterNode {
  name: string;
  number: number;
  /** By lan. */
  addresses: Readonly<Record<string, LanAddress>>;
}

/** What cluster.yaml says, with every default filled in. */
export interface ClusterConfig {
  name: string;
  /** By name, in the order of the file. */
  nodes: Readonly<Record<string, ClusterNode>>;
  /** Names of the lans, in the order of the first node. */
  lans: readonly string[];
  /** HTTPS; heartbeats are on `port + 1` (UDP), replication of module N on `port + 1 + N` (TCP). */
  port: number;
  heartbeat: { intervalMs: number; timeoutMs: number };
  witness: WitnessConfig | null;
}

/** A configuration file was refused. The message has one `file:line:column: path: what is wrong` per line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    // Of several rules that one value breaks, the first says enough.
    const faults = problems.filter(
      ({ path, line }, index) =>
        !problems.slice(0, index).some((one) => one.path === path && one.line === line),
    );
    super(faults.map(formatProblem).join("\n"));
    this.faults = faults;
  }
}

/** The HTTPS port when cluster.yaml names none. */
export const DEFAULT_PORT = 9453;
const DEFAULT_INTERVAL = "200ms";
/** Without a witness that records, a takeover waits longer: a virtual machine may stand still for seconds. */
const DEFAULT_TIMEOUT_MS = { withRecord: 1000, without: 3000 };
/** Leaves room above `port` for the replication ports of the modules. */
const MAX_PORT = 65_000;

/** Addresses that no single node can have. */
const SHARED = /^(0\.|22[4-9]\.|23\d\.|255\.255\.255\.255$|::$|ff)/i;

const nodeAddress = v.pipe(
  ipAddress,
  v.check(
    (text) => !SHARED.test(text),
    (issue) => `${found(issue.input)} is not the address of one node`,
  ),
);
const addressPair = mapping({ address: nodeAddress, bind: v.exactOptional(nodeAddress) });

const lanAddress = v.lazy((input) =>
  typeof input === "object" && input !== null
    ? v.pipe(
        addressPair,
        v.transform(({ address, bind }): LanAddress => ({ address, bind: bind ?? address })),
      )
    : v.pipe(
        nodeAddress,
        v.transform((address): LanAddress => ({ address, bind: address })),
      ),
);

const schema = mapping({
  name: networkName,
  nodes: v.pipe(
    named(
      networkName,
      mapping({
        addresses: v.pipe(
          named(networkName, lanAddress),
          v.minEntries(1, "a node needs an address on at least one lan"),
        ),
      }),
    ),
    v.minEntries(1, "a cluster needs at least one node"),
  ),
  port: v.optional(whole(1, MAX_PORT), DEFAULT_PORT),
  heartbeat: v.optional(
    mapping({
      interval: v.optional(duration(20, 60_000), DEFAULT_INTERVAL),
      timeout: v.exactOptional(duration(100, 600_000)),
    }),
    {},
  ),
  witness: v.exactOptional(witnessSchema),
});
type Content = v.InferOutput<typeof schema>;

/** The heartbeat timeout of a file, ms: what it says, or the default, which depends on its witness. */
function timeoutOf({ heartbeat, witness }: Content): number {
  if (heartbeat.timeout !== undefined) return heartbeat.timeout;
  return recordsAnything(witness ?? null) ? DEFAULT_TIMEOUT_MS.withRecord : DEFAULT_TIMEOUT_MS.without;
}

/** What no single field can know: addresses used twice, lans that a node lacks, a timeout shorter than the heartbeat. */
function crossFindings(content: Content): Finding[] {
  const { nodes, heartbeat, witness } = content;
  const findings: Finding[] = [];
  const owners = new Map<string, string>();
  const [first, ...others] = Object.keys(nodes) as [string, ...string[]];
  const lans = Object.keys(nodes[first]!.addresses);
  for (const node of others) {
    const own = Object.keys(nodes[node]!.addresses);
    for (const lan of lans.filter((one) => !own.includes(one)))
      findings.push({
        path: ["nodes", node, "addresses"],
        message: `lacks an address on ${lan}, where ${first} has one: every node is on every lan`,
      });
    for (const lan of own.filter((one) => !lans.includes(one)))
      findings.push({
        path: ["nodes", node, "addresses", lan],
        message: `${first} has no address on ${lan}: every node is on every lan`,
      });
  }
  for (const [node, { addresses }] of Object.entries(nodes))
    for (const [lan, { address }] of Object.entries(addresses)) {
      const owner = owners.get(address);
      if (owner !== undefined)
        findings.push({
          path: ["nodes", node, "addresses", lan],
          message: `${address} is already the address of ${owner}`,
        });
      owners.set(address, `${node} on ${lan}`);
    }
  if (witness?.kind === "node" || witness?.kind === "ping")
    for (const [index, address] of witness.addresses.entries()) {
      const owner = owners.get(address);
      // On another port it may be a witness for others; for its own cluster it would die together with a node.
      if (owner !== undefined)
        findings.push({
          path: ["witness", witness.kind, ...(witness.kind === "node" ? ["addresses"] : []), index],
          message: `${address} is the address of ${owner}: a witness must not fail together with a node`,
        });
    }
  if (timeoutOf(content) < 2 * heartbeat.interval)
    findings.push({
      path: ["heartbeat"],
      message: "timeout must be at least twice the interval: one lost heartbeat is not a lost node",
    });
  return findings;
}

/**
 * Reads the text of a cluster.yaml. `file` is the name for messages.
 * Throws ConfigError with every fault of the file; nothing is taken from a file with a fault.
 */
export function parseClusterYaml(text: string, file = "cluster.yaml"): ClusterConfig {
  const yaml = readYaml(text, file);
  const { output, problems } = validateYaml(yaml, schema);
  if (output === null) throw new ConfigError(problems);
  const findings = crossFindings(output);
  if (findings.length > 0) throw new ConfigError(inOrder(findings.map(yaml.locate)));
  const names = Object.keys(output.nodes);
  const nodes = names.map((name, index): [string, ClusterNode] => [
    name,
    { name, number: index + 1, ...output.nodes[name]! },
  ]);
  return {
    name: output.name,
    nodes: Object.fromEntries(nodes),
    lans: Object.keys(nodes[0]![1].addresses),
    port: output.port,
    heartbeat: { intervalMs: output.heartbeat.interval, timeoutMs: timeoutOf(output) },
    witness: output.witness ?? null,
  };
}
