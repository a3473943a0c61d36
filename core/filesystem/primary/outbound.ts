/**
 * PRIM's half of the stream: the `Replicator` that the file system tells what it did.
 *
 * Every change is marked; what the peer can apply is sent as well, in the order told.
 */
import { Level } from "../../replication/marks.ts";
import { nameText } from "../../replication/name_text.ts";
import { DT_REG, KEEPS_OTHERS, REMOVES_DIRECTORY } from "../../replication/names.ts";
import { FrameType } from "../../replication/operation.ts";
import { ATTR_MTIME, ATTR_SIZE, type Replicator, type ResultTimes } from "../../replication/replicator.ts";
import { MarkedStream } from "./marked_stream.ts";
import { Settlement } from "./settlement.ts";

/** Bytes that may wait for the peer before operations wait too. */
const QUEUE_LIMIT = 32 << 20;
const NOTHING = new Uint8Array(0);
const EXCHANGE = 2;

/** See the top of the file. */
export class Outbound extends MarkedStream implements Replicator {
  /** This node is durably the only one: nobody's word is waited for. */
  alone = false;
  /** Nothing is admitted: the peer has been silent for too long and this node is not durably alone. */
  held = false;
  /** Sends the names of the directories that the reintegration wants sent again, at this point of the stream. */
  resend: () => void = () => {};
  /** Tells the modification times that wait, before a durable point may call their files clean. */
  settleTimes: () => void = () => {};
  readonly settlement = new Settlement();
  readonly #suspect = new Set<number>();
  /** Objects that this disk did not give, since this node serves. */
  readonly #unreadable = new Set<number>();

  beforeData(id: number, offset: number, length: number): boolean {
    if (!this.#admits()) return false;
    // Without a length, the size is about to change, and everything from there on with it.
    return length === 0 ? this.marks.admitTail(id, offset) : this.marks.admitData(id, offset, length);
  }
  beforeNames(directory: number): boolean {
    return this.#admits() && this.marks.admitNames(directory);
  }
  beforeAttributes(id: number): boolean {
    return this.#admits() && this.marks.admitAttributes(id);
  }
  newIdentity(): number {
    return this.marks.newIdentity();
  }

  write(id: number, offset: number, data: Uint8Array, dataOffset: number, length: number): number {
    if (!this.sendsData(id, offset, length)) return this.#skip();
    const { frame } = this.writer;
    frame.id = id;
    frame.offset = offset;
    frame.data.set(data, dataOffset, length);
    // Often an fsync comes next: one sealed frame takes both along, and the peer wakes once.
    return this.tell(FrameType.WRITE);
  }

  allocate(id: number, mode: number, offset: number, length: number): number {
    if (!this.sendsData(id, offset, length)) return this.#skip();
    const { frame } = this.writer;
    frame.id = id;
    frame.mode = mode;
    frame.offset = offset;
    frame.length = length;
    return this.tell(FrameType.ALLOCATE);
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
    this.places.set(id, parent, nameText(name), mode >>> 12);
    if (!this.sendsCreation(parent, id, directory)) return this.#skip();
    const { frame } = this.writer;
    frame.id = id;
    frame.parent = parent;
    frame.mode = mode;
    frame.rdev = rdev;
    frame.uid = uid;
    frame.gid = gid;
    this.#times(times);
    frame.name.set(name);
    frame.data.set(target ?? NOTHING);
    this.markBound(id);
    const sequence = this.tell(FrameType.CREATE);
    if (times.objectSeconds === 0 && times.objectNanos === 0) return sequence;
    return this.setAttributes(id, ATTR_MTIME, 0, 0, 0, 0, 0, 0, times.objectSeconds, times.objectNanos);
  }

  createUnnamed(id: number, mode: number, uid: number, gid: number, directory: number): number {
    this.takeNameless(id);
    this.marks.created(id, false, this.streaming ? Level.TOUCHED : Level.DIRTY);
    const root = this.#topOf(directory);
    if (!this.streaming || root === 0) return this.#skip();
    this.reintegration?.createUnnamed(id);
    const { frame } = this.writer;
    frame.id = id;
    frame.parent = root;
    frame.mode = mode;
    frame.uid = uid;
    frame.gid = gid;
    this.markBound(id);
    return this.tell(FrameType.CREATE_UNNAMED);
  }

  link(id: number, parent: number, name: Uint8Array, times: ResultTimes): number {
    const sends = this.sendsLink(id, parent) && this.knows(parent) && this.#knowsLinked(id);
    const text = nameText(name);
    this.named(id);
    // What can have several names, near enough: no directory.
    this.places.set(id, parent, text, DT_REG);
    this.marks.moved(id, { parent, name: text });
    this.#sendAgain();
    if (!sends) return this.#skip();
    const { frame } = this.writer;
    frame.id = id;
    frame.parent = parent;
    this.#times(times);
    frame.name.set(name);
    return this.tell(FrameType.LINK);
  }

  unlink(
    parent: number,
    name: Uint8Array,
    directory: boolean,
    id: number,
    times: ResultTimes,
    last: boolean,
  ): number {
    const sends = this.sendsRemoval(parent, id, directory);
    // Open or hard-linked, it may be used after this: the peer must meet it while it still has the name.
    if (sends && !directory) this.#bindRemoved(id, parent, name);
    this.places.remove(parent, nameText(name), last);
    if (last) this.lostLastName(id, directory);
    // At once: later, those directories may lie in some that the peer does not have yet.
    this.#sendAgain();
    if (!sends) return this.#skip();
    return this.#tellUnlink(parent, name, id, directory ? REMOVES_DIRECTORY : this.#keeps(last), times);
  }

  #tellUnlink(parent: number, name: Uint8Array, id: number, flags: number, times: ResultTimes): number {
    const { frame } = this.writer;
    frame.id = id;
    frame.parent = parent;
    frame.flags = flags;
    this.#times(times);
    frame.name.set(name);
    return this.tell(FrameType.UNLINK);
  }

