/**
 * The kernel-side deadline: an address falls silent by itself when nobody says in time that it may speak.
 *
 * A rule drops what leaves from the address, in IP, ARP and neighbour discovery, unless the address is an element of a
 * set. The element has a time-out, and only the holder of the role puts it back. All processes of this node may be stopped;
 * the kernel still counts.
 */
import { isRefusal, type Netlink } from "../platform/linux/netlink.ts";
import {
  absentFrom,
  drop,
  equals,
  FAMILY_ARP,
  FAMILY_INET,
  meta,
  openNftables,
  payload,
  Transaction,
} from "../platform/linux/nftables.ts";
import { type Cidr, parseCidr } from "./address.ts";

const POSTROUTING = 4;
const ARP_OUTPUT = 1;
/** After source address translation, so that what containers answer for the address is seen too. */
const AFTER_TRANSLATION = 300;
const META_NFPROTO = 15;
const META_L4PROTO = 16;
const ICMPV6 = 58;
const NEIGHBOUR_ADVERTISEMENT = 136;
const SET4 = "allowed4";
const SET6 = "allowed6";
const CHAIN = "silence";
/** How kernels without nf_tables, or without one of its families, refuse. 93 is EPROTONOSUPPORT. */
const UNSUPPORTED = ["EOPNOTSUPP", "EAFNOSUPPORT", "ENOENT", "EINVAL", "errno 93"] as const;

/** Rules and sets of one module. Every method is synchronous and takes microseconds. */
export class Deadline {
  readonly #table: string;
  readonly #keys4: Uint8Array[];
  readonly #keys6: Uint8Array[];
  #opened: Netlink | null = null;

  /** Changes nothing yet: `install` does, and a process that takes over only refreshes. Addresses in CIDR form. Throws when one is none. */
  constructor(module: string, addresses: readonly string[]) {
    this.#table = tableOf(module);
    const parsed = addresses.map(parseCidr);
    const keysOf = (version: 4 | 6): Uint8Array[] =>
      parsed.filter((address: Cidr) => address.version === version).map(({ bytes }) => bytes);
    this.#keys4 = keysOf(4);
    this.#keys6 = keysOf(6);
  }

