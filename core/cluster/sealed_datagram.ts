/**
 * Datagrams that only members can make, each counted once.
 *
 * Every start of a daemon has a random incarnation, and a key of its own derived from it, so a counter is nonce enough.
 * A replayed datagram must not count, not even after the receiver forgot everything in a restart, and no clock is
 * trusted for that: the receiver believes an incarnation that it does not know only when the datagram echoes the
 * receiver's present challenge. Otherwise it answers with the sender's challenge echoed, and its own.
 */
import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from "node:crypto";
import { deriveKey } from "./membership_keys.ts";

/** No datagram is larger, so none is fragmented by a network with an MTU of 1500 and a tunnel or two. */
export const MAX_DATAGRAM_BYTES = 1400;
const VERSION = 1;
const LABEL_BYTES = 8;
const INCARNATION_BYTES = 16;
const CHALLENGE_BYTES = 16;
const COUNTER_BYTES = 6;
const TAG_BYTES = 16;
const MAX_NAME_BYTES = 32;
/** version, label, incarnation, counter, length of the sender's name. */
const FIXED_BYTES = 1 + LABEL_BYTES + INCARNATION_BYTES + COUNTER_BYTES + 1;
/** Inside: challenge, echo, acknowledged counter, length-prefixed receiver and lan. */
const INNER_FIXED_BYTES = 2 * CHALLENGE_BYTES + COUNTER_BYTES + 2;
/** Lans differ in delay: a datagram this much older than the newest still counts, once. */
const WINDOW = 64;
/** An unanswered challenge is replaced after this long, so that an old echo is worth nothing later. */
const CHALLENGE_LIFE_MS = 10_000;
/** What came before an incarnation was established may have been counted before our restart. */
const ALL_SEEN = (1n << BigInt(WINDOW)) - 1n;
const SENT_TIMES = 256;
const MAX_RETIRED = 4096;

/** Why a datagram did not count. `stranger`: sealed by a member, but of an incarnation that must first echo our challenge. */
export type DropReason = "malformed" | "foreign" | "forged" | "misdirected" | "replayed" | "stranger";

/** A datagram that counts. */
export interface OpenedDatagram {
  from: string;
  lan: string;
  /** The sender's daemon, new with each start: hex. */
  incarnation: string;
  counter: number;
  /** True when this incarnation was not known before: its sender should hear from us at once. */
  established: boolean;
  /**
   * How long ago, on our own clock, we sent the newest datagram that the sender had heard when it sent this one; null when
   * none in memory. A datagram that somebody held back shows here.
   */
  heardAgeMs: number | null;
  body: Uint8Array;
}

/** What `open` says: a datagram, or why not, and the challenge that an answer must echo. */
export type OpenResult =
  | { ok: true; datagram: OpenedDatagram }
  | { ok: false; reason: DropReason; answer: { to: string; echo: Uint8Array } | null };

interface Session {
  incarnation: string;
  key: Uint8Array;
  highest: number;
  /** Bit i: counter `highest - i` was seen. */
  seen: bigint;
  /** The challenge that this incarnation gave us last. */
  challenge: Uint8Array;
}

interface Peer {
  session: Session | null;
  retired: Set<string>;
  challenge: Uint8Array;
  former: Uint8Array | null;
  challengeSince: number;
}

const NO_ECHO = new Uint8Array(CHALLENGE_BYTES);

/** Seals to, and opens from, the members of one cluster. Not for concurrent use by two processes of one incarnation. */
export class SealedChannel {
  /** This start of the daemon, hex. */
  readonly incarnation: string;
  readonly #incarnationBytes: Uint8Array;
  readonly #ownKey: Uint8Array;
  readonly #secret: Uint8Array;
  readonly #label: Uint8Array;
  readonly #node: string;
  readonly #now: () => number;
  readonly #peers = new Map<string, Peer>();
  readonly #sentAt = new Float64Array(SENT_TIMES);
  #counter = 0;

