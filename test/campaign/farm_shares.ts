/**
 * How a farm's clients are shared out, by the kernels' own filters: packets of as many random clients as one likes go to the address, and each node counts those
 * that it takes. A real client is not needed for it: see farm_packets.ts.
 */
import {
  balancing,
  createFarm,
  FARM_IP,
  FARM_IP6,
  type FarmLab,
  type FarmMode,
  UDP_PORT,
} from "../cluster/farm_lab.ts";
import type { PacketOrder } from "../cluster/farm_packets.ts";
import type { Node } from "../cluster/testbed.ts";

const ALL = ["n1", "n2", "n3"];
/** What a node's part of the clients may differ from its part of the weights. */
const OFF = 0.02;
/** Packets a second: more than the kernel's queue between two processors holds would be lost. */
const RATE = 50_000;
const WEIGHTS = [
  { n1: 1, n2: 1, n3: 1 },
  { n1: 3, n2: 2, n3: 1 },
  { n1: 5, n2: 3, n3: 0 },
];
const KINDS = [
  { what: "TCP", kind: "syn", port: 8080 },
  { what: "TCP by connection", kind: "syn", port: 8081 },
  { what: "UDP", kind: "udp", port: UDP_PORT },
] as const;

/** By node, the packets that it has taken so far. */
async function taken(lab: FarmLab): Promise<number[]> {
  return await Promise.all(
    lab.nodes.map(async (node) => (await lab.report(node))?.nodes[node.name]?.packets ?? Number.NaN),
  );
}

/** Sends a packet of each client; returns by node how many it took. */
async function counted(lab: FarmLab, order: Omit<PacketOrder, "device" | "to">): Promise<number[]> {
  const front = await lab.front();
  const to = (await lab.report(front))?.virtualMac ?? front.mac("lan");
  const program = new URL("../cluster/farm_packets.ts", import.meta.url).pathname;
  const before = await taken(lab);
  await lab.host.exec([process.execPath, program, JSON.stringify({ ...order, device: "lan", to })]);
  const after = await taken(lab);
  return after.map((count, at) => count - before[at]!);
}

/** What is measured, and what is told of it. */
interface SharesOptions {
  modes: readonly FarmMode[];
  clients: number;
  seed: number;
  tell(line: string): void;
}

/** One way to share clients out, and clients of one kind. Returns what is not as it must be, in words. */
async function measureKind(
  lab: FarmLab,
  { clients, seed, tell }: Omit<SharesOptions, "modes">,
  one: { mode: FarmMode; weights: (typeof WEIGHTS)[number]; address: string; kind: (typeof KINDS)[number] },
): Promise<string[]> {
  const { what, ...how } = one.kind;
  const weights = Object.values(one.weights);
  const total = weights.reduce((sum, weight) => sum + weight);
  const order = { ...how, address: one.address, clients, packets: clients, seed, rate: RATE };
  const counts = await counted(lab, order);
  const again = await counted(lab, order);
  const shares = counts.map((count) => `${((100 * count) / clients).toFixed(2)} %`).join(", ");
  const line = `${one.mode}, ${what}, IPv${one.address.includes(":") ? 6 : 4}, weights ${weights.join(", ")}: ${shares}`;
  tell(line);
  const sum = counts.reduce((all, count) => all + count);
  const isOff = counts.some((count, at) => Math.abs(count / clients - weights[at]! / total) > OFF);
  return [
    ...(sum === clients ? [] : [`${line}: ${sum} packets were taken, of ${clients}`]),
    ...(isOff ? [`${line}: more than ${100 * OFF} % off`] : []),
    ...(Bun.deepEquals(counts, again) ? [] : [`${line}: the same clients again: ${again.join(", ")}`]),
  ];
}

/** Returns the shares in words; throws, after all was measured, with what is not as it must be. */
export async function measureShares(options: SharesOptions): Promise<string> {
  const lab = await createFarm();
  await using _bed = lab.bed;
  const [n1] = lab.nodes as [Node];
  const wrong: string[] = [];
  let { seed } = options;
  for (const mode of options.modes) {
    Object.assign(lab.options, { balancing: balancing(mode) });
    await lab.apply();
    await n1.holdfast(["start", "web", "--all"]);
    for (const weights of WEIGHTS) {
      await lab.apply(weights);
      await lab.shared(ALL);
      // Other clients each time: a UDP exchange stays with its node when the weights change.
      for (const address of [FARM_IP, FARM_IP6])
        for (const kind of KINDS)
          wrong.push(
            ...(await measureKind(lab, { ...options, seed: seed++ }, { mode, weights, address, kind })),
          );
    }
    await n1.holdfast(["stop", "web", "--all"]);
    for (const node of lab.nodes) await node.holdfast(["wait", "web", "STOP"]);
  }
  if (wrong.length > 0) throw new Error(wrong.join("\n"));
  return `${options.clients} random clients each time: every packet was taken once, within ${100 * OFF} % of the weights, and by the same nodes again`;
}
