/**
 * The kernel-side deadline: an address falls silent by itself when nobody says in time that it may speak.
 *
 * A rule drops what leaves from the address, in IP, ARP and neighbour discovery, unless the address is an element of a
 * set. The element has a time-out, and only the holder of the role puts it back. All processes of this node may be stopped;
 * the kernel still counts. What is announced goes by a packet socket, past the rules for IP and ARP: a chain at the interface's egress sees it.
 */
import { isRefusal, type Netlink } from "../platform/linux/netlink.ts";
import {
  absentFrom,
  drop,
  equals,
  FAMILY_ARP,
  FAMILY_INET,
  FAMILY_NETDEV,
  meta,
  openNftables,
  payload,
  Transaction,
} from "../platform/linux/nftables.ts";
import { type Cidr, parseCidr } from "./address.ts";

const POSTROUTING = 4;
const ARP_OUTPUT = 1;
const EGRESS = 1;
/** After source address translation, so that what containers answer for the address is seen too. */
const AFTER_TRANSLATION = 300;
const META_ETHERTYPE = 1;
const META_NFPROTO = 15;
const META_L4PROTO = 16;
const ICMPV6 = 58;
const NEIGHBOUR_ADVERTISEMENT = 136;
const ETHERTYPE_ARP = new Uint8Array([0x08, 0x06]);
const ETHERTYPE_IPV6 = new Uint8Array([0x86, 0xdd]);
const SET4 = "allowed4";
const SET6 = "allowed6";
const CHAIN = "silence";
/** How kernels without nf_tables, or without one of its families, refuse. 93 is EPROTONOSUPPORT. */
const UNSUPPORTED = ["EOPNOTSUPP", "EAFNOSUPPORT", "ENOENT", "EINVAL", "errno 93"] as const;

/** Of our tables. */
const FAMILIES = [FAMILY_INET, FAMILY_ARP, FAMILY_NETDEV] as const;
/** Those of a kernel that has no chains at egress (before 5.16): nothing but its holder keeps an address from being announced there. */
const WITHOUT_EGRESS = [FAMILY_INET, FAMILY_ARP] as const;

/** Rules and sets of one module. Every method is synchronous and takes microseconds. */
export class Deadline {
  readonly #table: string;
  readonly #keys4: Uint8Array[];
  readonly #keys6: Uint8Array[];
  #families: readonly number[] = FAMILIES;
  #opened: Netlink | null = null;

  /**
   * Changes nothing yet: `install` does. Addresses in CIDR form; `devices` names the interfaces on which they are announced, each time that rules
   * are put in place. Throws when an address is none.
   */
  constructor(
    module: string,
    addresses: readonly string[],
    private readonly devices: () => readonly string[],
  ) {
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
    this.#evenWithoutEgress(() => this.#buildTables(timeoutMs));
  }

  #evenWithoutEgress(change: () => void): void {
    try {
      this.#families = FAMILIES;
      change();
    } catch (error) {
      if (!isRefusal(error, ...UNSUPPORTED)) throw error;
      this.#families = WITHOUT_EGRESS;
      change();
    }
  }

  #buildTables(timeoutMs: number | null): void {
    const table = this.#table;
    const change = this.#without(new Transaction(this.#netlink));
    for (const [at, family] of this.#families.entries()) {
      change.table(family, table).timeoutSet(family, table, SET4, 4, 2 * at + 1);
      if (family !== FAMILY_ARP) change.timeoutSet(family, table, SET6, 16, 2 * at + 2);
    }
    if (timeoutMs !== null)
      for (const [family, set, keys] of this.#sets) change.elements(family, table, set, keys, timeoutMs);
    change.chain(FAMILY_INET, table, CHAIN, POSTROUTING, AFTER_TRANSLATION);
    change.chain(FAMILY_ARP, table, CHAIN, ARP_OUTPUT, 0);
    for (const key of this.#keys4) this.#silence4(change, key);
    for (const key of this.#keys6) this.#silence6(change, key);
    if (this.#families.includes(FAMILY_NETDEV)) this.#muteAnnouncements(change);
    change.commit(`cannot install the kernel-side deadline ${table}`);
  }

  /** The sets that have addresses of ours. */
  get #sets(): [family: number, set: string, keys: readonly Uint8Array[]][] {
    return this.#families
      .flatMap((family): [number, string, readonly Uint8Array[]][] => [
        [family, SET4, this.#keys4],
        [family, SET6, family === FAMILY_ARP ? [] : this.#keys6],
      ])
      .filter(([, , keys]) => keys.length > 0);
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

  #muteAnnouncements(change: Transaction): void {
    for (const [at, device] of this.devices().entries()) {
      const chain = `${CHAIN}${at}`;
      change.chain(FAMILY_NETDEV, this.#table, chain, EGRESS, 0, device);
      const mute = (...what: readonly Uint8Array[]) =>
        change.rule(FAMILY_NETDEV, this.#table, chain, ...what, drop);
      for (const key of this.#keys4)
        mute(
          meta(META_ETHERTYPE),
          equals(ETHERTYPE_ARP),
          payload("network", 14, 4),
          equals(key),
          absentFrom(SET4),
        );
      for (const key of this.#keys6)
        mute(
          ...[meta(META_ETHERTYPE), equals(ETHERTYPE_IPV6)],
          ...[payload("network", 6, 1), equals(new Uint8Array([ICMPV6]))],
          ...[payload("network", 40, 1), equals(new Uint8Array([NEIGHBOUR_ADVERTISEMENT]))],
          ...[payload("network", 48, 16), equals(key)],
          absentFrom(SET6),
        );
    }
  }

  /**
   * The addresses may speak for `timeoutMs` from now on. A process that was stopped after it asked itself whether they may finds them silent, and the kernel
   * refuses: then, and when a firewall that was loaded anew has flushed our rules, `maySpeak` is asked again before they speak. Throws when the
   * kernel refuses otherwise.
   */
  refresh(timeoutMs: number, maySpeak: () => boolean): void {
    const change = new Transaction(this.#netlink);
    for (const [family, set, keys] of this.#sets)
      change
        .deleteElements(family, this.#table, set, keys)
        .elements(family, this.#table, set, keys, timeoutMs);
    try {
      change.commit(`cannot refresh the kernel-side deadline ${this.#table}`);
    } catch (error) {
      if (!isRefusal(error, "ENOENT")) throw error;
      if (maySpeak()) this.#build(timeoutMs);
    }
  }

  /** The addresses fall silent now. Throws when the kernel refuses. */
  silence(): void {
    this.#build(null);
  }

  #without(change: Transaction): Transaction {
    for (const family of this.#families) change.table(family, this.#table).deleteTable(family, this.#table);
    return change;
  }

  /** Takes the rules away. Harmless when there are none. Throws when the kernel refuses. */
  remove(): void {
    const what = `cannot remove the kernel-side deadline ${this.#table}`;
    try {
      this.#evenWithoutEgress(() => this.#without(new Transaction(this.#netlink)).commit(what));
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