  /** Flags of UNLINK for what loses its `last` name, or one of several. */
  #keeps(last: boolean): number {
    return last || (this.reintegration?.areAllPlaced ?? true) ? 0 : KEEPS_OTHERS;
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
    const moved = this.places.idOf(from, fromText);
    const replaced = this.places.idOf(to, toText);
    const sends = this.sendsRename(from, to, exchange ? 0 : replaced) && this.knows(from) && this.knows(to);
    if (sends && replaced !== 0 && replaced !== moved && !exchange) this.#bindRemoved(replaced, to, toName);
    this.places.rename(from, fromText, to, toText, exchange, replacedLast);
    if (moved !== 0) this.marks.moved(moved, { parent: to, name: toText });
    if (replaced !== 0 && exchange) this.marks.moved(replaced, { parent: from, name: fromText });
    if (replaced !== 0 && replacedLast) this.lostLastName(replaced, false);
    this.#sendAgain();
    if (!sends) return this.#skip();
    // A rename does not say what becomes of what it replaces.
    if (replaced !== 0 && replaced !== moved && !exchange && this.#keeps(replacedLast) !== 0)
      this.#tellUnlink(to, toName, replaced, KEEPS_OTHERS, toTimes);
    const { frame } = this.writer;
    frame.parent = from;
    frame.toParent = to;
    frame.flags = flags;
    frame.parentSeconds = fromTimes.parentSeconds;
    frame.parentNanos = fromTimes.parentNanos;
    frame.toSeconds = toTimes.parentSeconds;
    frame.toNanos = toTimes.parentNanos;
    frame.name.set(fromName);
    frame.toName.set(toName);
    return this.tell(FrameType.RENAME);
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
    if (!this.sendsAttributes(id, valid & ATTR_SIZE ? size : -1)) return this.#skip();
    const { frame } = this.writer;
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
    return this.tell(FrameType.SETATTR);
  }

