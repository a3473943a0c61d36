/**
 * What was sent and not yet acknowledged: how much, how old, and who waits for it.
 *
 * The limits are on acknowledgements, not on the connection: a peer whose disk hangs still answers TCP. All times are of the
 * caller's monotonic clock, in ms.
 */

/** Bounds of the queue. */
export interface WindowLimits {
  /** Unacknowledged bytes before operations must wait. */
  bytes: number;
  /** Age in ms of the oldest unapplied operation before further ones must wait: back pressure. */
  ageMs: number;
  /** Age in ms of the oldest unacknowledged thing at which the peer counts as gone. */
  timeoutMs: number;
}

/** Frames in flight at most; a power of two. */
const SLOTS = 1 << 16;

/** Sequence numbers and acknowledgements of one source. It outlives connections. */
export class SendWindow {
  readonly #limits: WindowLimits;
  readonly #bytesAt = new Float64Array(SLOTS);
  readonly #sentAt = new Float64Array(SLOTS);
  /** Cumulative bytes sent. */
  #bytes = 0;
  /** Last sequence given out. */
  #last = 0;
  #applied = 0;
  #inHands = 0;
  /** Sequences up to here need no peer: they were sent before the last connection was lost, or while alone. */
  #floor = 0;

  constructor(limits: WindowLimits) {
    this.#limits = limits;
  }

  /** The last sequence given out. */
  get last(): number {
    return this.#last;
  }
  /** Bytes sent and not applied by the peer. */
  get queuedBytes(): number {
    const applied = Math.max(this.#applied, this.#floor);
    return this.#last === applied
      ? 0
      : this.#bytes - (applied > this.#last - SLOTS && applied > 0 ? this.#bytesAt[applied % SLOTS]! : 0);
  }

  /** Numbers a frame of `bytes` bytes that goes out now. */
  send(bytes: number, now: number): number {
    this.#last++;
    this.#bytes += bytes;
    this.#bytesAt[this.#last % SLOTS] = this.#bytes;
    this.#sentAt[this.#last % SLOTS] = now;
    return this.#last;
  }

  /** May another operation of `bytes` bytes go out, or must it wait? */
  hasRoom(bytes: number, now: number): boolean {
    const applied = Math.max(this.#applied, this.#floor);
    if (this.#last - applied >= SLOTS - 1) return false;
    if (this.#last === applied) return true;
    return (
      this.queuedBytes + bytes <= this.#limits.bytes &&
      now - this.#sentAt[(applied + 1) % SLOTS]! <= this.#limits.ageMs
    );
  }

  /** The peer acknowledges. Returns false for a number that was never sent on this connection: the peer is not to be believed. */
  acknowledge(applied: number, inHands: number): boolean {
    if (applied > this.#last || inHands > this.#last || applied > inHands) return false;
    this.#applied = Math.max(this.#applied, applied);
    this.#inHands = Math.max(this.#inHands, inHands);
    return true;
  }

  /** Has the peer this sequence in its hands (or does nobody wait for the peer any more)? 0 was never sent: true. */
  isInHands(sequence: number): boolean {
    return sequence <= Math.max(this.#inHands, this.#floor);
  }
  /** Has the peer applied this sequence? */
  isApplied(sequence: number): boolean {
    return sequence <= Math.max(this.#applied, this.#floor);
  }

  /** Is the oldest operation that the peer did not apply older than the time limit? */
  isOverdue(now: number): boolean {
    const applied = Math.max(this.#applied, this.#floor);
    return this.#last > applied && now - this.#sentAt[(applied + 1) % SLOTS]! > this.#limits.timeoutMs;
  }

  /** Nobody waits for what was sent so far: this node is durably alone, or what it sent is dirty and will be copied. */
  release(): void {
    this.#floor = this.#last;
  }
}

/**
 * Syncs that wait for the peer's durable word. A ticket is settled by that word on the same connection, by this node being
 * durably alone, or by a reintegration that ended after it was taken (both disks hold everything then). Never by old news.
 */
export class SyncTickets {
  /** ticket -> when it was taken. In order, so the first is the oldest. */
  readonly #open = new Map<number, number>();
  #last = 0;
  #connection = 0;
  #alone = true;

  /** A new ticket. */
  take(now: number): number {
    this.#last++;
    if (!this.#alone) this.#open.set(this.#last, now);
    return this.#last;
  }

  isSettled(ticket: number): boolean {
    return !this.#open.has(ticket);
  }

  /** A new connection: words that arrive on an older one do not count. Returns its number, for `settle`. */
  connected(): number {
    return ++this.#connection;
  }

  /** The peer's word on this connection. False: it has no business to settle it (an older connection, or never taken). */
  settle(ticket: number, connection: number): boolean {
    if (connection !== this.#connection) return false;
    return this.#open.delete(ticket);
  }

  /** This node is durably alone: nobody waits for the peer. */
  alone(): void {
    this.#alone = true;
    this.#open.clear();
  }

  /** From here on syncs wait for the peer again. Called before the peer may be promoted with what this node acknowledges. */
  together(): void {
    this.#alone = false;
  }

  /** Tickets that wait: to be asked again on a new connection. */
  waiting(): IterableIterator<number> {
    return this.#open.keys();
  }

  /** Is the oldest waiting ticket older than the time limit? */
  isOverdue(now: number, timeoutMs: number): boolean {
    for (const taken of this.#open.values()) return now - taken > timeoutMs;
    return false;
  }
}

/** How long to wait before the next attempt with a peer that keeps failing: attach, catch up, hang, detach, for ever. */
export class FlappingBackOff {
  #failures = 0;
  #goodSince: number | null = null;

  /** `first`, `most`: shortest and longest wait, ms; `calm`: in sync for so long, ms, and the past is forgotten. */
  constructor(
    readonly first = 500,
    readonly most = 60_000,
    readonly calm = 60_000,
  ) {}

  /** The copies are in sync. */
  inSync(now: number): void {
    this.#goodSince ??= now;
  }

  /** The peer was lost. Returns how long to wait, ms. */
  lost(now: number): number {
    if (this.#goodSince !== null && now - this.#goodSince >= this.calm) this.#failures = 0;
    this.#goodSince = null;
    const wait = Math.min(this.most, this.first * 2 ** this.#failures);
    this.#failures++;
    return wait;
  }
}
