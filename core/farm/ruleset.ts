/**
 * The filter of one farm on one node, as nftables text: what the kernel does with each packet for the farm's virtual addresses. Pure.
 *
 * A known flow stays where it is (a set that the packets themselves keep). What opens a flow goes to the node that has its bucket. A packet in
 * the middle of a flow that its bucket's node does not know goes to each of the others that are heard, one after the other: who knows the flow takes
 * it, who does not gives it back. When all have, all are asked once more, at once, and those that are not heard, too (questions.ts); when none has it
 * then, it is nobody's, and the stack there answers it. So no state is copied between nodes, and no connection is reset while a node that lives has
 * it, whatever the nodes believe of each other for the moment. The node that had the bucket before is asked first (after Araújo et al., Balancing on
 * the Edge: Transport Affinity without Network State, NSDI 2018).
 *
 * What is asked carries the number of the node that asks, in the DSCP: 32 + number. What a client sends with such a one is handed on with 0. Only
 * the node that asks decides who is next, so that none runs in circles, and none is sent to a node whose death only that one has noticed.
 *
 * In `mode: directed` one node gets all from the clients and hands on what is not its own. In `mode: invisible` every node gets all, by a MAC address
 * that no switch ever learns, and drops what is not its own. A packet that another asks about has come from the client, too: who knows the flow
 * drops it. While not all go by the same assignment, the others are asked about what opens a flow, too, before it is answered: no two nodes answer
 * the same, and where two believe that it is theirs, the one with the lower number does.
 */
import { BUCKETS } from "./assignment.ts";
import { arp, discovery } from "./claims.ts";
import { type Filter, protocols, versions, WORDS } from "./filter.ts";
import { eachProtocol, lastAsked, MOST_MOVED, type Parts, unlessFlooded } from "./flows.ts";

export type { Filter, FilterAddress, FilterRule } from "./filter.ts";

/** ICMP errors a second that are told to all. */
const MOST_ERRORS = 1000;

const ERRORS = {
  4: "destination-unreachable, time-exceeded, parameter-problem",
  6: "destination-unreachable, packet-too-big, time-exceeded, parameter-problem",
} as const;

/**
 * The whole text for `nft -f`, one transaction. What the kernel has of the same tables is replaced, but for the flows and the counters;
 * with `anew`, those too.
 */
export function rulesetOf(filter: Filter, anew: boolean): string {
  const { table } = filter;
  const families = ["netdev", "arp", ...(versions(filter).includes(6) ? ["ip6"] : [])];
  const tables = families.map((family) => `add table ${family} ${table}`);
  const without = families.map((family) => `delete table ${family} ${table}`);
  return [
    ...tables,
    ...(anew ? [...without, ...tables] : []),
    ...ingress(filter),
    ...arp(filter),
    ...(versions(filter).includes(6) ? discovery(filter) : []),
    "",
  ].join("\n");
}

/** The text that takes the tables away, whether they are there or not. */
export function withoutRuleset(table: string): string {
  const families = ["netdev", "arp", "ip6"];
  return families
    .flatMap((family) => [`add table ${family} ${table}`, `delete table ${family} ${table}`, ""])
    .join("\n");
}

function ingress(filter: Filter): string[] {
  const { table, device, peers, absent, owners, me, former, nodes } = filter;
  const at = `netdev ${table}`;
  const parts: Parts = { chains: new Map(), sets: [] };
  const set = (name: string, type: string, elements: readonly string[]): void => {
    const kind = type.includes(":") ? "map" : "set";
    parts.sets.push({ name, line: `add ${kind} ${at} ${name} { ${type} }`, flush: true, elements });
  };
  set(
    "members",
    "type ether_addr;",
    [...peers, ...absent].map(({ mac }) => mac),
  );
  set("last", "type mark . ether_addr;", lastAsked(filter));
  const own = owners.flatMap((owner, bucket) => (owner === me ? [`${bucket}`] : []));
  set("mine", "type mark;", own);
  const udp = [...former].flatMap(([bucket, { udp }]) => (udp ? [`${bucket}`] : []));
  set("moved", "type mark;", udp);
  const elsewhere = [...former].map(([bucket, { number }]) => `${bucket} : goto ask_${number}`);
  set("former", "type mark : verdict;", elsewhere);
  const handed = owners.flatMap((owner, bucket) => (owner === me ? [] : [`${bucket} : goto to_${owner}`]));
  set("owner", "type mark : verdict;", handed);
  parts.chains.set("own", ["counter name own", "meta mark set 0", "accept"]);
  for (let number = 0; number < nodes; number++)
    if (number !== me) {
      parts.chains.set(`to_${number}`, handOver(filter, number));
      const limit = `limit rate over ${MOST_MOVED}/second burst ${MOST_MOVED / 4} packets drop`;
      parts.chains.set(`ask_${number}`, [limit, `goto to_${number}`]);
    }
  for (const version of versions(filter)) {
    for (const protocol of protocols(filter)) eachProtocol(filter, parts, version, protocol);
    eachVersion(filter, parts, version);
  }
  const counters = [
    "own",
    "rounds",
    "refused",
    ...[...parts.chains.keys()].filter((name) => /^to_\d+$/.test(name)),
  ];
  return [
    ...counters.map((name) => `add counter ${at} ${name}`),
    ...parts.sets.map(({ line }) => line),
    ...[...parts.chains.keys()].map((name) => `add chain ${at} ${name}`),
    `add chain ${at} ingress { type filter hook ingress device "${device}" priority -150 ; policy accept ; }`,
    `flush chain ${at} ingress`,
    ...[...parts.chains.keys()].map((name) => `flush chain ${at} ${name}`),
    ...parts.sets.flatMap(({ name, flush, line }) =>
      flush ? [`flush ${line.startsWith("add map") ? "map" : "set"} ${at} ${name}`] : [],
    ),
    ...parts.sets.flatMap(({ name, elements }) =>
      elements.length === 0 ? [] : [`add element ${at} ${name} { ${elements.join(", ")} }`],
    ),
    ...[...parts.chains].flatMap(([name, rules]) => rules.map((rule) => `add rule ${at} ${name} ${rule}`)),
    ...(filter.virtualMac === undefined ? [] : heard(filter, filter.virtualMac)),
    // What a switch floods is for another machine.
    `add rule ${at} ingress meta pkttype != host accept`,
    ...dispatch(filter).map((rule) => `add rule ${at} ingress ${rule}`),
  ];
}

