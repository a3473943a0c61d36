/**
 * The filter of one farm on one node, as nftables text: what the kernel does with each packet for the farm's virtual addresses. Pure.
 *
 * A known flow stays where it is (a set that the packets themselves keep). What opens a flow goes to the node that has its bucket. A packet in
 * the middle of a flow that its bucket's node does not know goes once round all nodes, marked with the number of the node where that began: one
 * that knows the flow takes it; when it comes back, it is nobody's, and the stack there answers it. So no state is copied between nodes, and
 * no connection is reset while a node that lives has it, whatever the nodes believe of each other for the moment. The node that had the bucket
 * before is asked first (after Araújo et al., Balancing on the Edge: Transport Affinity without Network State, NSDI 2018).
 *
 * The mark is the DSCP: 32 + number. What a client sends with such a one is handed on with 0. A marked packet only moves on towards the node
 * where it began, so that none runs in circles; who gets it from that one directly, and is not the next, was asked first, and hands it to the next.
 */
import { parseCidr } from "../network/address.ts";
import { BUCKETS } from "./assignment.ts";

/** What is shared out, from module.yaml. */
export interface FilterRule {
  protocol: "tcp" | "udp";
  /** Numbers, and ranges such as `8000-8010`. */
  ports: readonly (number | string)[];
  affinity: "client-ip" | "connection";
}

/** A virtual address, as this node sees it. */
export interface FilterAddress {
  host: string;
  version: 4 | 6;
  /** The node's own address, by which it asks for its neighbours instead; null where it has none. */
  own: string | null;
  /** Does this node answer who asks for the address? */
  answers: boolean;
}

/** All that the filter depends on. */
export interface Filter {
  /** Name of the tables. */
  table: string;
  device: string;
  mac: string;
  addresses: readonly FilterAddress[];
  rules: readonly FilterRule[];
  /** Start of the hash: the same on all nodes of the module. */
  seed: number;
  /** This node's number, 0 to 31. */
  me: number;
  /** How many nodes the module has, whether they live or not. */
  nodes: number;
  /** The others that take part now, by number. */
  peers: readonly { number: number; mac: string }[];
  /** By bucket, the number of its node; empty when nobody serves. */
  owners: readonly number[];
  /** Buckets of this node whose flows another node that lives may still have: that one's number, and whether UDP exchanges may be among them. */
  former: ReadonlyMap<number, { number: number; udp: boolean }>;
}

/** Flows that each set has room for; the kernel takes 100 bytes for each that is there. */
const MOST_FLOWS = 262_144;
const MOST_CLOSING = 65_536;
/** How long a flow is remembered without a packet: a TCP connection, one that has begun, one that was closed, a UDP exchange. */
const TCP_KNOWN = "1h";
const TCP_BRIEF = "1m";
const UDP_KNOWN = "3m";
/**
 * Packets a second that go round. Where a bucket's flows are known to be elsewhere, more are lost, and sent again; where they are not, more are
 * answered here, as without a farm: it is a flood, or there were more flows than the sets have room for.
 */
const MOST_MOVED = 200_000;
const MOST_ROUNDS = 20_000;
const MOST_ERRORS = 1000;
/** DSCP from here on are marks. */
const FIRST_MARK = 32;

/** Words of one version of IP. */
const WORDS = {
  4: { ip: "ip", icmp: "icmp", address: "ipv4_addr", fragment: "ip frag-off & 0x3fff != 0" },
  6: { ip: "ip6", icmp: "icmpv6", address: "ipv6_addr", fragment: "exthdr frag exists" },
} as const;
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

function versions({ addresses }: Filter): (4 | 6)[] {
  return ([4, 6] as const).filter((version) => addresses.some((address) => address.version === version));
}

function protocols({ rules }: Filter): ("tcp" | "udp")[] {
  return (["tcp", "udp"] as const).filter((protocol) => rules.some((rule) => rule.protocol === protocol));
}

