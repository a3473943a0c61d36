/**
 * Replies that wait: for a disk (the pool), for the peer's durable word (a ticket), for the peer's hands (a sequence number).
 * Lines of a fixed table; nothing is allocated when one begins or ends.
 */

import type { Memory } from "../../platform/linux/memory.ts";
import type { Completion } from "../loop/pool.ts";
import { IN_UNIQUE_WORD, REPLY_HEADER } from "./fuse_protocol.ts";
import type { Session } from "./session.ts";

/** Replies that can wait at once. */
export const LINES = 2048;
/* What a line waits for; several at once for an fsync. */
const LOCAL = 1;
const TICKET = 2;
const SEQUENCE = 4;
const READ = 8;
const FLUSH = 16;
const REMOTE = TICKET | SEQUENCE | FLUSH;

/** The table of one session. */
export class PendingReplies implements Completion {
  private readonly uniqueLow = new Uint32Array(LINES);
  private readonly uniqueHigh = new Uint32Array(LINES);
  private readonly waits = new Uint8Array(LINES);
  private readonly results = new Int32Array(LINES);
  private readonly awaited = new Float64Array(LINES);
  /** The descriptor's slot that is held for the pool, -1 when none. */
  private readonly held = new Int32Array(LINES);
  private readonly freeLines = new Int32Array(LINES);
  private freeCount = LINES;
  /** Lines that wait for the replicator. */
  private remote = 0;

  constructor(private readonly session: Session) {
    for (let i = 0; i < LINES; i++) this.freeLines[i] = LINES - 1 - i;
  }

  /** Replies not yet sent. */
  get count(): number {
    return LINES - this.freeCount;
  }

  get isFull(): boolean {
    return this.freeCount === 0;
  }

  /** Begins a line for the request at hand. There must be a free one. */
  private begin(waits: number, awaited: number, heldSlot: number): number {
    const line = this.freeLines[--this.freeCount]!;
    const { words } = this.session.request;
    this.uniqueLow[line] = words[IN_UNIQUE_WORD]!;
    this.uniqueHigh[line] = words[IN_UNIQUE_WORD + 1]!;
    this.waits[line] = waits;
    this.results[line] = 0;
    this.awaited[line] = awaited;
    this.held[line] = heldSlot;
    if ((waits & REMOTE) !== 0) this.remote++;
    return line;
  }

  /** The local half of a sync job is on its way; `ticket` is the other. Returns the cookie for the pool. */
  beginSync(ticket: number, heldSlot: number): number {
    const settled = this.session.replicator.isSettled(ticket);
    return this.begin(settled ? LOCAL : LOCAL | TICKET, ticket, heldSlot);
  }

  /** A read is on its way through the pool. */
  beginRead(heldSlot: number): number {
    return this.begin(READ, 0, heldSlot);
  }

  /** A write of `length` bytes is done here and waits to be in the peer's hands. */
  beginWrite(sequence: number, length: number): void {
    this.results[this.begin(SEQUENCE, sequence, -1)] = length;
  }

  /** A close waits until everything up to `sequence` is in the peer's hands. */
  beginFlush(sequence: number): void {
    this.begin(FLUSH, sequence, -1);
  }

  /** A job that could not be handed to the pool: the line never was. */
  cancel(line: number): void {
    if ((this.waits[line]! & REMOTE) !== 0) this.remote--;
    this.end(line);
  }

  /** The pool did a line's job. */
  completed(line: number, result: number, data: Memory): void {
    if (this.session.ended) return;
    if (this.waits[line] === READ) {
      if (result < 0) this.session.reportDisk(result, "read", this.#nodeOf(line));
      if (result > 0)
        Buffer.prototype.copy.call(data.bytes, this.session.reply.bytes, REPLY_HEADER, 0, result);
      this.reply(line, result);
      return;
    }
    this.synced(line, result);
  }

  #nodeOf(line: number): number {
    return this.session.backing.descriptors.nodeAt(this.held[line]!);
  }

  /** This disk's half of a sync is done. */
  synced(line: number, result: number): void {
    const { descriptors } = this.session.backing;
    if (result < 0) this.session.reportDisk(result, "fsync", this.#nodeOf(line));
    descriptors.release(this.held[line]!);
    this.held[line] = -1;
    this.waits[line]! &= ~LOCAL;
    this.results[line] = result;
    if (this.waits[line] === 0) this.reply(line, result);
    else if (result < 0) {
      // This disk failed: the peer's word cannot mend it.
      this.remote--;
      this.reply(line, result);
    }
  }

  /** Sends the replies whose word from the peer is in. */
  settle(): void {
    if (this.remote === 0) return;
    const { replicator } = this.session;
    for (let line = 0; line < LINES && this.remote > 0; line++) {
      const waits = this.waits[line]!;
      if ((waits & TICKET) !== 0 && replicator.isSettled(this.awaited[line]!)) {
        this.remote--;
        this.waits[line] = waits & ~TICKET;
        if (this.waits[line] === 0) this.reply(line, this.results[line]!);
      } else if ((waits & FLUSH) !== 0 && replicator.isAcknowledged(this.awaited[line]!)) {
        this.remote--;
        this.reply(line, 0);
      } else if ((waits & SEQUENCE) !== 0 && replicator.isAcknowledged(this.awaited[line]!)) {
        this.remote--;
        this.replyWritten(line);
      }
    }
  }

  private replyWritten(line: number): void {
    const { words } = this.session.reply;
    words[REPLY_HEADER >>> 2] = this.results[line]!;
    words[(REPLY_HEADER >>> 2) + 1] = 0;
    this.reply(line, 8);
  }

  private reply(line: number, result: number): void {
    this.session.send(this.uniqueLow[line]!, this.uniqueHigh[line]!, result);
    this.end(line);
  }

  private end(line: number): void {
    this.session.backing.descriptors.release(this.held[line]!);
    this.held[line] = -1;
    this.waits[line] = 0;
    this.freeLines[this.freeCount++] = line;
  }
}
