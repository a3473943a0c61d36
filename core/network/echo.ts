/**
 * ICMP echo, for IPv4 and IPv6: icmp(7), icmpv6 (RFC 4443). A ping socket where the kernel lets this group have one, else a raw socket (root).
 */
import { randomBytes } from "node:crypto";
import { check } from "../platform/linux/errno.ts";
import { watchDescriptor } from "../platform/linux/event_descriptor.ts";
import { allocate, close, connect, socket, writeFd } from "../platform/linux/libc.ts";
import { parseCidr } from "./address.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const REQUEST = { 4: 8, 6: 128 } as const;
const REPLY = { 4: 0, 6: 129 } as const;
const PROTOCOL = { 4: 1, 6: 58 } as const;
const HEADER_BYTES = 8;
const TOKEN_BYTES = 16;

const scratch = allocate(64);

/** An open exchange with one address. */
export interface Echo {
  /** Asks once more. Throws when the kernel refuses (no route, for one). */
  ask(): void;
  close(): void;
}

/** Begins to ask `address`; `onReply` is called for each answer. Throws. */
export function openEcho(address: string, onReply: () => void): Echo {
  const { version, bytes } = parseCidr(address);
  const what = `cannot ping ${address}`;
  const family = version === 4 ? AF_INET : AF_INET6;
  const open = (type: number): number =>
    socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, PROTOCOL[version]);
  const ping = open(SOCK_DGRAM);
  const fd = ping >= 0 ? ping : check(open(SOCK_RAW), `${what} (root or CAP_NET_RAW is needed)`);
  const length = version === 4 ? 16 : 28;
  scratch.bytes.fill(0);
  scratch.view.setUint16(0, family, true);
  scratch.bytes.set(bytes, version === 4 ? 4 : 8);
  try {
    check(connect(fd, scratch.address, length), what);
  } catch (error) {
    close(fd);
    throw error;
  }
  const token = randomBytes(TOKEN_BYTES);
  let isOpen = true;
  const stop = watchDescriptor(
    fd,
    (datagram) => {
      if (isReply(datagram, version, token)) onReply();
    },
    // The kernel refused (a router says that there is no way): the descriptor is closed, and its number may be another file's by now.
    () => {
      isOpen = false;
    },
  );
  let sequence = 0;
  return {
    ask: () => {
      if (!isOpen) throw new Error(`${what}: it cannot be reached`);
      const packet = echoRequest(version, ++sequence, token);
      scratch.bytes.set(packet);
      check(writeFd(fd, scratch.address, packet.length), what);
    },
    close: stop,
  };
}

/** The kernel puts the checksum into everything but a raw IPv4 packet, where it does no harm to have it right. */
function echoRequest(version: 4 | 6, sequence: number, token: Uint8Array): Uint8Array {
  const packet = new Uint8Array(HEADER_BYTES + TOKEN_BYTES);
  const view = new DataView(packet.buffer);
  packet[0] = REQUEST[version];
  view.setUint16(4, process.pid & 0xffff);
  view.setUint16(6, sequence);
  packet.set(token, HEADER_BYTES);
  let sum = 0;
  for (let at = 0; at < packet.length; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  if (version === 4) view.setUint16(2, ~sum & 0xffff);
  return packet;
}

/** Raw IPv4 sockets see the IP header, and everybody's ICMP. */
function isReply(datagram: Uint8Array, version: 4 | 6, token: Uint8Array): boolean {
  const hasHeader = version === 4 && datagram[0]! >> 4 === 4 && datagram.length > HEADER_BYTES + TOKEN_BYTES;
  const icmp = hasHeader ? datagram.subarray((datagram[0]! & 15) * 4) : datagram;
  return icmp[0] === REPLY[version] && Buffer.compare(icmp.subarray(HEADER_BYTES), token) === 0;
}
