/**
 * Interfaces of this node and the addresses on them, through rtnetlink.
 */
import { readFileSync, writeFileSync } from "node:fs";
import {
  attribute,
  attributes,
  isRefusal,
  joined,
  NETLINK_ROUTE,
  Netlink,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  number32,
} from "../platform/linux/netlink.ts";
import { type Cidr, sameBytes } from "./address.ts";

const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const RTA_PREFSRC = 7;
const RTA_CACHEINFO = 12;
const RTNH_F_ONLINK = 4;
const AF_BRIDGE = 7;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;
const NTF_SELF = 2;
const ROUTE_HEADER_BYTES = 12;
/** Routes that the kernel makes by itself for an address: they come and go with it. */
const RTPROT_KERNEL = 2;
const ARPHRD_ETHER = 1;
const IFF_UP = 1;
const IFF_RUNNING = 0x40;
const FOREVER = 0xffffffff;
const family = (version: 4 | 6): number => (version === 4 ? 2 : 10);

/** A network interface. */
export interface Link {
  index: number;
  name: string;
  mac: Uint8Array;
  up: boolean;
  /** It has a carrier, or needs none. */
  running: boolean;
  /** True where ARP and neighbour discovery frames can be made by hand. */
  ethernet: boolean;
}

/** An address on an interface. */
export interface Assigned {
  index: number;
  version: 4 | 6;
  bytes: Uint8Array;
  prefix: number;
}

/** A route as the kernel described it, kept to be put back. */
export type SavedRoute = Uint8Array;

/** The addresses of this node's interfaces, read and changed. Synchronous; every change is harmless when repeated. */
export class Interfaces {
  readonly #netlink = new Netlink(NETLINK_ROUTE);

  /** All interfaces. */
  links(): Link[] {
    return this.#netlink
      .dump(RTM_GETLINK, new Uint8Array(16), "cannot list the interfaces")
      .map(({ body }) => {
        const view = new DataView(body.buffer, body.byteOffset);
        const found = attributes(body, 16);
        const mac = found.get(IFLA_ADDRESS) ?? new Uint8Array(0);
        return {
          index: view.getInt32(4, true),
          name: new TextDecoder().decode(found.get(IFLA_IFNAME)).replace(/\0.*$/s, ""),
          mac,
          up: (view.getUint32(8, true) & IFF_UP) !== 0,
          running: (view.getUint32(8, true) & IFF_RUNNING) !== 0,
          ethernet: view.getUint16(2, true) === ARPHRD_ETHER && mac.length === 6,
        };
      });
  }

