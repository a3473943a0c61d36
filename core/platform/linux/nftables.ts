/**
 * The little of nf_tables' netlink language that we speak: tables, chains, sets with time-outs, and rules that drop.
 *
 * Spoken directly, so that no `nft` program has to be installed, and a change takes microseconds.
 */
import {
  attribute,
  attributes,
  bigEndian32,
  isRefusal,
  joined,
  NETLINK_NETFILTER,
  Netlink,
  NLM_F_ACK,
  NLM_F_CREATE,
  nested,
  text,
} from "./netlink.ts";

/** Families of tables. */
export const FAMILY_INET = 1;
export const FAMILY_ARP = 3;
export const FAMILY_NETDEV = 5;

const SUBSYSTEM = 10;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const NEWTABLE = 0;
const DELTABLE = 2;
const NEWCHAIN = 3;
const GETCHAIN = 4;
const NEWRULE = 6;
const NEWSET = 9;
const NEWSETELEM = 12;
const DELSETELEM = 14;
const GETOBJ = 19;
const OBJECT_COUNTER = 1;
const SET_HAS_TIMEOUT = 0x10;
const NLM_F_APPEND = 0x800;
const LIST_ELEMENT = 1;
const REGISTER_1 = 1;
const REGISTER_VERDICT = 0;
const LOOKUP_INVERTED = 1;
const NF_DROP = 0;
const NFT_GOTO = -4;

/** Where in a packet a value lies. */
export type PacketBase = "network" | "transport";

const number64 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / 2 ** 32));
  view.setUint32(4, value >>> 0);
  return bytes;
};

const expression = (name: string, ...data: readonly Uint8Array[]): Uint8Array =>
  nested(LIST_ELEMENT, text(1, name), nested(2, ...data));
const register = attribute(1, bigEndian32(REGISTER_1));
const value = (type: number, bytes: Uint8Array): Uint8Array => nested(type, attribute(1, bytes));

/** Loads a fact about the packet: key 1 is its EtherType, 15 the version of IP, 16 the protocol that it carries. */
export const meta = (key: 1 | 15 | 16): Uint8Array =>
  expression("meta", register, attribute(2, bigEndian32(key)));
/** Loads bytes of the packet. */
export const payload = (base: PacketBase, offset: number, length: number): Uint8Array =>
  expression(
    "payload",
    register,
    attribute(2, bigEndian32(base === "network" ? 1 : 2)),
    attribute(3, bigEndian32(offset)),
    attribute(4, bigEndian32(length)),
  );
/** Goes on only when what was loaded equals `bytes`. */
export const equals = (bytes: Uint8Array): Uint8Array =>
  expression("cmp", register, attribute(2, bigEndian32(0)), value(3, bytes));
/** Goes on only when what was loaded is not an element of the set. */
export const absentFrom = (set: string): Uint8Array =>
  expression(
    "lookup",
    text(1, set),
    attribute(2, bigEndian32(REGISTER_1)),
    attribute(5, bigEndian32(LOOKUP_INVERTED)),
  );
/** Drops the packet. */
export const drop: Uint8Array = expression(
  "immediate",
  attribute(1, bigEndian32(REGISTER_VERDICT)),
  nested(2, nested(2, attribute(1, bigEndian32(NF_DROP)))),
);

/** Changes that the kernel makes all at once or not at all. */
export class Transaction {
  readonly #netlink: Netlink;
  readonly #messages: Uint8Array[] = [];

  constructor(netlink: Netlink) {
    this.#netlink = netlink;
    this.#messages.push(netlink.message(BATCH_BEGIN, 0, header(0, SUBSYSTEM)));
  }