  get #netlink(): Netlink {
    this.#opened ??= openNftables();
    return this.#opened;
  }

  /**
   * Puts the rules in place (again), the addresses allowed for `timeoutMs`. Returns null, or, where the kernel has no
   * nf_tables, why there is no deadline: the module can run without, and says so. Throws on any other refusal.
   */
  install(timeoutMs: number): string | null {
    try {
      this.#build(timeoutMs);
      return null;
    } catch (error) {
      if (isRefusal(error, ...UNSUPPORTED))
        return `this kernel lacks nf_tables for inet or arp (${(error as Error).message})`;
      throw error;
    }
  }

  /** Makes table, sets, chains and rules anew; the addresses are allowed for `timeoutMs`, or not at all. */
  #build(timeoutMs: number | null): void {
    const table = this.#table;
    const change = this.#without(new Transaction(this.#netlink));
    for (const family of [FAMILY_INET, FAMILY_ARP]) {
      change.table(family, table).timeoutSet(family, table, SET4, 4, 1);
      if (timeoutMs !== null && this.#keys4.length > 0)
        change.elements(family, table, SET4, this.#keys4, timeoutMs);
    }
    change.timeoutSet(FAMILY_INET, table, SET6, 16, 2);
    if (timeoutMs !== null && this.#keys6.length > 0)
      change.elements(FAMILY_INET, table, SET6, this.#keys6, timeoutMs);
    change.chain(FAMILY_INET, table, CHAIN, POSTROUTING, AFTER_TRANSLATION);
    change.chain(FAMILY_ARP, table, CHAIN, ARP_OUTPUT, 0);
    for (const key of this.#keys4) this.#silence4(change, key);
    for (const key of this.#keys6) this.#silence6(change, key);
    change.commit(`cannot install the kernel-side deadline ${table}`);
  }

  #silence4(change: Transaction, key: Uint8Array): void {
    const fromIp = [meta(META_NFPROTO), equals(new Uint8Array([2])), payload("network", 12, 4), equals(key)];
    change.rule(FAMILY_INET, this.#table, CHAIN, ...fromIp, absentFrom(SET4), drop);
    change.rule(
      FAMILY_ARP,
      this.#table,
      CHAIN,
      payload("network", 14, 4),
      equals(key),
      absentFrom(SET4),
      drop,
    );
  }

  #silence6(change: Transaction, key: Uint8Array): void {
    const isIpv6 = [meta(META_NFPROTO), equals(new Uint8Array([10]))];
    const from = [...isIpv6, payload("network", 8, 16), equals(key)];
    change.rule(FAMILY_INET, this.#table, CHAIN, ...from, absentFrom(SET6), drop);
    const advertisement = [
      ...isIpv6,
      ...[meta(META_L4PROTO), equals(new Uint8Array([ICMPV6]))],
      ...[payload("transport", 0, 1), equals(new Uint8Array([NEIGHBOUR_ADVERTISEMENT]))],
      ...[payload("transport", 8, 16), equals(key)],
    ];
    change.rule(FAMILY_INET, this.#table, CHAIN, ...advertisement, absentFrom(SET6), drop);
  }

  /** The addresses may speak for `timeoutMs` from now on. Throws when the kernel refuses. */
  refresh(timeoutMs: number): void {
    this.#allow(timeoutMs);
  }

  /** The addresses fall silent now. Throws when the kernel refuses. */
  silence(): void {
    this.#allow(null);
  }

  /** A firewall that was loaded anew has flushed our rules, too: put them back. */
  #allow(timeoutMs: number | null): void {
    try {
      this.#replace(timeoutMs);
    } catch (error) {
      if (!isRefusal(error, "ENOENT")) throw error;
      this.#build(timeoutMs);
    }
  }

  /**
   * Adding an element that exists does not extend its time (before kernel 6.12), and deleting one that expired is an error. Add, delete, add in
   * one transaction is right in each case, and no packet sees a moment in between.
   */
  #replace(timeoutMs: number | null): void {
    const change = new Transaction(this.#netlink);
    const sets = [
      [FAMILY_INET, SET4, this.#keys4],
      [FAMILY_ARP, SET4, this.#keys4],
      [FAMILY_INET, SET6, this.#keys6],
    ] as const;
    for (const [family, set, keys] of sets) {
      if (keys.length === 0) continue;
      change.elements(family, this.#table, set, keys, timeoutMs ?? 1000);
      change.deleteElements(family, this.#table, set, keys);
      if (timeoutMs !== null) change.elements(family, this.#table, set, keys, timeoutMs);
    }
    change.commit(`cannot refresh the kernel-side deadline ${this.#table}`);
  }

  #without(change: Transaction): Transaction {
    for (const family of [FAMILY_INET, FAMILY_ARP])
      change.table(family, this.#table).deleteTable(family, this.#table);
    return change;
  }

  /** Takes the rules away. Harmless when there are none. Throws when the kernel refuses. */
  remove(): void {
    try {
      this.#without(new Transaction(this.#netlink)).commit(
        `cannot remove the kernel-side deadline ${this.#table}`,
      );
    } catch (error) {
      if (!isRefusal(error, ...UNSUPPORTED)) throw error;
    }
  }

  /** Gives the socket back; the rules stay. */
  close(): void {
    this.#opened?.close();
    this.#opened = null;
  }
}

/** A table's name that `nft` can read, too: what it cannot is written as `_` and its hexadecimal number. */
export function tableOf(module: string): string {
  return `holdfast_${module.replace(/[^A-Za-z0-9]/g, (char) => `_${char.charCodeAt(0).toString(16)}`)}`;
}
