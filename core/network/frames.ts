/**
 * ARP and neighbour discovery, as bytes: who has an address, and who has it from now on.
 */
import { sameBytes } from "./address.ts";

const BROADCAST = new Uint8Array(6).fill(0xff);
const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;
const ICMPV6 = 58;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const OPTION_TARGET_MAC = 2;
/** Neighbour discovery is believed only from the same link. */
const HOP_LIMIT = 255;
const OVERRIDE = 0x20;
const ALL_NODES = Uint8Array.from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/** Operations of ARP. */
const ARP_REQUEST = 1;
const ARP_REPLY = 2;

function ethernet(to: Uint8Array, from: Uint8Array, type: number, payload: Uint8Array): Uint8Array {
  return Uint8Array.from([...to, ...from, type >> 8, type & 255, ...payload]);
}

/** An ARP frame to everyone. */
function arp(
  operation: number,
  mac: Uint8Array,
  sender: Uint8Array,
  targetMac: Uint8Array,
  target: Uint8Array,
  claimed = mac,
): Uint8Array {
  const head = [0, 1, 8, 0, 6, 4, 0, operation];
  return ethernet(
    BROADCAST,
    mac,
    ETHERTYPE_ARP,
    Uint8Array.from([...head, ...claimed, ...sender, ...targetMac, ...target]),
  );
}

/** Asks who has `address`, without claiming it: nobody's table changes by the question. */
export function arpProbe(mac: Uint8Array, address: Uint8Array): Uint8Array {
  return arp(ARP_REQUEST, mac, new Uint8Array(4), new Uint8Array(6), address);
}

/** Tells everyone that `address` is at `claimed`. Some equipment only learns from requests, some only from replies. */
export function gratuitousArp(mac: Uint8Array, address: Uint8Array, claimed = mac): Uint8Array[] {
  return [
    arp(ARP_REQUEST, mac, address, new Uint8Array(6), address, claimed),
    arp(ARP_REPLY, mac, address, BROADCAST, address, claimed),
  ];
}

/** The MAC address that an ARP frame claims `address` for, other than `mac`; null when it claims nothing. */
export function arpClaim(frame: Uint8Array, address: Uint8Array, mac: Uint8Array): Uint8Array | null {
  if (frame.length < ETHERNET_BYTES + 28 || frame[12] !== 0x08 || frame[13] !== 0x06) return null;
  const claimant = frame.slice(22, 28);
  return sameBytes(frame.subarray(28, 32), address) && !sameBytes(claimant, mac) ? claimant : null;
}

/** Sum of 16-bit words, as the Internet checksum wants it. */
function checksum(source: Uint8Array, target: Uint8Array, message: Uint8Array): number {
  const pseudo = [
    ...source,
    ...target,
    0,
    0,
    message.length >> 8,
    message.length & 255,
    0,
    0,
    0,
    ICMPV6,
    ...message,
  ];
  let sum = 0;
  for (let at = 0; at < pseudo.length; at += 2) sum += (pseudo[at]! << 8) | (pseudo[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

function icmpv6(mac: Uint8Array, source: Uint8Array, target: Uint8Array, message: Uint8Array): Uint8Array {
  const sum = checksum(source, target, message);
  message[2] = sum >> 8;
  message[3] = sum & 255;
  const header = [
    0x60,
    0,
    0,
    0,
    message.length >> 8,
    message.length & 255,
    ICMPV6,
    HOP_LIMIT,
    ...source,
    ...target,
  ];
  const multicastMac = Uint8Array.from([0x33, 0x33, ...target.subarray(12)]);
  return ethernet(multicastMac, mac, ETHERTYPE_IPV6, Uint8Array.from([...header, ...message]));
}

/** Asks who has an IPv6 address, as duplicate address detection does: from nobody, to those who might be it. */
export function neighbourProbe(mac: Uint8Array, address: Uint8Array): Uint8Array {
  const solicitedNode = Uint8Array.from([
    0xff,
    2,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    0xff,
    ...address.subarray(13),
  ]);
  const message = Uint8Array.from([NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0, ...address]);
  return icmpv6(mac, new Uint8Array(16), solicitedNode, message);
}

/** Tells all nodes that an IPv6 address is at `claimed`, against what they remember. */
export function neighbourAdvertisement(mac: Uint8Array, address: Uint8Array, claimed = mac): Uint8Array {
  const head = [NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
  return icmpv6(
    mac,
    address,
    ALL_NODES,
    Uint8Array.from([...head, ...address, OPTION_TARGET_MAC, 1, ...claimed]),
  );
}

/** The MAC address that a neighbour advertisement claims `address` for, other than `mac`; null when it claims nothing. */
export function neighbourClaim(frame: Uint8Array, address: Uint8Array, mac: Uint8Array): Uint8Array | null {
  const message = ETHERNET_BYTES + IPV6_BYTES;
  if (frame.length < message + 24 || frame[12] !== 0x86 || frame[13] !== 0xdd) return null;
  if (frame[ETHERNET_BYTES + 6] !== ICMPV6 || frame[message] !== NEIGHBOUR_ADVERTISEMENT) return null;
  if (!sameBytes(frame.subarray(message + 8, message + 24), address)) return null;
  const option = message + 24;
  const claimant =
    frame[option] === OPTION_TARGET_MAC ? frame.slice(option + 2, option + 8) : frame.slice(6, 12);
  return sameBytes(claimant, mac) ? null : claimant;
}
