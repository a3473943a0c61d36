/**
 * PRIM's half of the stream: the `Replicator` that the file system tells what it did.
 *
 * Every change is marked; what the peer can apply is sent as well, in the order told. An object is introduced by its place
 * before its first use in a connection. An object without a name that the peer never met has nothing to be replicated to.
 */

import { Level, type Marks } from "../replication/marks.ts";
import { FrameType } from "../replication/operation.ts";
import { Decision, type Reintegration } from "../replication/reintegration.ts";
import { ATTR_MTIME, ATTR_SIZE, type Replicator, type ResultTimes } from "../replication/replicator.ts";
import { type KnownPlaces, nameText } from "./known_places.ts";
import type { StreamWriter } from "./stream_buffers.ts";

/** Bytes that may wait for the peer before operations wait too. */
const QUEUE_LIMIT = 32 << 20;
const NOTHING = new Uint8Array(0);
const REMOVE_DIRECTORY = 1;
const EXCHANGE = 2;

/** How far the peer's word reaches. */
export class Settlement {
  /** Sync tickets given out. */
  tickets = 0;
  #floor = 0;
  readonly #done = new Set<number>();

  /** The peer synced what this ticket asked for. */
  settle(ticket: number): void {
    // Mostly in order: a set that grows and shrinks all the time leaves work for the garbage collector.
    if (ticket !== this.#floor + 1) {
      this.#done.add(ticket);
      return;
    }
    this.#floor++;
    while (this.#done.size > 0 && this.#done.delete(this.#floor + 1)) this.#floor++;
  }
  /** Every ticket given out so far is good: the peer has everything, or this node is durably alone. */
  settleAll(): void {
    this.#floor = this.tickets;
    this.#done.clear();
  }
  /** Every ticket up to this one is good. Later ones wait for the peer's own word. */
  settleTo(ticket: number): void {
    this.#floor = Math.max(this.#floor, ticket);
    for (const done of this.#done) if (done <= this.#floor) this.#done.delete(done);
    while (this.#done.delete(this.#floor + 1)) this.#floor++;
  }
  isSettled(ticket: number): boolean {
    return ticket <= this.#floor || this.#done.has(ticket);
  }
  get outstanding(): boolean {
    return this.#floor + this.#done.size < this.tickets;
  }
}

/** See the top of the file. */
export class Outbound implements Replicator {
  /** Number of the last operation told. */
  sequence = 0;
  /** Everything up to here is in the peer's hands, or needs not be. */
  acknowledged = 0;
  /** Everything up to here is applied by the peer, whatever its copy is worth yet. */
  applied = 0;
  /** The peer applies operations as they are sent. */
  streaming = false;
  /** This node is durably the only one: nobody's word is waited for. */
  alone = false;
  /** Nothing is admitted: the peer has been silent for too long and this node is not durably alone. */
  held = false;
  /** Decides what the peer can apply already, while it is being brought up to date. */
  reintegration: Reintegration | null = null;
  /** Sends the names of the directories that the reintegration wants sent again, at this point of the stream. */
  resend: () => void = () => {};
  /** An operation concerns an object whose name nobody told: the stream cannot go on like this. */
  unreachable: (id: number) => void = () => {};
  readonly settlement = new Settlement();
  readonly #marks: Marks;
  readonly #writer: StreamWriter;
  readonly #places: KnownPlaces;
  readonly #bound = new Set<number>();
  /** Lost their last name while the peer did not know them: there is nothing to replicate them to. */
  readonly #nameless = new Set<number>();

  constructor(marks: Marks, writer: StreamWriter, places: KnownPlaces) {
    this.#marks = marks;
    this.#writer = writer;
    this.#places = places;
  }

  /** A connection begins or ends: the peer knows no object. */
  reset(): void {
    this.#bound.clear();
    this.streaming = false;
    this.reintegration = null;
  }

  /** Introduces a replicated directory, the one with this index in the configuration. */
  root(id: number, index: number): void {
    const { frame } = this.#writer;
    frame.id = id;
    frame.ticket = index;
    this.send(FrameType.ROOT);
    this.#bound.add(id);
  }

  /** An object that was taken over has no name any more: the peer cannot meet it. */
  takeNameless(id: number): void {
    this.#nameless.add(id);
  }

  /** The peer knows this object. */
  markBound(id: number): void {
    this.#bound.add(id);
  }

  beforeData(id: number, offset: number, length: number): boolean {
    if (!this.#admits()) return false;
    // Without a length, the size is about to change, and everything from there on with it.
    return length === 0 ? this.#marks.admitTail(id, offset) : this.#marks.admitData(id, offset, length);
  }
  beforeNames(directory: number): boolean {
    return this.#admits() && this.#marks.admitNames(directory);
  }
  beforeAttributes(id: number): boolean {
    return this.#admits() && this.#marks.admitAttributes(id);
  }
  newIdentity(): number {
    return this.#marks.newIdentity();
  }

  write(id: number, offset: number, data: Uint8Array, dataOffset: number, length: number): number {
    if (!this.#sendsData(id, offset, length)) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.offset = offset;
    frame.data.set(data, dataOffset, length);
    return this.send(FrameType.WRITE);
  }

  allocate(id: number, mode: number, offset: number, length: number): number {
    if (!this.#sendsData(id, offset, length)) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.mode = mode;
    frame.offset = offset;
    frame.length = length;
    return this.send(FrameType.ALLOCATE);
  }

  create(
    parent: number,
    name: Uint8Array,
    id: number,
    mode: number,
    rdev: number,
    uid: number,
    gid: number,
    target: Uint8Array | null,
    times: ResultTimes,
  ): number {
    const directory = (mode & 0o170000) === 0o040000;
    this.#places.set(id, parent, nameText(name));
    if (!this.#sendsCreation(parent, id, directory)) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.parent = parent;
    frame.mode = mode;
    frame.rdev = rdev;
    frame.uid = uid;
    frame.gid = gid;
    this.#times(times);
    frame.name.set(name);
    frame.data.set(target ?? NOTHING);
    this.#bound.add(id);
    const sequence = this.send(FrameType.CREATE);
    if (times.objectSeconds === 0 && times.objectNanos === 0) return sequence;
    return this.setAttributes(id, ATTR_MTIME, 0, 0, 0, 0, 0, 0, times.objectSeconds, times.objectNanos);
  }

  createUnnamed(id: number, mode: number, uid: number, gid: number, directory: number): number {
    this.#nameless.add(id);
    this.#marks.created(id, false, this.streaming ? Level.TOUCHED : Level.DIRTY);
    const root = this.#topOf(directory);
    if (!this.streaming || root === 0) return this.#skip();
    this.reintegration?.createUnnamed(id);
    const { frame } = this.#writer;
    frame.id = id;
    frame.parent = root;
    frame.mode = mode;
    frame.uid = uid;
    frame.gid = gid;
    this.#bound.add(id);
    return this.send(FrameType.CREATE_UNNAMED);
  }

  link(id: number, parent: number, name: Uint8Array, times: ResultTimes): number {
    const sends = this.#sendsLink(id, parent) && this.bind(parent) && this.bind(id);
    const text = nameText(name);
    this.#nameless.delete(id);
    this.#places.set(id, parent, text);
    this.#marks.moved(id, { parent, name: text });
    this.#sendAgain();
    if (!sends) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.parent = parent;
    this.#times(times);
    frame.name.set(name);
    return this.send(FrameType.LINK);
  }

  unlink(
    parent: number,
    name: Uint8Array,
    directory: boolean,
    id: number,
    times: ResultTimes,
    last: boolean,
  ): number {
    const sends = this.#sendsRemoval(parent, id, directory);
    // Open or hard-linked, it may be used after this: the peer must meet it while it still has the name.
    if (sends && !directory) this.bind(id);
    this.#places.remove(parent, nameText(name));
    if (last) this.#lostLastName(id, directory);
    if (!sends) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.parent = parent;
    frame.flags = directory ? REMOVE_DIRECTORY : 0;
    this.#times(times);
    frame.name.set(name);
    return this.send(FrameType.UNLINK);
  }

  rename(
    from: number,
    fromName: Uint8Array,
    to: number,
    toName: Uint8Array,
    flags: number,
    fromTimes: ResultTimes,
    toTimes: ResultTimes,
    replacedLast: boolean,
  ): number {
    const fromText = nameText(fromName);
    const toText = nameText(toName);
    const exchange = (flags & EXCHANGE) !== 0;
    const moved = this.#places.idOf(from, fromText);
    const replaced = this.#places.idOf(to, toText);
    const sends = this.#sendsRename(from, to, exchange ? 0 : replaced) && this.bind(from) && this.bind(to);
    if (sends && replaced !== 0 && replaced !== moved && !exchange) this.bind(replaced);
    this.#places.rename(from, fromText, to, toText, exchange);
    if (moved !== 0) this.#marks.moved(moved, { parent: to, name: toText });
    if (replaced !== 0 && exchange) this.#marks.moved(replaced, { parent: from, name: fromText });
    if (replaced !== 0 && replacedLast) this.#lostLastName(replaced, false);
    this.#sendAgain();
    if (!sends) return this.#skip();
    const { frame } = this.#writer;
    frame.parent = from;
    frame.toParent = to;
    frame.flags = flags;
    frame.parentSeconds = fromTimes.parentSeconds;
    frame.parentNanos = fromTimes.parentNanos;
    frame.toSeconds = toTimes.parentSeconds;
    frame.toNanos = toTimes.parentNanos;
    frame.name.set(fromName);
    frame.toName.set(toName);
    return this.send(FrameType.RENAME);
  }

  setAttributes(
    id: number,
    valid: number,
    mode: number,
    uid: number,
    gid: number,
    size: number,
    atime: number,
    atimeNanos: number,
    mtime: number,
    mtimeNanos: number,
  ): number {
    if (!this.#sendsAttributes(id, valid & ATTR_SIZE ? size : -1)) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.valid = valid;
    frame.mode = mode;
    frame.uid = uid;
    frame.gid = gid;
    frame.size = size;
    frame.atime = atime;
    frame.atimeNanos = atimeNanos;
    frame.mtime = mtime;
    frame.mtimeNanos = mtimeNanos;
    return this.send(FrameType.SETATTR);
  }

  setXattr(id: number, name: Uint8Array, value: Uint8Array): number {
    if (!this.#sendsAttributes(id, -1)) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.name.set(name);
    frame.data.set(value);
    return this.send(FrameType.SETXATTR);
  }

  removeXattr(id: number, name: Uint8Array): number {
    if (!this.#sendsAttributes(id, -1)) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.name.set(name);
    return this.send(FrameType.REMOVEXATTR);
  }

  setFlags(id: number, flags: number): number {
    if (!this.#sendsAttributes(id, -1)) return this.#skip();
    const { frame } = this.#writer;
    frame.id = id;
    frame.flags = flags;
    return this.send(FrameType.SETFLAGS);
  }

  forget(id: number): void {
    this.#nameless.delete(id);
    this.#places.forget(id);
    this.#marks.lapsed(id);
    this.reintegration?.forget(id);
    if (!this.#bound.delete(id) || !this.streaming) return;
    this.#writer.frame.id = id;
    this.send(FrameType.FORGET);
  }

  sync(id: number, dataOnly: boolean): number {
    if (this.alone) return 0;
    const ticket = ++this.settlement.tickets;
    // A peer that is being brought up to date cannot promise anything; when it can, all tickets are settled at once.
    if (!this.streaming || this.reintegration !== null) return ticket;
    if (!this.#knows(id)) {
      // Without a name, and unknown to the peer: there is nothing that a failover could lose.
      this.settlement.settle(ticket);
      return ticket;
    }
    const { frame } = this.#writer;
    frame.id = id;
    frame.flags = dataOnly ? 1 : 0;
    frame.ticket = ticket;
    this.send(FrameType.SYNC);
    return ticket;
  }

  isAcknowledged(sequence: number): boolean {
    return this.alone || sequence <= this.acknowledged;
  }
  isSettled(ticket: number): boolean {
    return this.alone || this.settlement.isSettled(ticket);
  }

  /** Numbers the writer's frame and queues it. Returns its number. */
  send(type: FrameType): number {
    const { frame } = this.#writer;
    frame.type = type;
    frame.sequence = ++this.sequence;
    this.#writer.add();
    return this.sequence;
  }

  /** Introduces an object, and its directories first. False when it has no known place. */
  bind(id: number): boolean {
    if (this.#bound.has(id)) return true;
    const place = this.#places.get(id) ?? this.#marks.objects.get(id)?.place ?? null;
    if (place === null || place.parent === 0 || !this.bind(place.parent)) return false;
    const { frame } = this.#writer;
    frame.id = id;
    frame.parent = place.parent;
    frame.mode = 0;
    frame.name.set(Uint8Array.from(Buffer.from(place.name, "latin1")));
    this.send(FrameType.BIND);
    this.#bound.add(id);
    return true;
  }

  /** The replicated directory in which `id` lies; 0 when that is not known. */
  #topOf(id: number): number {
    let at = id;
    for (let place = this.#places.get(at); place !== null; place = this.#places.get(at)) {
      if (place.parent === 0) return at;
      at = place.parent;
    }
    return 0;
  }

  #admits(): boolean {
    return !this.held && this.#writer.queued < QUEUE_LIMIT;
  }

  /** Told, but not sent: it counts as handed over only when this node is alone or the peer has caught up. */
  #skip(): number {
    // The peer holds everything but what has no name there: nothing to wait for.
    if (this.streaming && this.reintegration === null) return 0;
    return ++this.sequence;
  }

  /** Marks a change of data; true when it is to be sent. */
  #sendsData(id: number, offset: number, length: number): boolean {
    if (!this.streaming) this.#marks.touchData(id, offset, length, Level.DIRTY);
    else if (this.reintegration === null) this.#marks.touchData(id, offset, length, Level.TOUCHED);
    else if (this.reintegration.data(id, offset, length) !== Decision.SEND) return false;
    return this.streaming && this.#knows(id);
  }

  /** The same for attributes; `size` is the new one, or -1. */
  #sendsAttributes(id: number, size: number): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.attributes(id, size) === Decision.SEND && this.#knows(id);
    }
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    if (size >= 0) this.#marks.touchTail(id, size, level);
    else this.#marks.touchAttributes(id, level);
    return this.streaming && this.#knows(id);
  }

  #sendsCreation(parent: number, id: number, directory: boolean): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.create(parent, id, directory) === Decision.SEND && this.#knows(parent);
    }
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    this.#marks.touchNames(parent, level);
    this.#marks.created(id, directory, level);
    return this.streaming && this.#knows(parent);
  }

  #sendsLink(id: number, parent: number): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.link(id, this.#places.get(id)?.parent ?? -1, parent) === Decision.SEND;
    }
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    const old = this.#places.get(id)?.parent ?? 0;
    // The directory of the name that it was made from is where the peer would look for it.
    if (old !== 0 && !this.streaming) this.#marks.touchNames(old, level);
    this.#marks.touchNames(parent, level);
    return this.streaming;
  }

  #sendsRemoval(parent: number, id: number, directory: boolean): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.unlink(parent, id, directory) === Decision.SEND && this.#knows(parent);
    }
    this.#marks.touchNames(parent, this.streaming ? Level.TOUCHED : Level.DIRTY);
    return this.streaming && this.#knows(parent);
  }

  #sendsRename(from: number, to: number, replaced: number): boolean {
    if (this.streaming && this.reintegration !== null)
      return this.reintegration.rename(from, to, replaced) === Decision.SEND;
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    this.#marks.touchNames(from, level);
    this.#marks.touchNames(to, level);
    return this.streaming;
  }

  #sendAgain(): void {
    if (this.reintegration !== null && this.reintegration.resend.length > 0) this.resend();
  }

  #lostLastName(id: number, directory: boolean): void {
    this.#marks.lapsed(id);
    if (directory) this.#bound.delete(id);
    else if (!this.#bound.has(id)) this.#nameless.add(id);
  }

  /** Is the object introduced, now if not before? False: it has no name that the peer could find it by. */
  #knows(id: number): boolean {
    if (this.bind(id)) return true;
    if (!this.#nameless.has(id)) this.unreachable(id);
    return false;
  }

  #times(times: ResultTimes): void {
    this.#writer.frame.parentSeconds = times.parentSeconds;
    this.#writer.frame.parentNanos = times.parentNanos;
  }
}