  /** All addresses of both versions. */
  addresses(): Assigned[] {
    return this.#netlink
      .dump(RTM_GETADDR, new Uint8Array(8), "cannot list the addresses")
      .flatMap(({ body }) => {
        const version = body[0] === 2 ? 4 : body[0] === 10 ? 6 : null;
        const found = attributes(body, 8);
        const bytes = found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS);
        if (version === null || !bytes) return [];
        const index = new DataView(body.buffer, body.byteOffset).getInt32(4, true);
        return [{ index, version, bytes, prefix: body[1]! }];
      });
  }

  /** Where the address is now, whatever its prefix length. */
  holding(address: Cidr): Assigned[] {
    return this.addresses().filter(({ bytes }) => sameBytes(bytes, address.bytes));
  }

  /**
   * Puts an address on an interface, usable at once. An IPv6 address is added as deprecated: it answers, but the node's
   * own connections, which would break with the next failover, do not start from it. Throws.
   */
  add(address: Cidr, link: Link): void {
    const header = new Uint8Array([family(address.version), address.prefix, 0, 0, 0, 0, 0, 0]);
    new DataView(header.buffer).setInt32(4, link.index, true);
    const cacheInfo = joined(
      number32(address.version === 6 ? 0 : FOREVER),
      number32(FOREVER),
      new Uint8Array(8),
    );
    const body = joined(
      header,
      attribute(IFA_LOCAL, address.bytes),
      attribute(IFA_ADDRESS, address.bytes),
      ...(address.version === 4 && address.prefix < 31
        ? [attribute(IFA_BROADCAST, broadcastOf(address))]
        : []),
      attribute(IFA_FLAGS, number32(IFA_F_NODAD)),
      attribute(IFA_CACHEINFO, cacheInfo),
    );
    try {
      const what = `cannot add ${address.text} to ${link.name} (root or CAP_NET_ADMIN is needed)`;
      this.#netlink.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, what);
    } catch (error) {
      if (!isRefusal(error, "EEXIST")) throw error;
    }
  }

  /** Takes an address away. Other addresses of its network stay, whichever was first. Throws. */
  remove(assigned: Assigned, link: Link): void {
    const header = new Uint8Array([family(assigned.version), assigned.prefix, 0, 0, 0, 0, 0, 0]);
    new DataView(header.buffer).setInt32(4, assigned.index, true);
    const restore = assigned.version === 4 ? keepSecondaries(link) : () => undefined;
    try {
      const body = joined(
        header,
        attribute(IFA_LOCAL, assigned.bytes),
        attribute(IFA_ADDRESS, assigned.bytes),
      );
      this.#netlink.request(RTM_DELADDR, 0, body, `cannot remove a virtual address from ${link.name}`);
    } catch (error) {
      if (!isRefusal(error, "EADDRNOTAVAIL", "ENODEV")) throw error;
    } finally {
      restore();
    }
  }

  /** Routes that prefer `address` as their source and that someone made: the kernel deletes them with the address. */
  routesFrom(address: Cidr): SavedRoute[] {
    const header = new Uint8Array(ROUTE_HEADER_BYTES);
    header[0] = family(address.version);
    return this.#netlink
      .dump(RTM_GETROUTE, header, "cannot list the routes")
      .map(({ body }) => body.slice())
      .filter((body) => {
        const source = attributes(body, ROUTE_HEADER_BYTES).get(RTA_PREFSRC);
        return body[5] !== RTPROT_KERNEL && source !== undefined && sameBytes(source, address.bytes);
      });
  }

  /** Puts a route back, with or without its preferred source. Throws. */
  restore(route: SavedRoute, withSource: boolean): void {
    const kept = [...attributes(route, ROUTE_HEADER_BYTES)]
      .filter(([type]) => type !== RTA_CACHEINFO && (withSource || type !== RTA_PREFSRC))
      .map(([type, value]) => attribute(type, value));
    const header = route.slice(0, ROUTE_HEADER_BYTES);
    // The other flags tell a state, and are refused in a request.
    new DataView(header.buffer).setUint32(8, header[8]! & RTNH_F_ONLINK, true);
    const body = joined(header, ...kept);
    this.#netlink.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, "cannot restore a route");
  }

  /**
   * Frames to another unicast MAC address reach this machine, too, as `bridge fdb add MAC dev NAME self` does it: the network card's own filter takes it,
   * and a card that has no room for more becomes promiscuous. The interface keeps and uses its own address. Throws.
   */
  addMac(link: Link, mac: Uint8Array): void {
    try {
      const what = `interface ${link.name} takes no second MAC address, which mode: invisible needs (mode: directed does not)`;
      this.#netlink.request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, filterEntry(link, mac), what);
    } catch (error) {
      if (!isRefusal(error, "EEXIST")) throw error;
    }
  }

  /** Takes such a MAC address away. Harmless where it is not. */
  removeMac(link: Link, mac: Uint8Array): void {
    try {
      this.#netlink.request(RTM_DELNEIGH, 0, filterEntry(link, mac), "");
    } catch {
      // It is not there, or the interface is gone, or never took one.
    }
  }

  close(): void {
    this.#netlink.close();
  }
}

/** struct ndmsg of linux/neighbour.h, and the address. */
function filterEntry(link: Link, mac: Uint8Array): Uint8Array {
  const header = new Uint8Array(12);
  const view = new DataView(header.buffer);
  header[0] = AF_BRIDGE;
  view.setInt32(4, link.index, true);
  view.setUint16(8, NUD_PERMANENT, true);
  header[10] = NTF_SELF;
  return joined(header, attribute(NDA_LLADDR, mac));
}

/** The last address of an IPv4 network. */
function broadcastOf(address: Cidr): Uint8Array {
  return address.bytes.map(
    (byte, index) => byte | (0xff >> Math.min(8, Math.max(0, address.prefix - index * 8))),
  );
}

/** Without this the kernel removes every other address of the network along with its first one. Returns what puts the setting back. */
function keepSecondaries(link: Link): () => void {
  const file = `/proc/sys/net/ipv4/conf/${link.name}/promote_secondaries`;
  try {
    const before = readFileSync(file, "utf8").trim();
    if (before === "1") return () => undefined;
    writeFileSync(file, "1");
    return () => writeFileSync(file, before);
  } catch {
    // A read-only /proc/sys: the distribution's own setting holds, which is 1 under systemd.
    return () => undefined;
  }
}