  setXattr(id: number, name: Uint8Array, value: Uint8Array): number {
    if (!this.sendsAttributes(id, -1)) return this.#skip();
    const { frame } = this.writer;
    frame.id = id;
    frame.name.set(name);
    frame.data.set(value);
    return this.tell(FrameType.SETXATTR);
  }

  removeXattr(id: number, name: Uint8Array): number {
    if (!this.sendsAttributes(id, -1)) return this.#skip();
    const { frame } = this.writer;
    frame.id = id;
    frame.name.set(name);
    return this.tell(FrameType.REMOVEXATTR);
  }

  setFlags(id: number, flags: number): number {
    if (!this.sendsAttributes(id, -1)) return this.#skip();
    const { frame } = this.writer;
    frame.id = id;
    frame.flags = flags;
    return this.tell(FrameType.SETFLAGS);
  }

  diskFailed(id: number): void {
    this.#suspect.add(id);
    if (this.streaming) this.marks.doubt(id);
  }

  unreadable(id: number): void {
    this.#unreadable.add(id);
  }

  /** This node stops to serve: what its disk did not give is to be had from whoever serves next. */
  doubtUnreadable(): void {
    if (!this.alone) for (const id of this.#unreadable) this.marks.doubt(id);
  }

  failedHalfway(id: number, offset: number, length: number): void {
    if (this.streaming) this.diskFailed(id);
    else this.marks.touchData(id, offset, length, Level.DIRTY);
  }

  /** A durable point begins: what this disk failed to keep stays touched whatever comes of it. */
  touchSuspect(): void {
    if (this.streaming) for (const id of this.#suspect) this.marks.doubt(id);
  }

  forget(id: number): void {
    const known = this.unbind(id);
    this.#suspect.delete(id);
    this.#unreadable.delete(id);
    this.places.forget(id);
    this.marks.lapsed(id);
    this.reintegration?.forget(id);
    if (!known || !this.streaming) return;
    this.writer.frame.id = id;
    this.tell(FrameType.FORGET);
  }

  sync(id: number, dataOnly: boolean): number {
    if (this.alone) return 0;
    const ticket = ++this.settlement.tickets;
    // A peer that is being brought up to date cannot promise anything; when it can, all tickets are settled at once.
    if (!this.streaming || this.reintegration !== null) return ticket;
    if (!this.knows(id)) {
      // Without a name, and unknown to the peer: there is nothing that a failover could lose.
      this.settlement.settle(ticket);
      return ticket;
    }
    const { frame } = this.writer;
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

  /** The replicated directory in which `id` lies; 0 when that is not known. */
  #topOf(id: number): number {
    let at = id;
    for (let place = this.places.get(at); place !== null; place = this.places.get(at)) {
      if (place.parent === 0) return at;
      at = place.parent;
    }
    return 0;
  }

  #admits(): boolean {
    return !this.held && this.writer.queued < QUEUE_LIMIT;
  }

  /** Told, but not sent: it counts as handed over only when this node is alone or the peer has caught up. */
  #skip(): number {
    // The peer holds everything but what has no name there: nothing to wait for.
    if (this.streaming && this.reintegration === null) return 0;
    return ++this.sequence;
  }

  /** Introduces what loses this name. Once all names are equal, any name of it will do, and the one that stays is better. */
  #bindRemoved(id: number, parent: number, name: Uint8Array): void {
    if (this.reintegration === null) this.bind(id);
    else this.bindAt(id, parent, name);
  }

  /** As `knows`: what had no name that the peer could meet gets one now, which nobody may keep from the peer. */
  #knowsLinked(id: number): boolean {
    if (this.bind(id)) return true;
    this.cannotName(id);
    return false;
  }

  #sendAgain(): void {
    if (this.reintegration !== null && this.reintegration.resend.length > 0) this.resend();
  }

  #times(times: ResultTimes): void {
    this.writer.frame.parentSeconds = times.parentSeconds;
    this.writer.frame.parentNanos = times.parentNanos;
  }
}
