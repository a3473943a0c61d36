/**
 * What a farm's filter in this node's kernel is made from: the names of nodes become the numbers by which all nodes know each other.
 */
import { hashOf, inOrder, type Shares } from "../../farm/assignment.ts";
import type { GainedBuckets } from "../../farm/gained.ts";
import type { Filter, FilterRule } from "../../farm/ruleset.ts";
import type { FarmPlan, FarmWord } from "../../farm/word.ts";
import { parseCidr } from "../../network/address.ts";
import type { VirtualAddress, VirtualIp } from "../../network/virtual_ip.ts";

/** Part of the heartbeat timeout within which a node that can be reached is heard. */
const DOUBT = 0.5;

/** What this node knows when it makes its filter anew. */
export interface FilterParts extends Pick<Filter, "table" | "virtualMac" | "device"> {
  /** Do all others go by the same assignment? */
  settled: boolean;
  module: string;
  node: string;
  /** The heartbeat timeout, ms. */
  timeoutMs: number;
  addresses: readonly VirtualAddress[];
  network: Pick<VirtualIp, "besides">;
  settings: { shares: Shares; rules: readonly FilterRule[] };
  /** This node's word, and what the others say. */
  word: FarmWord;
  others: ReadonlyMap<string, FarmWord>;
  /** Nodes that are not heard, and the MAC addresses that they had. */
  absent: ReadonlyMap<string, string>;
  plan: FarmPlan;
  gained: GainedBuckets;
}

/** See the top of the file. Throws when an interface is gone. */
export function filterOf(parts: FilterParts): Filter {
  const { table, virtualMac, device, settled, module, node, network, word, plan } = parts;
  const { shares, rules } = parts.settings;
  const order = inOrder(shares.nodes);
  const all = parts.addresses.map(({ address }) => address);
  return {
    table,
    virtualMac,
    device,
    settled,
    doubtMs: Math.ceil(parts.timeoutMs * DOUBT),
    mac: word.mac,
    addresses: parts.addresses.map((address) => {
      const { host, version } = parseCidr(address.address);
      return { host, version, own: network.besides(address, all), answers: plan.answers(host) === node };
    }),
    rules,
    seed: hashOf(module) || 1,
    me: order.indexOf(node),
    nodes: order.length,
    serves: word.stage !== "closed",
    peers: [...parts.others].map(([name, { mac }]) => ({ number: order.indexOf(name), mac })),
    absent: [...parts.absent].map(([name, mac]) => ({ number: order.indexOf(name), mac })),
    owners: plan.assignment.map((owner) => order.indexOf(owner)),
    former: parts.gained.formerIn(order, parts.others, performance.now()),
  };
}
