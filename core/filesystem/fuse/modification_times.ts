/**
 * Which modification time a file has after a write.
 *
 * With the writeback cache it is the kernel's: it tells a new one after the writes (SETATTR), but not when the time that it knows already is the
 * same: a truncation and a write within one tick of its clock. Our own write gave the backing file another one, and the peer's a
 * third. So the time of before the first write is put back when no other was told. Without the cache it is the backing file's.
 * A file that was just made is such a file too: most get another time from their first writes, or from who unpacks them.
 *
 * Until then the two disks have different ones. So they are settled before a durable point begins: after it the marks would call the file
 * clean, and when both nodes lose power nobody would look at it again.
 *
 * Times are not read where that can be avoided: ext4 gives a file whose time was read a new, finer one at its next write, and then
 * every fsync has to commit its journal.
 */
import { AT_EMPTY_PATH, UTIME_OMIT } from "../../platform/linux/constants.ts";
import * as libc from "../../platform/linux/libc.ts";
import { getI64 } from "../../platform/linux/memory.ts";
import { ATTR_MTIME } from "../../replication/replicator.ts";
import { emptyString, STAT, STX_MTIME, scratch, TIMES, timesAddress } from "../objects/places.ts";
import { GONE, TIME_UNTOLD, TIMES_PENDING } from "./node_table.ts";
import type { Session } from "./session.ts";

const FILES = 4096;
/** The kernel writes back at least once a tick: what it did not tell within two, it has not to tell. */
const TICKS_TO_TELL = 2;
/** What was told last, by the lower bits of the node's index. */
const TOLD = 1024;

/** The files of one session whose time is not settled. */
export class ModificationTimes {
  private readonly nodes = new Int32Array(FILES);
  private readonly seconds = new Float64Array(FILES);
  private readonly nanos = new Uint32Array(FILES);
  private readonly since = new Int32Array(FILES);
  private count = 0;
  private ticks = 0;
  private readonly toldNodes = new Int32Array(TOLD);
  private readonly toldSeconds = new Float64Array(TOLD);
  private readonly toldNanos = new Uint32Array(TOLD);

  constructor(
    private readonly session: Session,
    /** The kernel tells the times. */
    readonly kernelOwns: boolean,
  ) {}

  /** The data of this file, open as `fd`, is about to change. */
  changing(index: number, fd: number): void {
    const { backing } = this.session;
    const flags = backing.table.flags(index);
    if ((flags & TIMES_PENDING) !== 0 || backing.isExcluded(index)) return;
    const told = index % TOLD;
    if (this.kernelOwns && this.toldNodes[told] === index)
      this.add(index, flags, this.toldSeconds[told]!, this.toldNanos[told]!);
    else if (!this.kernelOwns) this.add(index, flags, 0, 0);
    else if (backing.statDescriptor(fd) >= 0)
      this.add(
        index,
        flags,
        getI64(scratch.view, STAT + STX_MTIME),
        scratch.view.getUint32(STAT + STX_MTIME + 8, true),
      );
  }

  /** The kernel owns the times, and a regular file was made with this one: the peer is told of it from here, within a second. */
  made(index: number, seconds: number, nanos: number): void {
    this.add(index, this.session.backing.table.flags(index) | TIME_UNTOLD, seconds, nanos);
  }

  private add(index: number, flags: number, seconds: number, nanos: number): void {
    if (this.count === FILES) this.makeRoom(index);
    const slot = this.count++;
    this.nodes[slot] = index;
    this.seconds[slot] = seconds;
    this.nanos[slot] = nanos;
    this.since[slot] = this.ticks;
    this.session.backing.table.setFlags(index, flags | TIMES_PENDING);
  }

  /** Settles all others. Each is opened for that, and who asked holds a descriptor of this node: its number must not become another file's. */
  private makeRoom(index: number): void {
    const { descriptors } = this.session.backing;
    const held = descriptors.hold(index);
    this.settleAll();
    descriptors.release(held);
  }

  /** The kernel told this modification time, which its own operation applies and replicates. */
  told(index: number, seconds: number, nanos: number): void {
    if ((this.session.backing.table.flags(index) & TIMES_PENDING) !== 0) this.remove(this.slotOf(index));
    this.heard(index);
    const told = index % TOLD;
    this.toldNodes[told] = index;
    this.toldSeconds[told] = seconds;
    this.toldNanos[told] = nanos;
  }