/** What makes a flow, as the sets have it. */
function flow(version: 4 | 6, protocol: "tcp" | "udp"): string {
  const { ip } = WORDS[version];
  return `${ip} saddr . ${protocol} sport . ${ip} daddr . ${protocol} dport`;
}

/** Chain name and its rules; sets and maps with what they hold. */
interface Parts {
  chains: Map<string, string[]>;
  sets: { line: string; name: string; flush: boolean; elements: readonly string[] }[];
}

function ingress(filter: Filter): string[] {
  const { table, device, peers, owners, me, former, nodes } = filter;
  const at = `netdev ${table}`;
  const parts: Parts = { chains: new Map(), sets: [] };
  const set = (name: string, type: string, elements: readonly string[]): void => {
    const kind = type.includes(":") ? "map" : "set";
    parts.sets.push({ name, line: `add ${kind} ${at} ${name} { ${type} }`, flush: true, elements });
  };
  set(
    "peers",
    "type ether_addr;",
    peers.map(({ mac }) => mac),
  );
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
  const dispatch = filter.addresses.map(
    ({ host, version }) => `${WORDS[version].ip} daddr ${host} goto address${version}`,
  );
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
    // What a switch floods is for another machine.
    `add rule ${at} ingress meta pkttype != host accept`,
    ...dispatch.map((rule) => `add rule ${at} ingress ${rule}`),
  ];
}

/** To another node's MAC address, from this node's own: a switch that saw the client's here would send it here. */
function handOver({ device, mac, peers }: Filter, number: number): string[] {
  const peer = peers.find((one) => one.number === number);
  if (!peer) return ["drop"];
  return [
    `counter name to_${number}`,
    `ether saddr set ${mac}`,
    `ether daddr set ${peer.mac}`,
    `fwd to "${device}"`,
  ];
}

/** The node that comes after another, by default this one, on the way round; null: there is no other. */
function nextOf({ me, nodes, peers }: Filter, from = me): number | null {
  const others = [me, ...peers.map(({ number }) => number)].filter((number) => number !== from);
  const steps = others.map((number) => (number - from + nodes) % nodes);
  return steps.length === 0 ? null : (from + Math.min(...steps)) % nodes;
}

/** What each version of IP has once: the first look at a packet, fragments, and errors that speak of a flow. */
function eachVersion(filter: Filter, { chains }: Parts, version: 4 | 6): void {
  const { ip, icmp, fragment } = WORDS[version];
  const { me, mac, device, peers, seed } = filter;
  const next = nextOf(filter);
  const mark = FIRST_MARK + me;
  const nextMac = peers.find(({ number }) => number === next)?.mac;
  chains.set(`address${version}`, [
    `${fragment} goto fragment${version}`,
    `${icmp} type { ${ERRORS[version]} } goto error${version}`,
    ...protocols(filter).map((protocol) => `meta l4proto ${protocol} goto ${protocol}${version}`),
    // What no rule names is not for the farm; pings are answered by the node that answers for the address.
    "meta l4proto { tcp, udp } counter name refused drop",
    "accept",
  ]);
  // Only the first fragment has ports: all go by the client's address.
  chains.set(`fragment${version}`, [
    `meta mark set jhash ${ip} saddr mod ${BUCKETS} seed ${seed}`,
    "meta mark @mine goto own",
    "ether saddr @peers drop",
    "meta mark vmap @owner",
    "drop",
  ]);
  // Which node an error concerns is told by the flow that it speaks of: every node is told, and ignores what is not its own (trap 38).
  chains.set(`error${version}`, [
    ...(nextMac === undefined
      ? []
      : [
          `ether saddr != @peers limit rate over ${MOST_ERRORS}/second burst 100 packets drop`,
          `ether saddr != @peers ${ip} dscp set ${mark}`,
          `ether saddr @peers ${ip} dscp < ${FIRST_MARK} drop`,
          `${ip} dscp ${FIRST_MARK + next!} ether saddr @peers accept`,
          `ether saddr set ${mac}`,
          `ether daddr set ${nextMac}`,
          `dup to "${device}"`,
        ]),
    "accept",
  ]);
}

