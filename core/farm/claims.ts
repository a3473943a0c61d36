/**
 * What a node says and asks about the virtual addresses, in ARP and in neighbour discovery, as nftables text. Pure.
 */
import { parseCidr, parseMac } from "../network/address.ts";
import type { Filter } from "./filter.ts";

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
export function arp({ table, device, virtualMac, addresses }: Filter): string[] {
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
      ...(virtualMac === undefined
        ? []
        : [`add rule ${at} says arp saddr ip ${host} arp saddr ether set ${virtualMac}`]),
    ]),
  ];
}

/** The same for IPv6. */
export function discovery({ table, device, mac, virtualMac, addresses }: Filter): string[] {
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
      ...(virtualMac === undefined ? [] : [`add rule ${at} says ${advertised(host, mac, virtualMac)}`]),
    ]),
  ];
}

/**
 * The option of an advertisement (RFC 4861, 4.6.1: type 2, length 1) tells the virtual MAC address. nft(8) does not mend a checksum for that, but it
 * does when it writes a source address: so the source becomes another first, unseen, whose difference from the right one makes up for the option's.
 */
function advertised(host: string, mac: string, virtualMac: string): string {
  const source = parseCidr(host).bytes;
  const view = new DataView(source.slice().buffer);
  const last = view.byteLength - 2;
  const difference = sumOf(parseMac(virtualMac)) - sumOf(parseMac(mac));
  view.setUint16(last, (((view.getUint16(last) - difference) % 0xffff) + 0xffff) % 0xffff);
  const other = `0x${Buffer.from(view.buffer).toString("hex")}`;
  return `icmpv6 type nd-neighbor-advert @th,64,128 ${hex(host)} @th,192,16 0x0201 @th,208,48 set 0x${virtualMac.replaceAll(":", "")} @nh,64,128 set ${other} ip6 saddr set ${host}`;
}

/** Sum of the 16-bit words of a MAC address. */
function sumOf(mac: Uint8Array): number {
  return [0, 2, 4].reduce((sum, at) => sum + ((mac[at]! << 8) | mac[at + 1]!), 0);
}

/** An IPv6 address as one number. */
function hex(host: string): string {
  return `0x${Buffer.from(parseCidr(host).bytes).toString("hex")}`;
}
