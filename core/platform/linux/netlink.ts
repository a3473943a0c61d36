/**
 * Netlink: the kernel's own language for addresses, sockets and packet filters. No program has to be installed for it.
 *
 * Requests are small and answered at once, so calls are synchronous: microseconds, on whichever thread asks.
 */
import { errnoName, SystemError } from "./errno.ts";
import { AF_NETLINK, KernelSocket } from "./kernel_socket.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_NETFILTER = 12;

const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_REPLACE = 0x100;
const NLM_F_DUMP = 0x300;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_BYTES = 16;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
/** The kernel answers in microseconds; this only bounds a kernel in trouble. */
const ANSWER_MS = 2000;

/** One message of an answer: its type, and what follows the header. */
export interface NetlinkMessage {
  type: number;
  body: Uint8Array;
}

/** A refusal by the kernel. `errno` is positive. */
export class NetlinkError extends SystemError {}

const align = (length: number): number => (length + 3) & ~3;

/** Joins byte arrays, each padded to four bytes. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + align(part.length), 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += align(part.length);
  }
  return whole;
}

/** An attribute that holds bytes. */
export function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(align(4 + value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}

/** An attribute that holds attributes. */
export function nested(type: number, ...inner: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NLA_F_NESTED, joined(...inner));
}

/** A NUL-terminated string. */
export function text(type: number, value: string): Uint8Array {
  return attribute(type, new TextEncoder().encode(`${value}\0`));
}

/** A 32-bit number in the machine's order, as rtnetlink wants it. */
export function number32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** A 32-bit number in network order, as nf_tables wants it. */
export function bigEndian32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** Attributes found from `offset` on, by type. */
export function attributes(body: Uint8Array, offset: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  for (let at = offset; at + 4 <= body.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > body.length) break;
    found.set(view.getUint16(at + 2, true) & NLA_TYPE_MASK, body.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

/** A conversation with one part of the kernel, in the network namespace of this process. */
export class Netlink {
  readonly #socket: KernelSocket;
  #sequence = 1;

  /** Throws a SystemError when the kernel lacks this part. */
  constructor(protocol: number) {
    this.#socket = new KernelSocket(AF_NETLINK, protocol, "cannot open a netlink socket");
  }

  /** A message with its header. Its sequence number is the next one. */
  message(type: number, flags: number, body: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(align(HEADER_BYTES + body.length));
    const view = new DataView(bytes.buffer);
    view.setUint32(0, HEADER_BYTES + body.length, true);
    view.setUint16(4, type, true);
    view.setUint16(6, NLM_F_REQUEST | flags, true);
    view.setUint32(8, ++this.#sequence, true);
    bytes.set(body, HEADER_BYTES);
    return bytes;
  }

  /** Sends a request and waits for its end. Throws a NetlinkError that begins with `what` when refused. */
  request(type: number, flags: number, body: Uint8Array, what: string): void {
    this.#exchange(this.message(type, flags | NLM_F_ACK, body), this.#sequence, what);
  }

  /** Everything of a kind. Throws a NetlinkError. */
  dump(type: number, body: Uint8Array, what: string): NetlinkMessage[] {
    return this.#exchange(this.message(type, NLM_F_DUMP, body), this.#sequence, what);
  }

  /** Sends several messages as one datagram; the one numbered `acknowledged` asks for an acknowledgement. Throws. */
  batch(messages: readonly Uint8Array[], acknowledged: number, what: string): void {
    this.#exchange(joined(...messages), acknowledged, what);
  }

  /** The sequence number of the message made last. */
  get sequence(): number {
    return this.#sequence;
  }

  #exchange(bytes: Uint8Array, awaited: number, what: string): NetlinkMessage[] {
    // What an earlier, failed exchange left behind is not an answer to this one.
    while (this.#socket.receive(0, what));
    this.#socket.send(bytes, what);
    const answers: NetlinkMessage[] = [];
    for (;;) {
      const datagram = this.#socket.receive(ANSWER_MS, what);
      if (!datagram) throw new NetlinkError(110, `${what}: the kernel did not answer`);
      if (this.#collect(datagram, awaited, answers, what)) return answers;
    }
  }

  /** Reads one datagram; true when the exchange has ended. */
  #collect(datagram: Uint8Array, awaited: number, answers: NetlinkMessage[], what: string): boolean {
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
    for (let at = 0; at + HEADER_BYTES <= datagram.length; ) {
      const length = view.getUint32(at, true);
      if (length < HEADER_BYTES) break;
      const type = view.getUint16(at + 4, true);
      if (type === NLMSG_DONE) return true;
      if (type === NLMSG_ERROR) {
        const errno = -view.getInt32(at + HEADER_BYTES, true);
        if (errno !== 0) throw new NetlinkError(errno, what);
        if (view.getUint32(at + 8, true) === awaited) return true;
      } else answers.push({ type, body: datagram.subarray(at + HEADER_BYTES, at + length) });
      at += align(length);
    }
    return false;
  }

  close(): void {
    this.#socket.close();
  }
}

/** True when `error` is a refusal with one of these errno names. */
export function isRefusal(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof SystemError && codes.includes(errnoName(error.errno));
}