  /** `key` and `label` are ClusterKeys'. `now` is a monotonic clock in ms. */
  constructor(options: {
    key: Uint8Array;
    label: Uint8Array;
    node: string;
    peers: readonly string[];
    now: () => number;
  }) {
    this.#incarnationBytes = randomBytes(INCARNATION_BYTES);
    this.incarnation = Buffer.from(this.#incarnationBytes).toString("hex");
    this.#secret = options.key;
    this.#label = options.label;
    this.#node = options.node;
    this.#now = options.now;
    this.#ownKey = this.#keyOf(options.node, this.incarnation);
    for (const name of options.peers)
      this.#peers.set(name, {
        session: null,
        retired: new Set(),
        challenge: randomBytes(CHALLENGE_BYTES),
        former: null,
        challengeSince: options.now(),
      });
  }

  /** Most bytes of body in one datagram from this node to `to` on `lan`. */
  room(to: string, lan: string): number {
    const names = Buffer.byteLength(this.#node) + Buffer.byteLength(to) + Buffer.byteLength(lan);
    return MAX_DATAGRAM_BYTES - FIXED_BYTES - INNER_FIXED_BYTES - TAG_BYTES - names;
  }

  /** One datagram. `echo` is that of an answer, else what the peer's known incarnation gave last. Throws RangeError when the body is over `room`. */
  seal(to: string, lan: string, body: Uint8Array, echo?: Uint8Array): Uint8Array {
    const peer = this.#peers.get(to);
    if (peer === undefined) throw new RangeError(`${to} is no peer`);
    if (body.length > this.room(to, lan))
      throw new RangeError(`a body of ${body.length} bytes is over ${this.room(to, lan)}`);
    const counter = ++this.#counter;
    this.#sentAt[counter % SENT_TIMES] = this.#now();
    this.#renewChallenge(peer);
    const header = this.#header(counter);
    const cipher = createCipheriv("aes-256-gcm", this.#ownKey, nonceOf(counter));
    cipher.setAAD(header);
    const inner = Buffer.concat([
      peer.challenge,
      echo ?? peer.session?.challenge ?? NO_ECHO,
      counterBytes(peer.session?.highest ?? 0),
      prefixed(to),
      prefixed(lan),
      body,
    ]);
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }

  /** Opens what came in on `lan`. Never throws; what does not count says why. */
  open(datagram: Uint8Array, lan: string): OpenResult {
    const parsed = parseHeader(datagram);
    if (parsed === null) return dropped("malformed");
    if (!timingSafeEqual(parsed.label, this.#label)) return dropped("foreign");
    const peer = this.#peers.get(parsed.from);
    if (peer === undefined) return dropped("foreign");
    const known = peer.session?.incarnation === parsed.incarnation ? peer.session : null;
    const key = known?.key ?? this.#keyOf(parsed.from, parsed.incarnation);
    const inner = decrypt(key, parsed.counter, datagram, parsed.headerBytes);
    if (inner === null) return dropped("forged");
    const content = parseInner(inner);
    if (content === null) return dropped("malformed");
    if (content.to !== this.#node || content.lan !== lan) return dropped("misdirected");
    if (known === null && !this.#admits(peer, parsed.incarnation, content.echo)) {
      // Answering a retired incarnation would only help whoever replays it.
      if (peer.retired.has(parsed.incarnation)) return dropped("replayed");
      return { ok: false, reason: "stranger", answer: { to: parsed.from, echo: content.challenge } };
    }
    const session = known ?? this.#establish(peer, parsed.incarnation, key, parsed.counter);
    if (!admitCounter(session, parsed.counter)) return dropped("replayed");
    if (parsed.counter === session.highest) session.challenge = content.challenge;
    return {
      ok: true,
      datagram: {
        from: parsed.from,
        lan,
        incarnation: parsed.incarnation,
        counter: parsed.counter,
        established: known === null,
        heardAgeMs: this.#ageOf(content.acknowledged),
        body: content.body,
      },
    };
  }

  #keyOf(node: string, incarnation: string): Uint8Array {
    return deriveKey(this.#secret, `datagrams ${node} ${incarnation}`);
  }

  #header(counter: number): Uint8Array {
    return Buffer.concat([
      Uint8Array.of(VERSION),
      this.#label,
      this.#incarnationBytes,
      counterBytes(counter),
      prefixed(this.#node),
    ]);
  }

  #ageOf(counter: number): number | null {
    if (counter === 0 || counter > this.#counter || this.#counter - counter >= SENT_TIMES) return null;
    return this.#now() - this.#sentAt[counter % SENT_TIMES]!;
  }

  #renewChallenge(peer: Peer): void {
    if (this.#now() - peer.challengeSince < CHALLENGE_LIFE_MS) return;
    peer.former = peer.challenge;
    peer.challenge = randomBytes(CHALLENGE_BYTES);
    peer.challengeSince = this.#now();
  }

  #admits(peer: Peer, incarnation: string, echo: Uint8Array): boolean {
    if (peer.retired.has(incarnation)) return false;
    this.#renewChallenge(peer);
    return (
      timingSafeEqual(echo, peer.challenge) || (peer.former !== null && timingSafeEqual(echo, peer.former))
    );
  }

  #establish(peer: Peer, incarnation: string, key: Uint8Array, counter: number): Session {
    if (peer.session) peer.retired.add(peer.session.incarnation);
    if (peer.retired.size > MAX_RETIRED) peer.retired.delete(peer.retired.values().next().value!);
    // Spent: what echoed it and is still under way belongs to the past.
    peer.challenge = randomBytes(CHALLENGE_BYTES);
    peer.former = null;
    peer.challengeSince = this.#now();
    peer.session = { incarnation, key, highest: counter - 1, seen: ALL_SEEN, challenge: NO_ECHO };
    return peer.session;
  }
}

const dropped = (reason: DropReason): OpenResult => ({ ok: false, reason, answer: null });

function counterBytes(counter: number): Uint8Array {
  const bytes = Buffer.alloc(COUNTER_BYTES);
  bytes.writeUIntBE(counter, 0, COUNTER_BYTES);
  return bytes;
}

function nonceOf(counter: number): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(counter, 12 - COUNTER_BYTES, COUNTER_BYTES);
  return nonce;
}

function prefixed(name: string): Uint8Array {
  const bytes = Buffer.from(name);
  if (bytes.length > MAX_NAME_BYTES) throw new RangeError(`${name} is over ${MAX_NAME_BYTES} bytes`);
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}

function parseHeader(datagram: Uint8Array) {
  if (
    datagram.length > MAX_DATAGRAM_BYTES ||
    datagram.length < FIXED_BYTES + 1 + INNER_FIXED_BYTES + TAG_BYTES
  )
    return null;
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
  const nameBytes = bytes[FIXED_BYTES - 1]!;
  const headerBytes = FIXED_BYTES + nameBytes;
  if (
    bytes[0] !== VERSION ||
    nameBytes > MAX_NAME_BYTES ||
    datagram.length < headerBytes + INNER_FIXED_BYTES + TAG_BYTES
  )
    return null;
  const incarnationAt = 1 + LABEL_BYTES;
  const counterAt = incarnationAt + INCARNATION_BYTES;
  return {
    label: bytes.subarray(1, incarnationAt),
    incarnation: bytes.toString("hex", incarnationAt, counterAt),
    counter: bytes.readUIntBE(counterAt, COUNTER_BYTES),
    from: bytes.toString("utf8", FIXED_BYTES, headerBytes),
    headerBytes,
  };
}

function decrypt(key: Uint8Array, counter: number, datagram: Uint8Array, headerBytes: number): Buffer | null {
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, nonceOf(counter), { authTagLength: TAG_BYTES });
    decipher.setAAD(datagram.subarray(0, headerBytes));
    decipher.setAuthTag(datagram.subarray(datagram.length - TAG_BYTES));
    const text = decipher.update(datagram.subarray(headerBytes, datagram.length - TAG_BYTES));
    return Buffer.concat([text, decipher.final()]);
  } catch {
    // The one thing that it can mean: the tag does not fit. The caller counts it.
    return null;
  }
}

