/**
 * A live mount: reads the kernel's requests, lets the operations act, answers.
 *
 * One thread, driven from outside by poll(2): `drain` when `fd` is readable, `resume` when the replicator may have moved, `pool.drain` when the
 * pool's eventfd is readable. A request that must wait for room keeps its buffer (parked); one that only waits for a
 * disk or the peer's word keeps a line in a table (pending). Requests in flight have no order among each other, so those that can go on do.
 */

import { availableParallelism } from "node:os";
import { errnoName, errnos, isDiskFault } from "../../platform/linux/errno.ts";
import * as libc from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import type { Replicator } from "../../replication/replicator.ts";
import type { Pool } from "../loop/pool.ts";
import type { Backing } from "./backing.ts";
import {
  IN_NODE_WORD,
  IN_OPCODE,
  IN_UNIQUE_WORD,
  MAX_TRANSFER,
  NOTIFY_RESEND,
  REPLY_HEADER,
} from "./fuse_protocol.ts";
import { LocalSyncs } from "./local_syncs.ts";
import { ModificationTimes } from "./modification_times.ts";
import { UNLINKED } from "./node_table.ts";
import { operate } from "./operations/operations.ts";
import { NO_REPLY, PARKED } from "./outcome.ts";
import { PendingReplies } from "./pending.ts";

const BUFFER = MAX_TRANSFER + 8192;
/** Requests that can wait for room at once, plus the one being read. */
const BUFFERS = 24;
/** Requests read in one `drain`, so that others in the loop get their turn. */
const BATCH = 64;
/** How long `drain` waits for the next request, and how long it may go on in that way, ms. */
const LINGER = 0.02;
const LONGEST = 1;
/** After so many requests without a sync, nobody is expected to wait for the peer or a disk. */
const CALM = 32;
/** On one processor, who would send the next request cannot run meanwhile. */
const mayLinger = availableParallelism() > 1;

/** What a module promises of its writes and of close(2): see `replicate` in modules/schema.ts. */
export interface SessionOptions {
  durability: "fsync" | "write";
  close: "ordered" | "acknowledged";
}

/** One mounted directory. */
export class Session {
  /** The request at hand. */
  request: Memory;
  /** The reply being composed; its payload begins at REPLY_HEADER. */
  readonly reply: Memory = libc.allocate(BUFFER);
  readonly pending: PendingReplies;
  /** What this disk has to sync: call its `begin` once a turn. */
  readonly syncs: LocalSyncs;
  readonly times: ModificationTimes;
  /** True after the connection ended: unmounted or aborted. */
  ended = false;
  /** Hears that this disk failed a call: the copy is suspect from then on. The application gets the error in any case. */
  onDiskFailure: ((errno: number, call: string) => void) | null = null;
  /** Requests answered, for statistics. */
  served = 0;
  /** Stream sequence of the last write told to the replicator. */
  lastWrite = 0;
  /** Requests since the last sync. */
  sinceSync = 0;
  private readonly free: Memory[] = [];
  private readonly parked: Memory[] = [];

  constructor(
    /** The FUSE descriptor. */
    readonly fd: number,
    readonly backing: Backing,
    readonly replicator: Replicator,
    readonly pool: Pool,
    readonly options: SessionOptions,
  ) {
    this.pending = new PendingReplies(this);
    this.syncs = new LocalSyncs(this);
    this.times = new ModificationTimes(this, options.durability === "fsync");
    for (let i = 0; i < BUFFERS; i++) this.free.push(libc.allocate(BUFFER));
    this.request = this.free[0]!;
  }

  /** True when a request waits for room in the replicator or the pool. */
  get isParked(): boolean {
    return this.parked.length > 0;
  }

  /** Is there a buffer to read into? When not, `fd` should not be polled until `resume` freed one. */
  get canRead(): boolean {
    return this.free.length > 0 && !this.ended;
  }

  /** Reads and handles requests until there are none, at most a batch. Returns how many. */
  drain(): number {
    let count = 0;
    let until = 0;
    let end = 0;
    while (count < BATCH) {
      const buffer = this.free[this.free.length - 1];
      if (buffer === undefined || this.ended) return count;
      const length = libc.readFd(this.fd, buffer.address, BUFFER);
      if (length === -errnos.EAGAIN && count > 0 && this.isCalm) {
        // A turn of the loop costs as much as the next request takes to come from an application that waits for each answer.
        const now = performance.now();
        if (until === 0) until = now + LINGER;
        if (end === 0) end = now + LONGEST;
        if (now > until || now > end) return count;
        this.backing.descriptors.closeForgotten();
        continue;
      }
      until = 0;
      if (length < 0) {
        if (this.readFailed(length)) return count;
        continue;
      }
      count++;
      this.request = buffer;
      this.free.pop();
      if (this.handle()) this.free.push(buffer);
      else this.parked.push(buffer);
    }
    return count;
  }

  /** Nothing is under way that anybody waits for. */
  private get isCalm(): boolean {
    return mayLinger && this.sinceSync > CALM && this.parked.length === 0 && this.pending.count === 0;
  }

  /** Tries parked requests again, in the order in which they came, and answers what was only waiting for the peer. */
  resume(): void {
    if (this.ended) return;
    while (this.backing.descriptors.closeForgotten());
    this.pending.settle();
    let kept = 0;
    for (let i = 0; i < this.parked.length; i++) {
      const buffer = this.parked[i]!;
      this.request = buffer;
      if (this.handle()) this.free.push(buffer);
      else this.parked[kept++] = buffer;
    }
    this.parked.length = kept;
  }

