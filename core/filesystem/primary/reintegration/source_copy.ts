/**
 * PRIM's side of reintegration: reads what core/replication says is next and puts it into the stream, between live operations, never so
 * much at once that those wait.
 */
import { S_IFLNK, S_IFMT, S_IFREG, SEEK_DATA } from "../../../platform/linux/constants.ts";
import { errnoName, errnos, isAbsent } from "../../../platform/linux/errno.ts";
import { allocate, close, lseek, pread } from "../../../platform/linux/libc.ts";
import { IdentitySet } from "../../../replication/identity_set.ts";
import { BLOCK_BYTES } from "../../../replication/mark.ts";
import type { Marks } from "../../../replication/marks.ts";
import type { DataRange } from "../../../replication/object_marks.ts";
import { type Frame, FrameType } from "../../../replication/operation.ts";
import { Reintegration } from "../../../replication/reintegration.ts";
import type { Host } from "../../host.ts";
import { monotonic } from "../../loop/poll_loop.ts";
import { POOL_BUFFER } from "../../loop/pool.ts";
import { packXattrs, readAttributes, readTarget, readXattrs } from "../../objects/attributes.ts";
import { type BackingTree, sizeOf, type TreeRoot } from "../../objects/source_tree.ts";
import type { OrderedStream } from "../../stream/ordered_stream.ts";
import type { StreamWriter } from "../../stream/stream_buffers.ts";
import { OBJECTS_AHEAD, ReadAhead, readFromMemory } from "./read_ahead.ts";
import { SourceNames } from "./source_names.ts";

/** Bytes of reintegration that may wait in the queue: live operations come after them. */
const IN_FLIGHT = 4 << 20;
/** Longest time of one turn, ms. */
const SLICE = 4;
const PIECE = 256 << 10;
/** The most of a hole that one frame tells of. */
const HOLE = 64 << 20;
const PROGRESS_INTERVAL = 500;

const room = allocate(PIECE);
const zeros = new Uint8Array(PIECE);

/** One reintegration. The places of what is dirty must be known to be true. */
export class SourceCopy {
  isDone = false;
  /** What of it this disk does not give, and why: the marks stay, and the peer must not count as up to date. Null: nothing. */
  failure: string | null = null;
  /** Of what was moved, for the last line. */
  readonly statistics: { bytes: number; files: number; startedAt: number; full: boolean };
  readonly reintegration: Reintegration;
  readonly #tree: BackingTree;
  #bytesTotal = 0;
  #filesTotal = 0;
  /** All names are sent, and every object that the peer lacks has a mark of its own. */
  namesDone = false;
  /** Objects that were sent from their first byte on, since names were sent last. */
  readonly #sentWhole = new IdentitySet();
  readonly #readAhead: ReadAhead;
  /** Objects to count before the first is sent; null: done, or names are still to come. */
  #counting: Iterator<number> | null = null;
  /** This stretch of the open object was asked for, since not all of it was in memory; empty: it was so far. */
  #askedFrom = 0;
  #askedTo = 0;
  #waitFor = -1;
  #mayEnd = true;
  #fd = -1;
  readonly #names: SourceNames;
  #toldAt = 0;
  readonly #startedWall = Date.now();