  #add(type: number, flags: number, family: number, ...body: readonly Uint8Array[]): this {
    const content = joined(header(family, 0), ...body);
    this.#messages.push(this.#netlink.message((SUBSYSTEM << 8) | type, flags | NLM_F_ACK, content));
    return this;
  }

  table(family: number, name: string): this {
    return this.#add(NEWTABLE, NLM_F_CREATE, family, text(1, name));
  }
  /** The table must exist: add it first where that is not sure. */
  deleteTable(family: number, name: string): this {
    return this.#add(DELTABLE, 0, family, text(1, name));
  }
  /** A set whose elements vanish by themselves. `id` is any number that is unique in the transaction. */
  timeoutSet(family: number, table: string, set: string, keyLength: number, id: number): this {
    const flags = attribute(3, bigEndian32(SET_HAS_TIMEOUT));
    const key = [attribute(4, bigEndian32(keyLength === 4 ? 7 : 8)), attribute(5, bigEndian32(keyLength))];
    return this.#add(
      NEWSET,
      NLM_F_CREATE,
      family,
      text(1, table),
      text(2, set),
      flags,
      ...key,
      attribute(10, bigEndian32(id)),
    );
  }
  /** `device`: the interface that a chain of the family netdev is for; it must be there. */
  chain(family: number, table: string, chain: string, hook: number, priority: number, device?: string): this {
    const at = [attribute(1, bigEndian32(hook)), attribute(2, bigEndian32(priority))];
    const place = nested(4, ...at, ...(device === undefined ? [] : [text(3, device)]));
    return this.#add(
      NEWCHAIN,
      NLM_F_CREATE,
      family,
      text(1, table),
      text(3, chain),
      place,
      text(7, "filter"),
    );
  }
  rule(family: number, table: string, chain: string, ...expressions: readonly Uint8Array[]): this {
    const body = [text(1, table), text(2, chain), nested(4, ...expressions)];
    return this.#add(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, ...body);
  }
  /** Adds elements; those that are there already keep the time that they had. */
  elements(family: number, table: string, set: string, keys: readonly Uint8Array[], timeoutMs: number): this {
    const timeout = attribute(4, number64(timeoutMs));
    const list = keys.map((key) => nested(LIST_ELEMENT, value(1, key), timeout));
    return this.#add(NEWSETELEM, NLM_F_CREATE, family, text(1, table), text(2, set), nested(3, ...list));
  }
  /** Adds elements that stay: to a set, or, with a chain to go to, to a map of verdicts. */
  lastingElements(
    family: number,
    table: string,
    set: string,
    elements: readonly { key: Uint8Array; chain?: string }[],
  ): this {
    const goTo = (chain: string) => nested(2, nested(2, attribute(1, bigEndian32(NFT_GOTO)), text(2, chain)));
    const list = elements.map(({ key, chain }) =>
      nested(LIST_ELEMENT, value(1, key), ...(chain === undefined ? [] : [goTo(chain)])),
    );
    return this.#add(NEWSETELEM, NLM_F_CREATE, family, text(1, table), text(2, set), nested(3, ...list));
  }
  /** Deletes elements, all of which must be there. */
  deleteElements(family: number, table: string, set: string, keys: readonly Uint8Array[]): this {
    const list = keys.map((key) => nested(LIST_ELEMENT, value(1, key)));
    return this.#add(DELSETELEM, 0, family, text(1, table), text(2, set), nested(3, ...list));
  }

  /** Carries it out. Throws a NetlinkError that begins with `what` when the kernel refuses any of it. */
  commit(what: string): void {
    const last = this.#netlink.sequence;
    this.#messages.push(this.#netlink.message(BATCH_END, 0, header(0, SUBSYSTEM)));
    this.#netlink.batch(this.#messages, last, what);
  }
}

/** What every message of netfilter begins with. */
function header(family: number, resource: number): Uint8Array {
  return new Uint8Array([family, 0, resource >> 8, resource & 255]);
}

/** Is there such a chain? Throws when the kernel refuses the question itself. */
export function hasChain(netlink: Netlink, family: number, table: string, chain: string): boolean {
  const body = joined(header(family, 0), text(1, table), text(3, chain));
  try {
    netlink.request((SUBSYSTEM << 8) | GETCHAIN, 0, body, `cannot look for the table ${table}`);
    return true;
  } catch (error) {
    if (isRefusal(error, "ENOENT")) return false;
    throw error;
  }
}

/** What a named counter has counted. */
export interface Counter {
  packets: number;
  bytes: number;
}

/** The named counters of a table; none where there is no such table. Throws when the kernel refuses. */
export function countersIn(netlink: Netlink, family: number, table: string): Record<string, Counter> {
  const body = joined(header(family, 0), text(1, table), attribute(3, bigEndian32(OBJECT_COUNTER)));
  const objects = netlink.dump((SUBSYSTEM << 8) | GETOBJ, body, `cannot read the counters of ${table}`);
  return Object.fromEntries(
    objects.map(({ body }) => {
      const found = attributes(body, 4);
      const data = attributes(found.get(4)!, 0);
      const name = new TextDecoder().decode(found.get(2)).replace(/\0.*$/s, "");
      return [name, { bytes: number64At(data.get(1)!), packets: number64At(data.get(2)!) }];
    }),
  );
}

function number64At(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
}

/** Opens the way to nf_tables in the network namespace of this process. Throws. */
export function openNftables(): Netlink {
  return new Netlink(NETLINK_NETFILTER);
}