function dispatch({ addresses }: Filter): string[] {
  return addresses.map(({ host, version }) => `${WORDS[version].ip} daddr ${host} goto address${version}`);
}

/**
 * Of `mode: invisible`: frames to the virtual MAC address are this machine's where they are about a virtual address that it has (a guardian may have
 * taken it away: a router would send the packet on), and nothing otherwise. None may
 * leave with it as its source, whoever makes it (a `reject` of another ruleset at ingress does): a switch would learn where it is.
 */
function heard(filter: Filter, virtualMac: string): string[] {
  const { table, device, mac } = filter;
  const at = `netdev ${table}`;
  const mine = `add rule ${at} ingress ether daddr ${virtualMac}`;
  return [
    ...dispatch(filter).map(
      (rule) => `${mine} ${rule.replace("goto", "fib daddr type local meta pkttype set host goto")}`,
    ),
    `${mine} meta protocol arp meta pkttype set host accept`,
    `${mine} drop`,
    `add counter ${at} leaked`,
    `add chain ${at} egress { type filter hook egress device "${device}" priority 0 ; policy accept ; }`,
    `flush chain ${at} egress`,
    `add rule ${at} egress ether saddr ${virtualMac} counter name leaked ether saddr set ${mac}`,
  ];
}

/** To another node's MAC address, from this node's own: a switch that saw the client's here would send it here. */
function handOver({ device, mac, peers, absent }: Filter, number: number): string[] {
  const peer = [...peers, ...absent].find((one) => one.number === number);
  if (!peer) return ["drop"];
  return [
    `counter name to_${number}`,
    `ether saddr set ${mac}`,
    `ether daddr set ${peer.mac}`,
    `fwd to "${device}"`,
  ];
}

/** What each version of IP has once: the first look at a packet, fragments, and errors that speak of a flow. */
function eachVersion(filter: Filter, { chains }: Parts, version: 4 | 6): void {
  const { ip, icmp, fragment } = WORDS[version];
  const { mac, virtualMac, device, peers, absent, seed } = filter;
  const answered = filter.addresses.flatMap((own) =>
    own.version === version && own.answers ? [own.host] : [],
  );
  chains.set(`address${version}`, [
    `${fragment} goto fragment${version}`,
    `${icmp} type { ${ERRORS[version]} } goto error${version}`,
    ...protocols(filter).map((protocol) => `meta l4proto ${protocol} goto ${protocol}${version}`),
    // What no rule names is not for the farm; pings are answered by the node that answers for the address.
    "meta l4proto { tcp, udp } counter name refused drop",
    ...(virtualMac === undefined ? ["accept"] : answered.map((host) => `${ip} daddr ${host} accept`)),
    "drop",
  ]);
  // Only the first fragment has ports: all go by the client's address.
  chains.set(`fragment${version}`, [
    `meta mark set jhash ${ip} saddr mod ${BUCKETS} seed ${seed}`,
    "meta mark @mine goto own",
    "ether saddr @members drop",
    ...unlessFlooded(filter),
    "meta mark vmap @owner",
    "drop",
  ]);
  // Which node an error concerns is told by the flow that it speaks of: every node is told, and ignores what is not its own (trap 38).
  chains.set(`error${version}`, [
    ...(virtualMac !== undefined
      ? []
      : [
          "ether saddr @members accept",
          `limit rate over ${MOST_ERRORS}/second burst 100 packets drop`,
          `ether saddr set ${mac}`,
          ...[...peers, ...absent].map((other) => `ether daddr set ${other.mac} dup to "${device}"`),
        ]),
    "accept",
  ]);
}