  /**
   * The file is about to be synced, all of it or only its data. The kernel has told what it has to tell; the rest can wait for the next
   * tick, unless the peer was told nothing since the file was made but what its first writes may have changed.
   */
  synced(index: number, dataOnly: boolean): void {
    const isUntold = (this.session.backing.table.flags(index) & TIME_UNTOLD) !== 0;
    if (this.kernelOwns && (!isUntold || dataOnly)) return;
    this.settle(index);
    this.heard(index);
  }

  /** The peer has a time of this file that was meant: from now on its writes are ordinary ones. */
  private heard(index: number): void {
    const { table } = this.session.backing;
    table.setFlags(index, table.flags(index) & ~TIME_UNTOLD);
  }

  /** The kernel forgets the file. */
  forgotten(index: number): void {
    this.settle(index);
    if (this.toldNodes[index % TOLD] === index) this.toldNodes[index % TOLD] = 0;
  }

  /** Nothing more is told of this file. */
  settle(index: number): void {
    if ((this.session.backing.table.flags(index) & TIMES_PENDING) !== 0) this.settleSlot(this.slotOf(index));
  }

  /** Nothing is told any more of any file. */
  settleAll(): void {
    while (this.count > 0) this.settleSlot(this.count - 1);
  }

  /** Once a second. */
  tick(): void {
    this.ticks++;
    const { table } = this.session.backing;
    for (let slot = this.count - 1; slot >= 0; slot--) {
      const isUntold = (table.flags(this.nodes[slot]!) & TIME_UNTOLD) !== 0;
      const wait = this.kernelOwns && !isUntold ? TICKS_TO_TELL : 0;
      if (this.ticks - this.since[slot]! >= wait) this.settleSlot(slot);
    }
  }

  private slotOf(index: number): number {
    for (let slot = this.count - 1; slot >= 0; slot--) if (this.nodes[slot] === index) return slot;
    throw new Error(`node ${index} is marked, but not among the ${this.count} files with unsettled times`);
  }

  private remove(slot: number): void {
    const { table } = this.session.backing;
    const index = this.nodes[slot]!;
    table.setFlags(index, table.flags(index) & ~TIMES_PENDING);
    const last = --this.count;
    this.nodes[slot] = this.nodes[last]!;
    this.seconds[slot] = this.seconds[last]!;
    this.nanos[slot] = this.nanos[last]!;
    this.since[slot] = this.since[last]!;
  }

  private settleSlot(slot: number): void {
    const { backing, replicator } = this.session;
    const index = this.nodes[slot]!;
    let seconds = this.seconds[slot]!;
    let nanos = this.nanos[slot]!;
    const flags = backing.table.flags(index);
    this.remove(slot);
    // Nobody will ask a disk for it any more.
    if (this.kernelOwns && (flags & GONE) !== 0) return;
    const fd = backing.descriptors.get(index);
    if (fd < 0) return;
    const isRead = !this.kernelOwns || (flags & TIME_UNTOLD) !== 0;
    if (isRead && backing.statDescriptor(fd) < 0) return;
    const seen = isRead ? getI64(scratch.view, STAT + STX_MTIME) : -1;
    const seenNanos = isRead ? scratch.view.getUint32(STAT + STX_MTIME + 8, true) : -1;
    if (!this.kernelOwns) {
      seconds = seen;
      nanos = seenNanos;
    } else if (seen !== seconds || seenNanos !== nanos) {
      // A flag that forbids changes was set meanwhile: then the time is the one that the file has.
      if (putBack(fd, seconds, nanos) < 0 && backing.statDescriptor(fd) >= 0) {
        seconds = getI64(scratch.view, STAT + STX_MTIME);
        nanos = scratch.view.getUint32(STAT + STX_MTIME + 8, true);
      }
    }
    replicator.setAttributes(backing.table.identity(index), ATTR_MTIME, 0, 0, 0, 0, 0, 0, seconds, nanos);
  }
}

function putBack(fd: number, seconds: number, nanos: number): number {
  const { view } = scratch;
  view.setUint32(TIMES, 0, true);
  view.setUint32(TIMES + 4, 0, true);
  view.setUint32(TIMES + 8, UTIME_OMIT, true);
  view.setUint32(TIMES + 12, 0, true);
  view.setUint32(TIMES + 16, seconds >>> 0, true);
  view.setInt32(TIMES + 20, Math.floor(seconds / 4294967296), true);
  view.setUint32(TIMES + 24, nanos, true);
  view.setUint32(TIMES + 28, 0, true);
  return libc.utimensat(fd, emptyString, timesAddress, AT_EMPTY_PATH);
}
