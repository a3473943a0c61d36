/**
 * What `holdfast farm` shows of a node: what its kernel does with the clients, and what it was told.
 */
import { BUCKETS, inOrder, type Shares } from "../../farm/assignment.ts";
import type { FilterRule } from "../../farm/ruleset.ts";
import { type FarmPlan, type FarmWord, heldText, type Stage } from "../../farm/word.ts";
import { countersOf } from "../../network/nft.ts";

/** What `holdfast farm` shows of this node. */
export interface FarmReport {
  device: string;
  stage: Stage;
  /** Why it should take no new clients; null: it should. */
  held: string | null;
  /** Of `mode: invisible`: the MAC address of the virtual addresses. */
  virtualMac: string | null;
  /** By node that takes part: its buckets, whether its filter goes by the same assignment, and the packets that this node handed to it, or asked it about. */
  nodes: Record<string, { stage: Stage; buckets: number; agrees: boolean; packets: number }>;
  /** By virtual address, the node that answers for it. */
  answers: Record<string, string | null>;
  rules: readonly FilterRule[];
  /** By bucket, its node. */
  buckets: readonly string[];
  /** TCP connections of this node's clients. */
  connections: number;
  /** Packets about which others were asked, since this node does not know their flow; and those for ports that no rule names. */
  rounds: number;
  refused: number;
  /** Frames whose source would have been the virtual MAC address, and was mended: something else on this machine makes them. */
  leaked: number;
}

/** What it is made from. */
export interface ReportParts extends Pick<FarmReport, "device" | "virtualMac" | "connections"> {
  node: string;
  table: string;
  addresses: readonly string[];
  settings: { shares: Shares; rules: readonly FilterRule[] };
  /** Of all nodes that take part, this one's too. */
  words: ReadonlyMap<string, FarmWord>;
  plan: FarmPlan;
}

/** Throws when the kernel refuses to tell. */
export function reportOf(parts: ReportParts): FarmReport {
  const { node, table, addresses, settings, words, plan, ...known } = parts;
  const order = inOrder(settings.shares.nodes);
  const counters = countersOf(table);
  const packets = (name: string): number => counters[name]?.packets ?? 0;
  const own = words.get(node)!;
  const of = (name: string, { stage, number }: FarmWord): FarmReport["nodes"][string] => ({
    stage,
    buckets: plan.assignment.filter((owner) => owner === name).length,
    agrees: number === own.number,
    packets: packets(name === node ? "own" : `to_${order.indexOf(name)}`),
  });
  const taking = order.flatMap((name) => {
    const said = words.get(name);
    return said ? [[name, of(name, said)] as const] : [];
  });
  return {
    ...known,
    stage: own.stage,
    held: own.why ?? null,
    nodes: Object.fromEntries(taking),
    answers: Object.fromEntries(addresses.map((address) => [address, plan.answers(address)])),
    rules: settings.rules,
    buckets: plan.assignment,
    rounds: packets("rounds"),
    refused: packets("refused"),
    leaked: packets("leaked"),
  };
}

/** The report of a module on the node `here`, for people. */
export function reportText(module: string, here: string, report: FarmReport): string {
  const { nodes, answers, rules, connections, rounds, refused, virtualMac, held } = report;
  const lines = Object.entries(nodes).map(([node, { stage, buckets, agrees, packets }]) => {
    const share = `${buckets}/${BUCKETS} (${Math.round((100 * buckets) / BUCKETS)} %)`;
    // In `mode: invisible` it has each packet already.
    const moved =
      virtualMac === null
        ? `${packets} packets handed to it by ${here}`
        : `asked about ${packets} packets by ${here}`;
    const counted = node === here ? `${packets} packets taken here` : moved;
    return `  ${node}  ${stage}  ${share}  ${counted}${agrees ? "" : "  (goes by another assignment at the moment)"}`;
  });
  return [
    `${module} on ${here}: ${connections} TCP connections`,
    ...lines,
    ...(held === null ? [] : [`  ${here} ${heldText(held, nodes[here]?.buckets)}`]),
    ...Object.entries(answers).map(
      ([address, node]) =>
        `  ${address} is answered by ${node ?? "no node"}${virtualMac === null ? "" : `, as at ${virtualMac}`}`,
    ),
    ...rules.map(({ protocol, ports, affinity }) => `  ${protocol} ${ports.join(", ")}: by ${affinity}`),
    `  ${rounds} packets went round, ${refused} were for ports that no rule names`,
  ].join("\n");
}
