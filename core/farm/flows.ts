/**
 * What becomes of the flows of one protocol, as nftables text: those that are known here, those that begin, and those that another node may know. Pure.
 */
import { BUCKETS } from "./assignment.ts";
import { FIRST_MARK, type Filter, type FilterRule, WORDS } from "./filter.ts";
import { ask, isQuestionOrAnswer, questions } from "./questions.ts";

/** Flows that each set has room for; the kernel takes 100 bytes for each that is there. */
const MOST_FLOWS = 262_144;
const MOST_FEW = 65_536;
/** How long a flow is remembered without a packet: a TCP connection, one that has begun, one that was closed, one that nobody knew or that another node said to have, a UDP exchange. */
const TCP_KNOWN = "1h";
const TCP_BRIEF = "1m";
const TCP_CLOSED = "10s";
const TCP_ASKED = "10s";
const UDP_KNOWN = "3m";
/**
 * Packets a second that go round. Where a bucket's flows are known to be elsewhere, more are lost, and sent again; where they are not, more are
 * answered here, as without a farm: it is a flood, or there were more flows than the sets have room for.
 */
export const MOST_MOVED = 200_000;
const MOST_ROUNDS = 20_000;
const OPENS = "tcp flags & (syn|ack) == syn";

/** What makes a flow, as the sets have it. */
function flow(version: 4 | 6, protocol: "tcp" | "udp"): string {
  const { ip } = WORDS[version];
  return `${ip} saddr . ${protocol} sport . ${ip} daddr . ${protocol} dport`;
}

/** Chain name and its rules; sets and maps with what they hold. */
export interface Parts {
  chains: Map<string, string[]>;
  sets: { line: string; name: string; flush: boolean; elements: readonly string[] }[];
}

/** Of the nodes that this one hears, the one that it asks after another, and first of all after itself; null: it hears none. */
function nextOf({ me, nodes, peers }: Filter, from = me): number | null {
  const steps = peers.map(({ number }) => (number - from + nodes - 1) % nodes);
  return steps.length === 0 ? null : (from + Math.min(...steps) + 1) % nodes;
}

/** By bucket, the MAC address of the node that is asked last; it may be one that is not heard any more. */
export function lastAsked(filter: Filter): string[] {
  if (filter.peers.length === 0) return [];
  const lastBefore = Map.groupBy([...filter.peers, ...filter.absent], ({ number }) => nextOf(filter, number));
  const first = nextOf(filter);
  return Array.from({ length: BUCKETS }, (_, bucket) => {
    const last = lastBefore.get(filter.former.get(bucket)?.number ?? first) ?? [];
    return last.map(({ mac }) => `${bucket} . ${mac}`);
  }).flat();
}

/** In `mode: invisible`, what came by the virtual MAC address was told to its owner, too. */
export function unlessFlooded({ virtualMac }: Filter): string[] {
  return virtualMac === undefined ? [] : [`ether daddr ${virtualMac} drop`];
}

/** The sets in which a protocol's flows are remembered. */
function memory(filter: Filter, { sets }: Parts, version: 4 | 6, protocol: "tcp" | "udp"): void {
  const { address } = WORDS[version];
  const type = `type ${address} . inet_service . ${address} . inet_service; flags dynamic,timeout;`;
  const keep = (what: string, size: number, timeout: string): void => {
    const name = `${protocol}${version}_${what}`;
    const line = `add set netdev ${filter.table} ${name} { ${type} size ${size}; timeout ${timeout}; }`;
    sets.push({ name, line, flush: false, elements: [] });
  };
  keep("flows", MOST_FLOWS, protocol === "tcp" ? TCP_KNOWN : UDP_KNOWN);
  if (protocol === "udp") return;
  // More than 26 000 that end each second, before what is said last is asked for elsewhere.
  keep("closing", MOST_FLOWS, TCP_CLOSED);
  keep("young", MOST_FEW, TCP_BRIEF);
  keep("asked", MOST_FEW, TCP_ASKED);
  keep("elsewhere", MOST_FEW, TCP_ASKED);
}

