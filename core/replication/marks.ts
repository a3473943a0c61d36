/**
 * What the two copies may hold differently: the door of the activity log and the dirty map.
 *
 * One mechanism serves reintegration, its interruption, and the crash of either node or both. Three rules carry it:
 *
 * 1. Before a thing is changed it is *active* in the log on disk (`admit…`). After a crash everything active is dirty.
 * 2. What was sent is *touched* until a durable point on both disks (`beginPoint`, `confirmPoint`); when the peer goes it is dirty.
 * 3. What leaves the active set is clean, or its dirty bits are on disk first.
 *
 * This module computes; the caller writes. `takeLog` gives bytes to append to activity.log; after fdatasync the caller says
 * `logged`. Now and then (`wantsRewrite`) `startRewrite` gives a whole dirty.map; once it is durably in place, `rewritten`
 * gives the first bytes of a new, empty log. Memory is in proportion to what changed, and of very many objects a bit each (mark_pages.ts).
 *
 * New objects get identities in order, so "everything from this identity on is new" replaces a mark for each.
 */
import { ActiveMarks } from "./active_marks.ts";
import { ActivityLog, type LogPiece } from "./activity_log.ts";
import { HeadMarks } from "./head_marks.ts";
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES, Level, type Mark, PageMark } from "./mark.ts";
import { MarkPages, touchedBefore } from "./mark_pages.ts";
import { dropIfIdle, fold, forgetUnmarked, type MarkedObjects, objectFor } from "./marked_objects.ts";
import { writeLeft, writeMap, writeMark } from "./marks_export.ts";
import { type IdentityRange, NewObjects } from "./new_objects.ts";
import type { DataRange, ObjectMarks } from "./object_marks.ts";
import { MarkKind, type Place, RecordType } from "./records.ts";
import { TouchedMarks } from "./touched_marks.ts";

export { BLOCK_BYTES, EXTENT_BYTES, Level } from "./mark.ts";
export { firstNewIdentity, IDENTITY_BLOCK, type IdentityRange } from "./new_objects.ts";
export { MarkKind, type Place } from "./records.ts";

/** A change of more extents than this marks everything from its start on. */
const MOST_EXTENTS_AT_ONCE = 64;
/** More objects than this have no marks of their own, but a bit in a page. */
const MOST_OBJECTS = 10_000;

/** How marks are kept. */
export interface MarksOptions {
  nodeNumber: 1 | 2;
  /** Where an object is now, as far as the caller knows: kept with its marks, so that it can be found after a restart. */
  placeOf: (id: number) => Place | null;
  /** Extents of data that may be active at once; default 256 (1 GiB). */
  activeExtents?: number;
  /** Directories and attributes that may be active at once; default 4096. */
  activeItems?: number;
  /** Objects that may have marks of their own; default 10 000. More are marked in pages. */
  mostObjects?: number;
}

/** The marks of one node's copy. */
export class Marks {
  readonly objects: MarkedObjects = new Map();
  /** Of very many objects: those that the peer lacks wholly, and those whose attributes it lacks. For this folder only. */
  readonly whole = new MarkPages(MarkKind.WHOLE);
  readonly attributes = new MarkPages(MarkKind.MANY_ATTRIBUTES);
  /** And those of which some of the first blocks are dirty. For this folder only. */
  readonly heads = new HeadMarks();
  /** Objects made through the mount. For this folder only. */
  readonly made: NewObjects;

  readonly #active: ActiveMarks;
  readonly #mostAtOnce: number;
  readonly #log: ActivityLog;
  readonly #touched = new TouchedMarks();
  /** No peer is there to be sent anything. */
  #alone = true;
  /** The first identity that is not before the durable point under way; null: none is under way. */
  #pointIdentity: number | null = null;
  /** Objects made since the last durable point that have marks of their own. */
  #newObjects: number[] = [];
  readonly #mostObjects: number;
  /** Wholly dirty in a page, and its attributes were sent already: what changes of them from here on is not said by the page. */
  #attributesSent = 0;

