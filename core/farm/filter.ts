/**
 * What the filter of one farm on one node is made from, and the words that nftables has for it.
 */
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
  /** Of `mode: invisible`: the MAC address that every node hears and none speaks with. */
  virtualMac?: string | undefined;
  /** Of `mode: invisible`: false while another node that takes part is not known to go by the same assignment. */
  settled?: boolean;
  /** How long a packet of a connection that nobody knows is only noted, ms: more than it takes until a node that can be reached is heard. */
  doubtMs: number;
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
  /** This node answers clients, be it only those that it has. */
  serves: boolean;
  /** The others that take part now, by number. */
  peers: readonly { number: number; mac: string }[];
  /** Those that are not heard, and where each was when it was: they may live, have flows, and hear this node. */
  absent: readonly { number: number; mac: string }[];
  /** By bucket, the number of its node; empty when nobody serves. */
  owners: readonly number[];
  /** Buckets of this node whose flows another node that lives may still have: that one's number, and whether UDP exchanges may be among them. */
  former: ReadonlyMap<number, { number: number; udp: boolean }>;
}

/** DSCP from here on are marks. */
export const FIRST_MARK = 32;

/** Words of one version of IP. */
export const WORDS = {
  4: { ip: "ip", hops: "ip ttl", icmp: "icmp", address: "ipv4_addr", fragment: "ip frag-off & 0x3fff != 0" },
  6: {
    ip: "ip6",
    hops: "ip6 hoplimit",
    icmp: "icmpv6",
    address: "ipv6_addr",
    fragment: "exthdr frag exists",
  },
} as const;
/** The versions of IP that it has addresses of. */
export function versions({ addresses }: Filter): (4 | 6)[] {
  return ([4, 6] as const).filter((version) => addresses.some((address) => address.version === version));
}

/** The protocols that its rules name. */
export function protocols({ rules }: Filter): ("tcp" | "udp")[] {
  return (["tcp", "udp"] as const).filter((protocol) => rules.some((rule) => rule.protocol === protocol));
}