  /** Once a second: what no request announces. */
  tick(): void {
    if (this.ended) return;
    this.times.tick();
  }

  /** Asks the kernel to send again what was in flight when a former server died. */
  resend(): void {
    const { words } = this.reply;
    words[0] = REPLY_HEADER;
    words[1] = NOTIFY_RESEND;
    words[2] = 0;
    words[3] = 0;
    libc.writeFd(this.fd, this.reply.address, REPLY_HEADER);
  }

  /** True when the request was dealt with, false when it must wait for room. */
  private handle(): boolean {
    const result = operate(this);
    if (result === PARKED) return false;
    this.served++;
    this.sinceSync++;
    if (result !== NO_REPLY) this.answer(result);
    return true;
  }

  /**
   * Answers the request at hand: a payload of `result` bytes that lies in the reply buffer, or an error. An operation that calls
   * it itself, and then returns NO_REPLY, has done what was asked and nothing but the peer to tell: the application goes on meanwhile.
   */
  answer(result: number): void {
    const { words } = this.request;
    this.send(words[IN_UNIQUE_WORD]!, words[IN_UNIQUE_WORD + 1]!, result);
  }

  /** Answers the request with this `unique`. `result`: length of the payload in the reply buffer, or -errno. */
  send(uniqueLow: number, uniqueHigh: number, result: number): void {
    if (this.ended) return;
    const length = result < 0 ? REPLY_HEADER : REPLY_HEADER + result;
    const { words } = this.reply;
    words[0] = length;
    words[1] = Math.min(result, 0);
    words[2] = uniqueLow;
    words[3] = uniqueHigh;
    const written = libc.writeFd(this.fd, this.reply.address, length);
    if (written === length) return;
    // ENOENT: the kernel gave the request up meanwhile. ENODEV and ECONNABORTED: the mount is gone.
    if (written === -errnos.ENOENT) return;
    if (written === -errnos.ENODEV || written === -errnos.ECONNABORTED) this.ended = true;
    else
      console.error(
        `FUSE refused a reply of ${length} bytes to opcode ${this.request.view.getUint32(IN_OPCODE, true)}: ${errnoName(written)}`,
      );
  }

  /** Tells that the disk failed, when the error says so: not when it is full or a file is out of reach. `index`: the node that it was about, or 0. */
  reportDisk(error: number, call: string, index = 0): void {
    const { ENOSPC, EDQUOT } = errnos;
    if (!isDiskFault(error) || error === -ENOSPC || error === -EDQUOT) return;
    this.onDiskFailure?.(-error, call);
    if (index === 0 || this.backing.isExcluded(index)) return;
    const id = this.backing.table.identity(index);
    if (call === "read") this.replicator.unreadable(id);
    else this.replicator.diskFailed(id);
  }

  /** True when reading should stop. */
  private readFailed(error: number): boolean {
    if (error === -errnos.EAGAIN) return true;
    // The request was given up before it was read; the next one is not concerned.
    if (error === -errnos.ENOENT || error === -errnos.EINTR) return false;
    if (error === -errnos.ENODEV || error === -errnos.ECONNABORTED) {
      this.times.settleAll();
      this.ended = true;
      return true;
    }
    throw new Error(`cannot read FUSE requests: ${errnoName(error)}`);
  }

  /** A former server may have carried this request out already, and died before it could answer. */
  get isResent(): boolean {
    return (this.request.words[IN_UNIQUE_WORD + 1]! & 0x80000000) !== 0;
  }
  /** Writes down what was there before the request at hand, for who might have to carry it out again. */
  intend(low: number, high: number): void {
    const { words } = this.request;
    if (!this.wasIntended)
      this.backing.table.intend(words[IN_UNIQUE_WORD]!, words[IN_UNIQUE_WORD + 1]!, low, high);
  }
  /** Is the request at hand the one in the midst of which a former server died? */
  get wasIntended(): boolean {
    const { words } = this.request;
    return this.backing.table.wasIntended(words[IN_UNIQUE_WORD]!, words[IN_UNIQUE_WORD + 1]!);
  }

  /** The node that the request is about, or 0. */
  node(): number {
    const { words } = this.request;
    return this.backing.table.fromNodeId(words[IN_NODE_WORD]!, words[IN_NODE_WORD + 1]!);
  }

  /** The node whose id lies at `offset` of the request, or 0. */
  nodeAt(offset: number): number {
    const { words } = this.request;
    return this.backing.table.fromNodeId(words[offset >>> 2]!, words[(offset >>> 2) + 1]!);
  }

  /** Takes references away that the kernel gave back. */
  forget(index: number, count: number): void {
    const { table } = this.backing;
    if (index === 0 || !table.forget(index, count)) return;
    this.times.forgotten(index);
    if ((table.flags(index) & UNLINKED) !== 0 && !this.backing.isExcluded(index))
      this.replicator.forget(table.identity(index));
    this.backing.free(index);
  }

  /** Closes the connection and everything under it. The mount must be gone. */
  close(): void {
    if (!this.ended) this.times.settleAll();
    libc.close(this.fd);
    this.backing.close();
    for (const buffer of [...this.free, ...this.parked, this.reply]) libc.release(buffer);
    this.ended = true;
  }
}