/** The chains and sets of a protocol; a packet enters at the chain of the protocol's and the version's name, such as `tcp4`. */
export function eachProtocol(filter: Filter, parts: Parts, version: 4 | 6, protocol: "tcp" | "udp"): void {
  memory(filter, parts, version, protocol);
  const { chains } = parts;
  const { ip } = WORDS[version];
  const name = `${protocol}${version}`;
  const key = flow(version, protocol);
  const known = `${key} @${name}_flows`;
  const buckets = filter.rules
    .filter((rule) => rule.protocol === protocol)
    .map((rule) => bucketRule(filter, rule, version));
  const isInvisible = filter.virtualMac !== undefined;
  // It had that from the client, and another only asks whether it knows it.
  const told = (set: string) =>
    `ether saddr @members ${ip} dscp >= ${FIRST_MARK} ${ip} dscp != ${FIRST_MARK + filter.me} ${key} @${name}_${set} drop`;
  const sets = protocol === "tcp" ? ["flows", "closing"] : ["flows"];
  const asks = protocol === "tcp";
  if (asks) chains.set(`${name}_question`, questions(filter, version, { name, key, sets }));
  chains.set(name, [
    ...(asks ? [isQuestionOrAnswer(version, `${name}_question`)] : []),
    ...(isInvisible ? sets.map(told) : []),
    ...(protocol === "udp"
      ? [`${known} update @${name}_flows { ${key} } goto own`]
      : [
          `tcp flags & (fin|rst) != 0 ${known} update @${name}_closing { ${key} }`,
          `tcp flags & (fin|rst) != 0 ${known} delete @${name}_flows { ${key} } goto own`,
          `tcp flags & (syn|ack) != syn ${known} update @${name}_flows { ${key} } goto own`,
          `tcp flags & (syn|ack) != syn ${key} @${name}_closing update @${name}_closing { ${key} } goto own`,
        ]),
    ...buckets,
    "counter name refused drop",
  ]);
  chains.set(`${name}_bucket`, [
    `ether saddr @members goto ${name}_peer`,
    `meta mark @mine goto ${name}_mine`,
    // Another node answers this one: what was begun here by the same ports is over.
    ...(protocol === "tcp"
      ? sets.map((set) => `${OPENS} ${key} @${name}_${set} delete @${name}_${set} { ${key} }`)
      : []),
    ...unlessFlooded(filter),
    `${ip} dscp >= ${FIRST_MARK} ${ip} dscp set 0`,
    "meta mark vmap @owner",
    "counter name refused drop",
  ]);
  const next = nextOf(filter);
  const round =
    next === null
      ? [`goto ${name}_nobody`]
      : [
          "counter name rounds",
          `${ip} dscp set ${FIRST_MARK + filter.me} meta mark vmap @former`,
          `limit rate over ${MOST_ROUNDS}/second burst ${MOST_ROUNDS / 4} packets ${ip} dscp set 0 goto own`,
          `goto to_${next}`,
        ];
  // The bucket is this node's, and the flow is not known here.
  chains.set(`${name}_mine`, [
    ...(isInvisible && filter.settled === false
      ? []
      : protocol === "tcp"
        ? [`${OPENS} update @${name}_flows { ${key} timeout ${TCP_BRIEF} }`, `${OPENS} goto own`]
        : [`meta mark != @moved update @${name}_flows { ${key} }`, "meta mark != @moved goto own"]),
    ...round,
  ]);
  chains.set(`${name}_peer`, fromPeer(filter, version, protocol));
  chains.set(`${name}_back`, comesBack(filter, version, protocol));
  if (asks) chains.set(`${name}_ask`, ask(filter, version));
  chains.set(`${name}_nobody`, ofNobody(filter, version, protocol));
}

/**
 * No node that takes part knows the flow. One that this node does not hear may: where a network that was cut in two heals, packets are quicker than
 * heartbeats. So the first packet in the middle of a connection is only noted, and all others are asked, heard or not. While none says that it has
 * the connection, those that come for a while are treated alike; then the stack answers.
 */