function parseInner(inner: Buffer) {
  if (inner.length < INNER_FIXED_BYTES) return null;
  let at = 2 * CHALLENGE_BYTES + COUNTER_BYTES;
  const names: string[] = [];
  for (let i = 0; i < 2; i++) {
    const end = at + 1 + (inner[at] ?? MAX_DATAGRAM_BYTES);
    if (end > inner.length) return null;
    names.push(inner.toString("utf8", at + 1, end));
    at = end;
  }
  return {
    challenge: inner.subarray(0, CHALLENGE_BYTES),
    echo: inner.subarray(CHALLENGE_BYTES, 2 * CHALLENGE_BYTES),
    acknowledged: inner.readUIntBE(2 * CHALLENGE_BYTES, COUNTER_BYTES),
    to: names[0]!,
    lan: names[1]!,
    body: inner.subarray(at),
  };
}

/** Counts a counter once; false for one that was seen or is too old. */
function admitCounter(session: Session, counter: number): boolean {
  if (counter > session.highest) {
    const step = counter - session.highest;
    session.seen = step >= WINDOW ? 1n : BigInt.asUintN(WINDOW, (session.seen << BigInt(step)) | 1n);
    session.highest = counter;
    return true;
  }
  const age = session.highest - counter;
  if (age >= WINDOW || counter === 0) return false;
  const bit = 1n << BigInt(age);
  if ((session.seen & bit) !== 0n) return false;
  session.seen |= bit;
  return true;
}