function eachProtocol(filter: Filter, parts: Parts, version: 4 | 6, protocol: "tcp" | "udp"): void {
  const { chains, sets } = parts;
  const { address, ip } = WORDS[version];
  const name = `${protocol}${version}`;
  const at = `netdev ${filter.table}`;
  const type = `type ${address} . inet_service . ${address} . inet_service; flags dynamic,timeout;`;
  const key = flow(version, protocol);
  const kept = (set: string, size: number, timeout: string): void => {
    sets.push({
      name: set,
      line: `add set ${at} ${set} { ${type} size ${size}; timeout ${timeout}; }`,
      flush: false,
      elements: [],
    });
  };
  kept(`${name}_flows`, MOST_FLOWS, protocol === "tcp" ? TCP_KNOWN : UDP_KNOWN);
  if (protocol === "tcp") kept(`${name}_closing`, MOST_CLOSING, TCP_BRIEF);
  const known = `${key} @${name}_flows`;
  const opens = "tcp flags & (syn|ack) == syn";
  const buckets = filter.rules
    .filter((rule) => rule.protocol === protocol)
    .map((rule) => bucketRule(filter, rule, version));
  chains.set(name, [
    ...(protocol === "udp"
      ? [`${known} update @${name}_flows { ${key} } goto own`]
      : [
          `tcp flags & (fin|rst) != 0 ${known} update @${name}_closing { ${key} }`,
          `tcp flags & (fin|rst) != 0 ${known} delete @${name}_flows { ${key} } goto own`,
          `tcp flags & (syn|ack) != syn ${known} update @${name}_flows { ${key} } goto own`,
          `tcp flags & (syn|ack) != syn ${key} @${name}_closing goto own`,
        ]),
    ...buckets,
    "counter name refused drop",
  ]);
  chains.set(`${name}_bucket`, [
    `ether saddr @peers goto ${name}_peer`,
    `meta mark @mine goto ${name}_mine`,
    `${ip} dscp >= ${FIRST_MARK} ${ip} dscp set 0`,
    "meta mark vmap @owner",
    "counter name refused drop",
  ]);
  const next = nextOf(filter);
  const round =
    next === null
      ? ["goto own"]
      : [
          "counter name rounds",
          `${ip} dscp set ${FIRST_MARK + filter.me} meta mark vmap @former`,
          `limit rate over ${MOST_ROUNDS}/second burst ${MOST_ROUNDS / 4} packets ${ip} dscp set 0 goto own`,
          `goto to_${next}`,
        ];
  // The bucket is this node's, and the flow is not known here.
  chains.set(`${name}_mine`, [
    ...(protocol === "tcp"
      ? [`${opens} update @${name}_flows { ${key} timeout ${TCP_BRIEF} }`, `${opens} goto own`]
      : [`meta mark != @moved update @${name}_flows { ${key} }`, "meta mark != @moved goto own"]),
    ...round,
  ]);
  chains.set(`${name}_peer`, fromPeer(filter, version, protocol));
}

