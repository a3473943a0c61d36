/**
 * The two ends of the ordered stream inside a link: frames queue here until a sealed frame takes a batch of them along, and
 * come out whole again, however they were cut.
 */
import { allocate, release } from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import { Frame, frameBound, MAX_FRAME_BYTES } from "../../replication/operation.ts";
import { MAX_FRAME } from "./frames.ts";
import type { Link } from "./link.ts";

const FIRST_ROOM = 4 << 20;
/** What nobody waits for collects up to so many bytes, or for so long (ms): the peer wakes once for all of it. */
const ENOUGH = 64 << 10;
const PATIENCE = 1;
/** A batch is sealed in pieces of this size: large enough to be cheap, small enough to overlap with sending. */
const BATCH = Math.min(MAX_FRAME, 1 << 20);

/** Frames on their way out. */
export class StreamWriter {
  /** Fill its fields, then call `add`. */
  readonly frame = new Frame();
  #bytes = new Uint8Array(FIRST_ROOM);
  #head = 0;
  #tail = 0;
  #isAwaited = false;
  #since = 0;

  /** Bytes that wait to be sealed. */
  get queued(): number {
    return this.#tail - this.#head;
  }

  /** Queues `frame`. Memory grows with what waits: who fills it looks at `queued` first. */
  add(): void {
    const { frame } = this;
    const bound = frameBound(frame.data.length + frame.name.length + frame.toName.length);
    if (this.#tail + bound > this.#bytes.length) this.#makeRoom(bound);
    this.#tail = frame.encode(this.#bytes, this.#tail);
  }

  /** Somebody waits for what was queued: it leaves at the next opportunity. */
  hurry(): void {
    this.#isAwaited = true;
  }

  /** When what is queued shall leave, in the clock of `now`. */
  dueAt(now: number): number {
    if (this.#head === this.#tail) return Number.POSITIVE_INFINITY;
    if (this.#isAwaited || this.queued >= ENOUGH) return now;
    if (this.#since === 0) this.#since = now;
    return this.#since + PATIENCE;
  }

  /** Gives the link what it can take. Returns the bytes given. */
  flush(link: Link): number {
    let given = 0;
    while (this.queued > 0 && link.isIdle()) {
      const count = Math.min(BATCH, this.queued);
      const from = this.#head;
      this.#head += count;
      given += count;
      link.sendFrame(this.#bytes.subarray(from, from + count));
    }
    if (this.#head === this.#tail) this.clear();
    return given;
  }

  /** Drops everything: the connection is gone. */
  clear(): void {
    this.#head = this.#tail = 0;
    this.#isAwaited = false;
    this.#since = 0;
  }

  #makeRoom(bound: number): void {
    const waiting = this.queued;
    const target =
      waiting + bound > this.#bytes.length / 2 ? new Uint8Array(this.#bytes.length * 2 + bound) : this.#bytes;
    target.set(this.#bytes.subarray(this.#head, this.#tail));
    this.#bytes = target;
    this.#head = 0;
    this.#tail = waiting;
  }
}

const READER_ROOM = 2 * (MAX_FRAME_BYTES + MAX_FRAME);
/** What is received and cannot be read yet may fill so much. Memory that was never used takes none. */
const MOST_ROOM = 32 << 20;

/** Frames coming in. Their data lies in memory that the kernel may be pointed at. */
export class StreamReader {
  /** The frame that `next` read; good until the following `next`. */
  readonly frame = new Frame();
  readonly memory: Memory = allocate(MOST_ROOM);
  #head = 0;
  #tail = 0;

  /** Nothing more lies here to be read. */
  get isEmpty(): boolean {
    return this.#head === this.#tail;
  }

  /** Bytes that may be pushed before all whole frames are read. */
  get room(): number {
    return MOST_ROOM - (this.#tail - this.#head);
  }

  /** Adds what a sealed frame held. Read all whole frames before the next call, or see whether there is `room`. */
  push(plain: Uint8Array): void {
    if (this.#head > 0 && this.#tail + plain.length > READER_ROOM) {
      this.memory.bytes.copyWithin(0, this.#head, this.#tail);
      this.#tail -= this.#head;
      this.#head = 0;
    }
    this.memory.bytes.set(plain, this.#tail);
    this.#tail += plain.length;
  }

  /** Reads the next whole frame into `frame`; false when more bytes must arrive. Throws WireError. */
  next(): boolean {
    const end = this.frame.decode(this.memory.bytes, this.#head, this.#tail);
    if (end === 0) {
      if (this.#head === this.#tail) this.#head = this.#tail = 0;
      return false;
    }
    this.#head = end;
    return true;
  }

  /** Drops everything: the connection is gone. */
  clear(): void {
    this.#head = this.#tail = 0;
  }

  /** Gives the memory back. */
  close(): void {
    release(this.memory);
  }
}
