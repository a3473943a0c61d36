/**
 * What it costs the node that answers for a farm's address to hand a packet to the node that it belongs to: the product's own ruleset in a kernel, for farms of
 * several sizes, and none of the buckets its own. Packets in the middle of connections of thousands of clients come by a veth, and leave by it.
 *
 * The sender's process, kept to one processor, is charged with all of it. What the same takes with one rule that only passes it on is measured beside it.
 */
import { assign, inOrder } from "../../core/farm/assignment.ts";
import { rulesetOf } from "../../core/farm/ruleset.ts";
import type { PacketOrder, PacketsSent } from "../cluster/farm_packets.ts";
import { createTestbed, type Host } from "../cluster/testbed.ts";
import { median } from "./report.ts";

const SIZES = [3, 8, 32];
const ADDRESS = "10.99.0.100";
const PORT = 8080;
const CLIENTS = 16_384;
/** Connections of its own that the node knows in one of the cases. */
const KNOWN = 200_000;
const DEVICE = "cost";
const TABLE = "cost";
const PASSING = "only passed on";
const MAC = { sender: "02:99:00:00:00:01", node: "02:99:00:00:00:02" };

/** A farm of some size. */
interface Case {
  name: string;
  rules: string;
}

/** Nanoseconds of one processor for each packet, all that happens to it. */
export interface CostFigures {
  name: string;
  nanoseconds: number;
  /** Beyond those of a packet that is only passed on: the median of the rounds' differences. */
  filter: number;
  figures: number[];
}

const macOf = (number: number): string => `02:99:01:00:00:${number.toString(16).padStart(2, "0")}`;

/** The filter of a farm's first node, which has weight 0: all others are there, and have all the clients. */
function farmOf(size: number): Case {
  const nodes = inOrder(Array.from({ length: size }, (_, at) => `n${at + 1}`));
  const assignment = assign({ nodes, weights: { [nodes[0]!]: 0 }, priority: [] }, nodes);
  const rules = rulesetOf(
    {
      table: TABLE,
      device: DEVICE,
      mac: MAC.node,
      addresses: [{ host: ADDRESS, version: 4, own: null, answers: true }],
      rules: [{ protocol: "tcp", ports: [PORT], affinity: "client-ip" }],
      seed: 1,
      me: 0,
      nodes: size,
      serves: true,
      doubtMs: 500,
      peers: nodes.slice(1).map((_, at) => ({ number: at + 1, mac: macOf(at + 1) })),
      owners: assignment.map((owner) => nodes.indexOf(owner)),
      absent: [],
      former: new Map(),
    },
    true,
  );
  return { name: `${size} nodes`, rules };
}

/** The same as the smallest, and the node serves many clients itself. */
function withFlows({ rules }: Case): Case {
  const flows = Array.from(
    { length: KNOWN },
    (_, at) => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255} . 1024 . ${ADDRESS} . ${PORT}`,
  );
  const lines: string[] = [];
  for (let at = 0; at < KNOWN; at += 1000)
    lines.push(`add element netdev ${TABLE} tcp4_flows { ${flows.slice(at, at + 1000).join(", ")} }`);
  return {
    name: `${SIZES[0]} nodes, ${KNOWN} connections of its own`,
    rules: `${rules}${lines.join("\n")}\n`,
  };
}

const passing: Case = {
  name: PASSING,
  rules: `add table netdev ${TABLE}
delete table netdev ${TABLE}
add table netdev ${TABLE}
add counter netdev ${TABLE} to_1
add chain netdev ${TABLE} ingress { type filter hook ingress device "${DEVICE}" priority -150 ; policy accept ; }
add rule netdev ${TABLE} ingress ip daddr ${ADDRESS} counter name to_1 ether saddr set ${MAC.node} ether daddr set ${macOf(1)} fwd to "${DEVICE}"
`,
};

/** How many packets left for another node. */
async function forwarded(node: Host): Promise<number> {
  const { stdout } = await node.exec(["nft", "list", "counters", "table", "netdev", TABLE]);
  const counters = stdout.matchAll(/counter to_\d+ \{\s*packets (\d+)/g);
  return [...counters].reduce((sum, [, packets]) => sum + Number(packets), 0);
}

/** A sender and a node, and one wire between them; what the node sends is thrown away as soon as it is back. */
async function connect(sender: Host, node: Host): Promise<void> {
  await sender.bed.ip([
    `link add ${DEVICE} netns ${sender.pid} address ${MAC.sender} type veth peer name ${DEVICE} netns ${node.pid} address ${MAC.node}`,
  ]);
  for (const machine of [sender, node]) await machine.exec(["ip", "link", "set", DEVICE, "up"]);
  const input = `table netdev sink {
  chain ingress { type filter hook ingress device "${DEVICE}" priority 0; policy drop; }
}\n`;
  await sender.exec(["nft", "-f", "-"], { input });
}

/** Measures each case in turn, in another order each round. Throws when packets are lost. */
export async function measureFarmCost(rounds: number, packets: number): Promise<CostFigures[]> {
  const bed = await createTestbed({ nodes: 0, hosts: 2 });
  await using _bed = bed;
  const [sender, node] = bed.hosts as [Host, Host];
  await connect(sender, node);
  const farms = SIZES.map(farmOf);
  const cases = [passing, ...farms, withFlows(farms[0]!)];
  const figures = new Map(cases.map(({ name }) => [name, [] as number[]]));
  const program = new URL("../cluster/farm_packets.ts", import.meta.url).pathname;
  const order: PacketOrder = {
    ...{ device: DEVICE, to: MAC.node, address: ADDRESS, port: PORT, kind: "ack", seed: 1, rate: 0 },
    ...{ clients: CLIENTS, packets },
  };
  for (let round = 0; round < rounds; round++)
    for (let at = 0; at < cases.length; at++) {
      const { name, rules } = cases[(at + round) % cases.length]!;
      await node.exec(["nft", "-f", "-"], { input: rules });
      const argv = ["taskset", "-c", "0", process.execPath, program, JSON.stringify(order)];
      const { stdout } = await sender.exec(argv);
      const count = await forwarded(node);
      if (count !== packets) throw new Error(`${name}: ${count} of ${packets} packets were handed on`);
      figures.get(name)!.push((JSON.parse(stdout) as PacketsSent).nanoseconds);
    }
  const bare = figures.get(PASSING)!;
  return [...figures].map(([name, times]) => ({
    name,
    nanoseconds: median(times),
    filter: median(times.map((time, round) => time - bare[round]!)),
    figures: times,
  }));
}

/** The figures for people. */
export function farmCostInWords(figures: readonly CostFigures[]): string {
  return figures
    .map(({ name, nanoseconds, filter }) => {
      const rate = Math.round(1e9 / nanoseconds);
      const beyond = name === PASSING ? "" : `, ${Math.round(filter)} ns of them the filter's`;
      return `${name}: ${Math.round(nanoseconds)} ns for each packet (${rate} in a second of one processor)${beyond}`;
    })
    .join("\n");
}