/** A packet that another node handed over, of a flow that is not known here. */
function fromPeer(filter: Filter, version: 4 | 6, protocol: "tcp" | "udp"): string[] {
  const { me, peers } = filter;
  const { ip } = WORDS[version];
  const name = `${protocol}${version}`;
  const next = nextOf(filter);
  const key = flow(version, protocol);
  const isNew = protocol === "tcp" ? "tcp flags & (syn|ack) == syn" : "meta mark != @moved";
  const remember = `update @${name}_flows { ${key} timeout ${protocol === "tcp" ? TCP_BRIEF : UDP_KNOWN} }`;
  const others = peers.map(({ number }) => `${FIRST_MARK + number} : goto to_${next}`);
  // Not the next after the one where it began: it was asked first.
  const askedFirst = peers.flatMap(({ number, mac }) => {
    const begins = nextOf(filter, number);
    return begins === me ? [] : [`${ip} dscp ${FIRST_MARK + number} ether saddr ${mac} goto to_${begins}`];
  });
  return [
    // Not on its way round: this node has the bucket, or the other is behind, or this one is.
    `${ip} dscp < ${FIRST_MARK} meta mark @mine goto ${name}_mine`,
    ...(next === null
      ? []
      : [`${ip} dscp < ${FIRST_MARK} ${ip} dscp set ${FIRST_MARK + me} goto to_${next}`]),
    `${isNew} meta mark @mine ${ip} dscp set 0 ${remember}`,
    `${isNew} meta mark @mine ${ip} dscp < ${FIRST_MARK} goto own`,
    // It has been everywhere: nobody's.
    `${ip} dscp ${FIRST_MARK + me} meta mark @mine ${remember}`,
    `${ip} dscp ${FIRST_MARK + me} meta mark @mine ${ip} dscp set 0 goto own`,
    ...askedFirst,
    ...(others.length === 0 ? [] : [`${ip} dscp vmap { ${others.join(", ")} }`]),
    "drop",
  ];
}

/** Finds the bucket of a packet. */
function bucketRule({ seed }: Filter, rule: FilterRule, version: 4 | 6): string {
  const { protocol, ports, affinity } = rule;
  const client = `${WORDS[version].ip} saddr${affinity === "connection" ? ` . ${protocol} sport` : ""}`;
  return `${protocol} dport { ${ports.join(", ")} } meta mark set jhash ${client} mod ${BUCKETS} seed ${seed} goto ${protocol}${version}_bucket`;
}

/** Empty chains for what is asked of this machine, and for what it says. */
const bothWays = (at: string): string[] => [
  `add chain ${at} asked { type filter hook input priority 0 ; policy accept ; }`,
  `add chain ${at} says { type filter hook output priority -10 ; policy accept ; }`,
  `flush chain ${at} asked`,
  `flush chain ${at} says`,
];

/**
 * Who answers for the address. All nodes have it, one says so; and none asks for its neighbours in its name, since those would learn from the
 * question (what arp_announce is for, without a change of the machine's settings that a crash would leave behind).
 */
function arp({ table, device, addresses }: Filter): string[] {
  const at = `arp ${table}`;
  const own = addresses.filter(({ version }) => version === 4);
  return [
    ...bothWays(at),
    ...own.flatMap(({ host, own, answers }) => [
      `add rule ${at} asked ${answers ? `iifname != "${device}" ` : ""}arp daddr ip ${host} drop`,
      ...(own === null
        ? []
        : [`add rule ${at} says arp operation request arp saddr ip ${host} arp saddr ip set ${own}`]),
      ...(answers ? [] : [`add rule ${at} says arp saddr ip ${host} drop`]),
    ]),
  ];
}

/** The same for IPv6. */
function discovery({ table, device, addresses }: Filter): string[] {
  const at = `ip6 ${table}`;
  const own = addresses.filter(({ version }) => version === 6);
  return [
    ...bothWays(at),
    ...own.flatMap(({ host, own, answers }) => [
      `add rule ${at} asked ${answers ? `iifname != "${device}" ` : ""}icmpv6 type nd-neighbor-solicit @th,64,128 ${hex(host)} drop`,
      ...(own === null
        ? []
        : [`add rule ${at} says icmpv6 type nd-neighbor-solicit ip6 saddr ${host} ip6 saddr set ${own}`]),
      ...(answers ? [] : [`add rule ${at} says icmpv6 type nd-neighbor-advert @th,64,128 ${hex(host)} drop`]),
    ]),
  ];
}

/** An IPv6 address as one number. */
function hex(host: string): string {
  return `0x${Buffer.from(parseCidr(host).bytes).toString("hex")}`;
}
