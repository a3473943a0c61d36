/**
 * Connections that end at an address: reset when the address leaves, so that clients do not wait for a machine that
 * no longer answers them.
 */
import { isRefusal, NETLINK_SOCK_DIAG, Netlink, type NetlinkMessage } from "../platform/linux/netlink.ts";
import type { Cidr } from "./address.ts";

const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;
const TCP_LISTEN = 10;
/** Every state but LISTEN: who listens, listens for the next time too. */
const ALL_BUT_LISTEN = 0xfff & ~(1 << TCP_LISTEN);
const REQUEST_BYTES = 56;
/** Where the socket's identity lies in a request, and in what a dump answers. */
const IDENTITY_IN_REQUEST = 8;
const IDENTITY_IN_ANSWER = 4;
const IDENTITY_BYTES = 48;
const SOURCE_IN_IDENTITY = 4;
const V4_MAPPED = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);

function request(family: number, identity: Uint8Array | null): Uint8Array {
  const body = new Uint8Array(REQUEST_BYTES);
  body[0] = family;
  body[1] = IPPROTO_TCP;
  new DataView(body.buffer).setUint32(4, ALL_BUT_LISTEN, true);
  if (identity) body.set(identity, IDENTITY_IN_REQUEST);
  return body;
}

function socketsOf(netlink: Netlink, family: number): NetlinkMessage[] {
  try {
    return netlink.dump(SOCK_DIAG_BY_FAMILY, request(family, null), "cannot list the TCP connections");
  } catch (error) {
    // A kernel without IPv6 has none of its connections either.
    if (family === AF_INET6 && isRefusal(error, "ENOENT")) return [];
    throw error;
  }
}

/** True when a socket's local address is `address`, also as an IPv6 socket sees an IPv4 client. */
function isFrom(source: Uint8Array, family: number, address: Cidr): boolean {
  if (address.version === 6)
    return family === AF_INET6 && address.bytes.every((byte, i) => byte === source[i]);
  const offset = family === AF_INET ? 0 : V4_MAPPED.length;
  if (family === AF_INET6 && !V4_MAPPED.every((byte, i) => byte === source[i])) return false;
  return address.bytes.every((byte, i) => byte === source[offset + i]);
}

/** The states of RFC 9293 in which somebody may still wait for something of ours: all but FIN-WAIT-2, TIME-WAIT, CLOSED and LISTEN. */
const ALIVE: ReadonlySet<number> = new Set([1, 3, 4, 8, 9, 11]);

/** How many TCP connections of this node with clients of `address` are alive. Throws. */
export function countConnections(address: Cidr): number {
  const netlink = new Netlink(NETLINK_SOCK_DIAG);
  try {
    return [AF_INET, AF_INET6]
      .flatMap((family) => socketsOf(netlink, family))
      .filter(({ body }) => {
        const identity = body.subarray(IDENTITY_IN_ANSWER, IDENTITY_IN_ANSWER + IDENTITY_BYTES);
        const source = identity.subarray(SOURCE_IN_IDENTITY, SOURCE_IN_IDENTITY + 16);
        return ALIVE.has(body[1]!) && isFrom(source, body[0]!, address);
      }).length;
  } finally {
    netlink.close();
  }
}

/**
 * Resets the TCP connections of this node whose local address is `address`, and returns how many. Both ends learn it at once,
 * provided that the address is still there to send from. Throws when the kernel cannot (no CONFIG_INET_DIAG_DESTROY).
 */
export function resetConnections(address: Cidr): number {
  const netlink = new Netlink(NETLINK_SOCK_DIAG);
  let count = 0;
  try {
    for (const family of [AF_INET, AF_INET6]) {
      const sockets = socketsOf(netlink, family);
      for (const { body } of sockets) {
        const identity = body.slice(IDENTITY_IN_ANSWER, IDENTITY_IN_ANSWER + IDENTITY_BYTES);
        if (!isFrom(identity.subarray(SOURCE_IN_IDENTITY, SOURCE_IN_IDENTITY + 16), body[0]!, address))
          continue;
        try {
          netlink.request(
            SOCK_DESTROY,
            0,
            request(body[0]!, identity),
            `cannot reset a connection of ${address.host}`,
          );
          count++;
        } catch (error) {
          // It ended by itself in between.
          if (!isRefusal(error, "ENOENT")) throw error;
        }
      }
    }
  } finally {
    netlink.close();
  }
  return count;
}