function ofNobody(filter: Filter, version: 4 | 6, protocol: "tcp" | "udp"): string[] {
  const { ip } = WORDS[version];
  const name = `${protocol}${version}`;
  const key = flow(version, protocol);
  const take = [
    `update @${name}_flows { ${key} timeout ${protocol === "tcp" ? TCP_BRIEF : UDP_KNOWN} } ${ip} dscp set 0`,
    "goto own",
  ];
  if (protocol === "udp") return take;
  return [
    ...take.map((rule) => `${OPENS} ${rule}`),
    // Nothing is noted that is not asked.
    `limit rate over ${MOST_ROUNDS}/second burst ${MOST_ROUNDS / 4} packets drop`,
    ...["elsewhere", "young"].map((set) => `${key} @${name}_${set} goto ${name}_ask`),
    ...take.map((rule) => `${key} @${name}_asked ${rule}`),
    `add @${name}_asked { ${key} } add @${name}_young { ${key} timeout ${filter.doubtMs}ms } goto ${name}_ask`,
    "drop",
  ];
}

/** A packet that another node handed over, of a flow that is not known here. That one may hear this node and not be heard. */
function fromPeer(filter: Filter, version: 4 | 6, protocol: "tcp" | "udp"): string[] {
  const { me, peers, absent, virtualMac } = filter;
  const { ip } = WORDS[version];
  const name = `${protocol}${version}`;
  const next = nextOf(filter);
  const key = flow(version, protocol);
  const isNew = protocol === "tcp" ? OPENS : "meta mark != @moved";
  const remember = `update @${name}_flows { ${key} timeout ${protocol === "tcp" ? TCP_BRIEF : UDP_KNOWN} }`;
  const members = [...peers, ...absent];
  const askers = members.map(({ number }) => `${FIRST_MARK + number} : goto to_${number}`);
  return [
    `${ip} dscp ${FIRST_MARK + me} goto ${name}_back`,
    // Nobody was asked yet: this node has the bucket, or the other is behind, or this one is.
    `${ip} dscp < ${FIRST_MARK} meta mark @mine goto ${name}_mine`,
    ...(next === null
      ? []
      : [`${ip} dscp < ${FIRST_MARK} ${ip} dscp set ${FIRST_MARK + me} goto to_${next}`]),
    ...(virtualMac === undefined
      ? [
          `${isNew} meta mark @mine ${ip} dscp set 0 ${remember}`,
          `${isNew} meta mark @mine ${ip} dscp < ${FIRST_MARK} goto own`,
        ]
      : filter.settled === false
        ? // Both asked at once: the lower number goes on.
          members
            .filter(({ number }) => number > me)
            .map(({ number }) => `${isNew} meta mark @mine ${ip} dscp ${FIRST_MARK + number} drop`)
        : // It was told the same by the client, and answers that without a question.
          [`${isNew} meta mark @mine drop`]),
    ...(askers.length === 0 ? [] : [`${ip} dscp vmap { ${askers.join(", ")} }`]),
    "drop",
  ];
}

/** A packet that this node asked another about, which does not know its flow. */
function comesBack(filter: Filter, version: 4 | 6, protocol: "tcp" | "udp"): string[] {
  const { peers, absent, serves, virtualMac } = filter;
  const name = `${protocol}${version}`;
  const isNew = protocol === "tcp" ? OPENS : "meta mark != @moved";
  const onwards = [...peers, ...absent].map(
    ({ number, mac }) => `${mac} : goto to_${nextOf(filter, number)}`,
  );
  return [
    ...(peers.length === 0
      ? []
      : [`meta mark . ether saddr != @last ether saddr vmap { ${onwards.join(", ")} }`]),
    `meta mark @mine goto ${name}_nobody`,
    // What opens a flow comes back to a node without its bucket when the one that has it now does not know that yet.
    ...(serves && virtualMac === undefined ? [`${isNew} goto ${name}_nobody`] : []),
    // It is another's to say that it is nobody's.
    ...(protocol === "tcp" ? [`limit rate ${MOST_ROUNDS}/second goto ${name}_ask`] : []),
    "drop",
  ];
}

/** Finds the bucket of a packet. */
function bucketRule({ seed }: Filter, rule: FilterRule, version: 4 | 6): string {
  const { protocol, ports, affinity } = rule;
  const client = `${WORDS[version].ip} saddr${affinity === "connection" ? ` . ${protocol} sport` : ""}`;
  return `${protocol} dport { ${ports.join(", ")} } meta mark set jhash ${client} mod ${BUCKETS} seed ${seed} goto ${protocol}${version}_bucket`;
}