  constructor(
    readonly host: Host,
    readonly outbound: OrderedStream,
    readonly marks: Marks,
    tree: BackingTree,
    readonly writer: StreamWriter,
    roots: readonly TreeRoot[],
    now: number,
  ) {
    this.#tree = tree;
    this.#readAhead = new ReadAhead(host.pool, this.#tree);
    this.#readAhead.counted = (id, size): void => {
      this.#filesTotal++;
      if (size > 0) this.#bytesTotal += this.marks.dirtyBytes(id, size);
    };
    this.statistics = { bytes: 0, files: 0, startedAt: now, full: marks.everything };
    const tops = roots.map(({ id }) => id);
    this.reintegration = new Reintegration(marks, this.#tree, tops, false);
    this.#names = new SourceNames(outbound, writer, tree, this.reintegration, (id, result) =>
      this.#fail(id, "cannot be listed", result),
    );
  }

  /**
   * Sends what there is room and time for. Returns when to go on by itself; Infinity: when the peer has taken or said something.
   * `mayEnd`: false while something else must be over first.
   */
  step(now: number, mayEnd: boolean): number {
    this.#mayEnd = mayEnd;
    const { bandwidth } = this.host.config;
    const end = now + SLICE;
    while (this.writer.queued < IN_FLIGHT) {
      if (bandwidth > 0) {
        const due = this.statistics.startedAt + (this.statistics.bytes / bandwidth) * 1000;
        if (due > now) {
          this.#tell(now);
          return due;
        }
      }
      if (!this.#advance()) break;
      if (monotonic() > end) {
        this.#tell(now);
        return now;
      }
    }
    this.#tell(now);
    return Number.POSITIVE_INFINITY;
  }

  /** Takes what the target says about the reintegration. */
  take(frame: Frame): void {
    // Asked for when its name was made, which was before all of it was sent: it has it by now.
    if (frame.type !== FrameType.NEED || this.#sentWhole.has(frame.id)) return;
    this.#waitFor = -1;
    // A directory whose names were sent after it was made has them.
    this.reintegration.needed(frame.id, frame.flags === 1 && this.#names.sentAt(frame.id) < frame.sequence);
  }

  /** Sends the names of directories again, at this point of the stream: a live operation mixed what the target has with what it lacks. */
  resend(): void {
    this.#waitFor = -1;
    this.#sentWhole.clear();
    for (const directory of this.reintegration.resend.splice(0)) {
      this.#names.announce();
      this.#names.sendAtOnce(directory);
    }
  }

  /** Lets go of what is open. */
  close(): void {
    this.#closeObject();
    this.#names.close();
    this.#tree.close();
  }

  /** One step; false when there is nothing to do but wait. */
  #advance(): boolean {
    if (this.failure !== null) return false;
    this.#names.announce();
    if (this.#names.isHeld) return false;
    const step = this.reintegration.next();
    // What is sent after an end that did not come yet must be acknowledged too.
    if (step.do !== "wait") this.#waitFor = -1;
    switch (step.do) {
      case "list":
        this.#names.list(step.directory);
        return true;
      case "names":
        // The target may have to make anew what it had already.
        this.#sentWhole.clear();
        this.#names.send(step.directory);
        return true;
      case "namesDone":
        this.namesDone = true;
        this.#counting = this.marks.dirtyObjects();
        return true;
      case "object":
        if (!(this.#isCounted() && this.#readAhead.has(this.reintegration.upcoming(OBJECTS_AHEAD))))
          return false;
        this.#sendObject(step.id);
        return true;
      case "data":
        return this.#sendData(step.id);
      case "wait":
        return this.#wait();
    }
  }

  #wait(): boolean {
    if (this.#waitFor < 0) {
      this.writer.frame.ticket = 0;
      this.#waitFor = this.outbound.send(FrameType.PING);
    }
    // NEED comes before the acknowledgement of what it was caused by: nothing is asked for any more.
    if (this.outbound.applied >= this.#waitFor) {
      if (this.reintegration.isComplete) this.isDone = this.#mayEnd;
      else {
        this.#waitFor = -1;
        return true;
      }
    }
    return false;
  }

  #sendObject(id: number): void {
    this.#closeObject();
    const fd = this.#tree.opening(id);
    if (fd === -errnos.EAGAIN) return;
    this.#readAhead.done(id);
    if (fd < 0 && !isAbsent(fd)) {
      this.#fail(id, "cannot be opened", fd);
      return;
    }
    if (fd < 0 || !this.outbound.bindAgain(id)) {
      if (fd >= 0) close(fd);
      this.reintegration.gone(id);
      return;
    }
    this.#fd = fd;
    this.#askedTo = 0;
    const { frame } = this.writer;
    const read = readAttributes(fd, frame);
    const attributes = read < 0 ? read : readXattrs(fd);
    if (typeof attributes === "number") {
      this.#fail(id, "has attributes that cannot be read", attributes);
      return;
    }
    const target = (frame.mode & S_IFMT) === S_IFLNK ? readTarget(fd) : null;
    if (typeof target === "number") {
      this.#fail(id, "cannot be read", target);
      return;
    }
    frame.id = id;
    frame.offset = Math.min(this.marks.worthlessFrom(id), Number.MAX_SAFE_INTEGER);
    if (frame.offset === 0) this.#sentWhole.add(id);
    frame.data.set(packXattrs(attributes));
    this.outbound.send(FrameType.OBJECT);
    if (target !== null) this.#sendTarget(id, target);
    this.reintegration.objectSent(id);
  }

  #sendTarget(id: number, target: Uint8Array): void {
    const { frame } = this.writer;
    frame.id = id;
    frame.offset = 0;
    frame.data.set(target);
    this.outbound.send(FrameType.DATA);
  }

  /** Sends a piece, or the end. False: the disk has it still. */
  #sendData(id: number): boolean {
    const { frame } = this.writer;
    const result = readAttributes(this.#fd, frame);
    if (result < 0) return this.#fail(id, "has attributes that cannot be read", result);
    const size = sizeOf(this.#fd);
    let range = (frame.mode & S_IFMT) === S_IFREG ? this.marks.nextDirty(id, size, PIECE) : null;
    if (range === null) {
      this.#endObject(id, (frame.mode & S_IFMT) === S_IFREG);
      return true;
    }
    const count = this.#read(range, size);
    if (count === -errnos.EAGAIN) return false;
    if (count < 0) return this.#fail(id, `cannot be read after byte ${range.offset}`, count);
    frame.id = id;
    frame.offset = range.offset;
    if (Buffer.compare(room.bytes.subarray(0, count), zeros.subarray(0, count)) === 0) {
      // Huge files are mostly holes: what is none of the file's blocks need not be read.
      range = this.marks.nextDirty(id, size, this.#zerosFrom(range, size)) ?? range;
      frame.length = range.length;
      this.outbound.send(FrameType.ZERO);
    } else {
      frame.data.set(room.bytes, 0, count);
      this.outbound.send(FrameType.DATA);
      this.statistics.bytes += count;
    }
    this.marks.copiedData(id, range, size);
    return true;
  }

  /** How many bytes are zeros from the start of a range that is, up to HOLE. */
  #zerosFrom({ offset, length }: DataRange, size: number): number {
    const data = lseek(this.#fd, offset + length, SEEK_DATA);
    const end = data === -errnos.ENXIO ? size : data - (data % BLOCK_BYTES);
    return Math.max(length, Math.min(end - offset, HOLE));
  }

  /**
   * Reads into `room` what is in memory. Returns `length`, or -errno; EAGAIN: the pool fetches it. The bytes belong to this turn: live
   * operations before it are in them, later ones come after them in the stream.
   */
  #read({ offset, length }: DataRange, size: number): number {
    const count = readFromMemory(this.#fd, room.address, length, offset);
    const ahead = this.#readAhead;
    const isHere =
      count === length || (count < 0 && count !== -errnos.EAGAIN && count !== -errnos.EOPNOTSUPP);
    if (isHere) {
      const isNear = this.#askedTo > 0 && this.#askedTo < size && offset + POOL_BUFFER >= this.#askedTo;
      if (isNear && !ahead.isReading && ahead.read(this.#fd, this.#askedTo)) this.#askedTo += POOL_BUFFER;
      return count;
    }
    if (ahead.isReading) return -errnos.EAGAIN;
    // Fetched, and lost again at once, or a file system that cannot tell what is in memory.
    const wasAsked = offset >= this.#askedFrom && offset + length <= this.#askedTo;
    if (wasAsked || !ahead.read(this.#fd, offset)) return readAll(this.#fd, offset, length);
    this.#askedFrom = offset;
    this.#askedTo = offset + POOL_BUFFER;
    return -errnos.EAGAIN;
  }

  #fail(id: number, what: string, result: number): false {
    const path = this.#tree.inWords(id, this.host.config.paths);
    this.failure ??= `${path} ${what}: ${errnoName(result)}; mend, restore or remove it`;
    return false;
  }

  #endObject(id: number, regular: boolean): void {
    if (!regular) this.marks.nextDirty(id, 0, PIECE);
    this.writer.frame.id = id;
    this.outbound.send(FrameType.OBJECT_END);
    this.statistics.files++;
    this.reintegration.objectDone(id);
    this.#closeObject();
  }

  #closeObject(): void {
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
  }

  /** Is the work to do known? Counting goes on when a thread of the pool is back. */
  #isCounted(): boolean {
    if (this.#counting !== null && this.#readAhead.count(this.#counting)) this.#counting = null;
    return this.#counting === null;
  }

  #tell(now: number): void {
    if (now - this.#toldAt < PROGRESS_INTERVAL && !this.isDone) return;
    this.#toldAt = now;
    const { bytes, files, startedAt, full } = this.statistics;
    const elapsed = now - startedAt;
    const isCounted = this.namesDone && this.#counting === null;
    this.host.progress({
      phase: this.isDone ? "finishing" : isCounted ? "data" : "names",
      full,
      bytesDone: bytes,
      bytesTotal: Math.max(this.#bytesTotal, bytes),
      filesDone: files,
      filesTotal: Math.max(this.#filesTotal, files),
      startedAt: this.#startedWall,
      etaMs: bytes === 0 || !isCounted ? null : Math.max(0, (elapsed * (this.#bytesTotal - bytes)) / bytes),
    });
  }
}

/** Reads a stretch of a file into `room`. Returns its length, or -errno: a bad block only shortens the call that comes to it. */
function readAll(fd: number, offset: number, length: number): number {
  let done = 0;
  while (done < length) {
    const count = pread(fd, room.address + done, length - done, offset + done);
    if (count <= 0) return count < 0 ? count : -errnos.EIO;
    done += count;
  }
  return length;
}