  /** Empty marks. To go on from files, use `recoverMarks` (marks_recovery.ts). `epoch`: of the last files, 0 if there are none. */
  constructor(options: MarksOptions, epoch = 0) {
    this.#log = new ActivityLog(epoch);
    this.#mostObjects = options.mostObjects ?? MOST_OBJECTS;
    this.#active = new ActiveMarks(options, this.objects, this.#log);
    this.#mostAtOnce = Math.max(1, Math.min(MOST_EXTENTS_AT_ONCE, this.#active.mostExtents >> 1));
    this.made = new NewObjects(options.nodeNumber, this.#log);
  }

  /** The active set is full of what waits for a durable point: make one now. */
  get wantsPoint(): boolean {
    return this.#active.wantsPoint;
  }
  /** The marks do not tell (first copy, a damaged file): everything is dirty. */
  get everything(): boolean {
    return this.made.everything;
  }
  set everything(value: boolean) {
    this.made.everything = value;
  }
  /** The files say so, or must say so if they were written now: then only a full copy will do. */
  get owesEverything(): boolean {
    return this.made.everythingOnDisk;
  }
  /** Objects made while there was no peer: wholly dirty, without a mark for each. */
  get dirtyRanges(): readonly IdentityRange[] {
    return this.made.dirtyRanges;
  }

  // ---- before a change -------------------------------------------------------------------------------------------------

  /**
   * May `length` bytes from `offset` (and the attributes, since the mtime follows) be changed? False: append `takeLog` first, or
   * make a durable point (`wantsPoint`). A true answer holds until the caller lets other requests run: change and touch at once.
   */
  admitData(id: number, offset: number, length: number): boolean {
    if (this.made.isNew(id)) return true;
    const first = Math.floor(offset / EXTENT_BYTES);
    const last = Math.floor((offset + Math.max(length, 1) - 1) / EXTENT_BYTES);
    if (last - first >= this.#mostAtOnce) return this.admitTail(id, offset);
    const object = this.marked(id);
    let admitted = this.#active.admit(object, object.attributesMark());
    for (let index = first; index <= last; index++) {
      if (!this.#active.admit(object, object.extentMark(index))) admitted = false;
    }
    return admitted;
  }

  /** The same for a change of size (truncate): everything from `offset` on may differ afterwards, however long the object grows again. */
  admitTail(id: number, offset: number): boolean {
    if (this.made.isNew(id)) return true;
    const object = this.marked(id);
    const attributes = this.#active.admit(object, object.attributesMark());
    // Only now: to make room for the attributes the tail may have left.
    const tail = object.tailMark();
    const block = Math.floor(offset / BLOCK_BYTES);
    if (block < tail.activeFrom) this.#active.deactivate(tail);
    tail.activeFrom = Math.min(tail.activeFrom, block);
    return this.#active.admit(object, tail) && attributes;
  }

  /** The same for the names (and the mtime) of a directory. */
  admitNames(directory: number): boolean {
    if (this.made.isNew(directory)) return true;
    const object = this.marked(directory);
    return this.#active.admit(object, object.namesMark());
  }

  /** The same for mode, owner, times, extended attributes, flags. */
  admitAttributes(id: number): boolean {
    if (this.made.isNew(id)) return true;
    const object = this.marked(id);
    return this.#active.admit(object, object.attributesMark());
  }

  /** An identity that was never used, already reserved on disk; 0: append `takeLog` first. */
  newIdentity(): number {
    return this.made.take();
  }

  // ---- after a change --------------------------------------------------------------------------------------------------

  /** Data was changed, and sent (TOUCHED) or not (DIRTY). */
  touchData(id: number, offset: number, length: number, level: Level): void {
    if (this.#isWholeAlready(id, level)) {
      this.#touchSent(id);
      return;
    }
    const first = Math.floor(offset / EXTENT_BYTES);
    const last = Math.floor((offset + Math.max(length, 1) - 1) / EXTENT_BYTES);
    const object = this.marked(id);
    this.#touchFlag(object.attributesMark(), level);
    if (last - first >= this.#mostAtOnce) {
      this.touchTail(id, offset, level);
      return;
    }
    const firstBlock = Math.floor(offset / BLOCK_BYTES);
    const endBlock = Math.ceil((offset + Math.max(length, 1)) / BLOCK_BYTES);
    if (level === Level.TOUCHED && object.tail?.coversTouch(firstBlock)) return;
    for (let index = first; index <= last; index++) {
      const base = index * BLOCKS_PER_EXTENT;
      const extent = object.extentMark(index);
      extent.set(level, Math.max(0, firstBlock - base), Math.min(BLOCKS_PER_EXTENT, endBlock - base));
      if (level === Level.TOUCHED) this.#touched.add(extent);
    }
  }

  /** The size was changed to `offset`, or everything from there on. */
  touchTail(id: number, offset: number, level: Level): void {
    if (this.#isWholeAlready(id, level)) {
      this.#touchSent(id);
      if (id !== this.#attributesSent) return;
    }
    const object = this.marked(id);
    this.#touchFlag(object.attributesMark(), level);
    object.tailMark().set(level, Math.floor(offset / BLOCK_BYTES));
    if (level === Level.DIRTY) object.tailMark().isCut = true;
    if (level === Level.TOUCHED) this.#touched.add(object.tailMark());
  }

  /** Names of a directory were changed. */
  touchNames(directory: number, level: Level): void {
    if (!this.#isNewAlone(directory, level)) this.#touchFlag(this.marked(directory).namesMark(), level);
  }

  /** Attributes were changed. */
  touchAttributes(id: number, level: Level): void {
    if (this.#isWholeAlready(id, level)) this.#touchSent(id);
    else this.#touchFlag(this.marked(id).attributesMark(), level);
  }

  /** All of an object was made what the peer has of it: where there are very many, a page says so, and `coversTouch` is true. */
  touchWhole(id: number): void {
    if (this.objects.size < this.#mostObjects) this.touchTail(id, 0, Level.TOUCHED);
    else this.#touched.add(this.whole.set(id, Level.TOUCHED));
  }

  /** Is whatever is touched of this object's data and attributes said already? */
  coversTouch(id: number): boolean {
    return this.whole.isTouchedNow(id);
  }

  /** An object was made with an identity from `newIdentity`. */
  created(id: number, directory: boolean, level: Level): void {
    if (this.#alone) return;
    this.#newObjects.push(id);
    this.touchTail(id, 0, level);
    if (directory) this.touchNames(id, level);
  }

  /** The object has another name now (or still one of several): remembered if it is marked, so that it can be found after a restart. */
  moved(id: number, place: Place): void {
    const object = this.objects.get(id);
    if (object === undefined) return;
    object.place = place;
    this.#log.records.add(RecordType.PLACE, id, place.parent, place.name);
  }

  // ---- durable points --------------------------------------------------------------------------------------------------

  /** A durable point begins: sync what `touched` lists on both disks, then `confirmPoint`. False: one is under way. */
  beginPoint(): boolean {
    if (this.#pointIdentity !== null) return false;
    this.#pointIdentity = this.made.next;
    this.#active.wantsPoint = false;
    this.made.beginPoint();
    this.#touched.age();
    return true;
  }

  /**
   * What the durable point under way must make durable on this disk: what was touched, and all directories with dirty names,
   * since what was removed from them may be forgotten afterwards. An object that does not exist any more needs nothing.
   */
  *pointObjects(): Generator<{ id: number; kind: MarkKind }> {
    for (const mark of this.#touched.before) {
      if (!(mark instanceof PageMark)) yield { id: mark.id, kind: mark.kind };
      else for (const id of touchedBefore(mark)) yield { id, kind: mark.kind };
    }
    for (const id of this.dirtyDirectories()) yield { id, kind: MarkKind.NAMES };
  }

  /** Both disks hold everything from before `beginPoint`. */
  confirmPoint(): void {
    if (this.#pointIdentity === null) return;
    // Objects of a range that is still on disk are found through names: those stay dirty there until the next rewrite.
    const areNamesNeeded = this.made.rangesOnDisk.length > 0;
    for (const mark of this.#touched.settle()) {
      if (mark.isSaid && !(areNamesNeeded && mark.kind === MarkKind.NAMES))
        writeLeft(this.#log.records, mark);
      if (mark.kind === MarkKind.WHOLE) this.whole.dropIfIdle(mark);
      else if (mark.kind === MarkKind.MANY_ATTRIBUTES) this.attributes.dropIfIdle(mark);
      else dropIfIdle(this.objects, mark);
    }
    this.#advanceNew(this.#pointIdentity);
    this.made.confirmPoint();
    this.#pointIdentity = null;
  }

  /** The peer is gone, or its disk is in doubt: what was sent since the last durable point is dirty. */
  peerGone(): void {
    this.#touched.lose();
    this.#pointIdentity = null;
    this.#active.wantsPoint = false;
    this.#newObjects = [];
    this.#attributesSent = 0;
    this.#alone = true;
    this.made.namesLost();
    this.made.becomeDirty();
  }

  /** A peer is connected: from here on new objects are marked one by one. */
  peerBack(): void {
    this.#alone = false;
    this.#attributesSent = 0;
    this.made.becomeDirty();
  }

  // ---- what is to be copied --------------------------------------------------------------------------------------------

  /** Is everything about this object dirty, without a mark of its own? */
  isInDirtyRange(id: number): boolean {
    return this.made.isInDirtyRange(id);
  }

  /** Was the object made while the peer was away, or since the last durable point? Then the peer may not have it at all. */
  mayLack(id: number): boolean {
    return this.made.isInDirtyRange(id) || this.made.isNew(id);
  }

  /**
   * The peer lacks this object altogether. `logged`: no record on disk says so yet; the bytes of `takeLog` must be durable
   * before anybody forgets why.
   */
  markWhole(id: number, directory: boolean, logged: boolean): void {
    // It is on disk why: nothing is to be said again.
    const isSaid = this.whole.isDirty(id);
    if (isSaid || this.objects.size >= this.#mostObjects) {
      if (this.#attributesSent === id) this.#attributesSent = 0;
      const page = this.whole.set(id, Level.DIRTY);
      this.heads.delete(id);
      if (logged && !isSaid) writeMark(this.#log.records, page, false);
    } else {
      const object = this.marked(id);
      object.tailMark().set(Level.DIRTY, 0);
      object.attributesMark().set(Level.DIRTY);
    }
    if (directory) this.marked(id).namesMark().set(Level.DIRTY);
    if (logged)
      for (const mark of this.objects.get(id)?.marks() ?? []) writeMark(this.#log.records, mark, false);
  }

  /** The source listed all dirty directories: every object made without a peer has a mark of its own now. */
  resolveDirtyRanges(): void {
    this.made.resolve();
  }

  /** The source sent the names of all dirty directories. */
  allNamesSent(): void {
    this.made.namesSent();
  }

  /** The peer's marks tell, durably, all that this copy lacks of it. */
  peerTells(): void {
    this.made.peerTells();
  }

  /** Directories whose names are dirty. */
  *dirtyDirectories(): Generator<number> {
    for (const object of this.objects.values()) if (object.names?.isDirty) yield object.id;
  }

  /** Objects whose data or attributes are dirty. */
  *dirtyObjects(): Generator<number> {
    yield* this.whole.dirty();
    for (const id of this.attributes.dirty()) if (!this.whole.isDirty(id)) yield id;
    for (const id of this.heads.ids()) if (!(this.whole.isDirty(id) || this.attributes.isDirty(id))) yield id;
    for (const object of this.objects.values()) {
      const { id } = object;
      if (object.hasDirtyContent && !this.whole.isDirty(id) && !this.attributes.isDirty(id)) yield id;
    }
  }

  /** All pages. */
  *pages(): Generator<PageMark> {
    yield* this.whole.pages();
    yield* this.attributes.pages();
  }

  areNamesDirty(directory: number): boolean {
    return this.objects.get(directory)?.names?.isDirty ?? false;
  }
  hasDirtyContent(id: number): boolean {
    if (this.whole.isDirty(id) || this.attributes.isDirty(id) || this.heads.has(id)) return true;
    return this.objects.get(id)?.hasDirtyContent ?? false;
  }
  isRangeDirty(id: number, offset: number, length: number): boolean {
    return this.whole.isDirty(id) || (this.#found(id)?.isRangeDirty(offset, length) ?? false);
  }
  /** From this byte on the peer's data is worthless and may be cut off; MAX_SAFE_INTEGER if all may be of use. */
  worthlessFrom(id: number): number {
    if (this.whole.isDirty(id)) return 0;
    const from = this.objects.get(id)?.tail?.dirtyFrom ?? Number.POSITIVE_INFINITY;
    return Math.min(from * BLOCK_BYTES, Number.MAX_SAFE_INTEGER);
  }
  nextDirty(id: number, size: number, most: number): DataRange | null {
    if (this.whole.isDirty(id)) {
      if (size > most) this.#leavePage(id);
      else if (size > 0) return { offset: 0, length: size };
      else this.#copiedWhole(id);
    }
    return this.#found(id)?.nextDirty(size, most, (mark) => this.#touched.add(mark)) ?? null;
  }
  dirtyBytes(id: number, size: number): number {
    if (this.whole.isDirty(id)) return size;
    if (this.heads.has(id)) return Math.min(this.heads.dirtyBytes(id), size);
    return this.objects.get(id)?.dirtyBytes(size) ?? 0;
  }

  /** What was dirty was sent: touched now. `size`: of the object. */
  copiedData(id: number, range: DataRange, size: number): void {
    if (this.whole.isDirty(id) && range.offset === 0 && range.length >= size) this.#copiedWhole(id);
    this.#found(id)?.copied(range, size, (mark) => this.#touched.add(mark));
  }
  copiedAttributes(id: number): void {
    if (this.whole.isDirty(id)) this.#attributesSent = id;
    this.#copiedInPage(this.attributes, id);
    const object = this.#found(id);
    this.#copiedFlag(object?.attributes);
    if (object?.tail) object.tail.isCut = false;
  }
  copiedNames(directory: number): void {
    this.#copiedFlag(this.objects.get(directory)?.names);
  }

  /**
   * The object does not exist here any more. That, too, counts as sent and not yet durable: a crash may bring the object
   * back, and then it must still be dirty. The names of a directory stay dirty: the peer may still have to look there for what
   * was moved out of it, until `copiedNames`.
   */
  lapsed(id: number): void {
    this.#copiedInPage(this.whole, id);
    this.#copiedInPage(this.attributes, id);
    const object = this.#found(id);
    if (object === undefined) return;
    object.lapse();
    for (const mark of object.marks()) if (mark.isTouched) this.#touched.add(mark);
  }

  /** Everything is equal and durable on both copies: no marks are left, on disk neither after the next rewrite. */
  clear(): void {
    for (const object of this.objects.values())
      for (const mark of object.marks()) this.#active.deactivate(mark);
    this.objects.clear();
    this.whole.clear();
    this.attributes.clear();
    this.heads.clear();
    this.#attributesSent = 0;
    this.#touched.forget();
    this.#pointIdentity = null;
    this.#newObjects = [];
    this.made.clear();
    this.#log.demandRewrite();
  }

  // ---- the files -------------------------------------------------------------------------------------------------------

  /** Bytes to append to activity.log; call `logged(upTo)` after fdatasync. Null: nothing to write, or a rewrite comes first. */
  takeLog(): LogPiece | null {
    return this.#log.take();
  }

  /** Everything up to here is durable: what waited for it is admitted now. */
  logged(upTo: number): void {
    this.#log.written(upTo);
  }

  /** Is a new dirty.map due? Always at first, and when the log has grown. Until it is written, nothing new is admitted. */
  get wantsRewrite(): boolean {
    return this.#log.wantsRewrite;
  }

  /** The bytes of a new dirty.map: write to a temporary file, fsync, rename, fsync the directory. Then `rewritten`. */
  startRewrite(): Uint8Array {
    if (this.objects.size > this.#mostObjects) fold(this.objects, this.whole, this.attributes, this.heads);
    forgetUnmarked(this.objects);
    return this.#log.startRewrite((epoch) => writeMap(this, epoch));
  }

  /** The new map is durable. Returns the header with which activity.log starts anew (truncate, write, fdatasync; then `takeLog` goes on). */
  rewritten(): Uint8Array {
    return this.#log.rewritten();
  }

  /** The marks of an object, empty ones if there were none. For this folder only. */
  marked(id: number): ObjectMarks {
    const object = objectFor(this.objects, id);
    this.heads.giveBack(object);
    return object;
  }

  // ---- inside ----------------------------------------------------------------------------------------------------------

  /** Made without a peer, and none is back yet: it is dirty as a whole, and found through the directory that it was made in. */
  #isNewAlone(id: number, level: Level): boolean {
    return level === Level.DIRTY && this.#alone && this.made.isNew(id);
  }

  #found(id: number): ObjectMarks | undefined {
    return this.heads.has(id) ? this.marked(id) : this.objects.get(id);
  }

  #isWholeAlready(id: number, level: Level): boolean {
    return level === Level.DIRTY && (this.whole.isDirty(id) || (this.#alone && this.made.isNew(id)));
  }

  /** Wholly dirty, but for the attributes that were sent: they are dirty again. */
  #touchSent(id: number): void {
    if (id === this.#attributesSent) this.marked(id).attributesMark().set(Level.DIRTY);
  }

  /** All data of an object that was dirty as a whole was sent. */
  #copiedWhole(id: number): void {
    if (this.#attributesSent !== id) {
      this.#leavePage(id);
      return;
    }
    this.#attributesSent = 0;
    this.#copiedInPage(this.whole, id);
    const object = this.#found(id);
    object?.copiedAllData();
    for (const mark of object?.marks() ?? []) if (mark.isTouched) this.#touched.add(mark);
  }

  #copiedInPage(pages: MarkPages, id: number): void {
    const page = pages.copied(id);
    if (page !== null) this.#touched.add(page);
  }

  /** Gives an object marks of its own, in the log too: what its page says on disk from now on is not about it. */
  #leavePage(id: number): void {
    const object = this.marked(id);
    object.tailMark().set(Level.DIRTY, 0);
    object.attributesMark().set(Level.DIRTY);
    writeMark(this.#log.records, object.tailMark(), false);
    writeMark(this.#log.records, object.attributesMark(), false);
    this.whole.unset(id);
    if (this.#attributesSent === id) this.copiedAttributes(id);
    this.#attributesSent = 0;
  }

  #touchFlag(mark: { set(level: Level): void } & Mark, level: Level): void {
    mark.set(level);
    if (level === Level.TOUCHED) this.#touched.add(mark);
  }

  #copiedFlag(mark: ({ copied(): void } & Mark) | null | undefined): void {
    if (!mark) return;
    mark.copied();
    this.#touched.add(mark);
  }

  /** Objects below `identity` are new no more. What is still to say about them is said one by one, in the log, first. */
  #advanceNew(identity: number): void {
    for (const id of this.#newObjects) {
      if (id >= identity) continue;
      for (const mark of this.objects.get(id)?.marks() ?? []) {
        if (mark.isDirty) writeMark(this.#log.records, mark, false);
        if (mark.isTouched && mark.activeAt < 0) this.#active.activate(mark);
      }
    }
    this.#newObjects = this.#newObjects.filter((id) => id >= identity);
    this.made.advance(identity);
  }
}
