/**
 * What the two copies may hold differently: the door of the activity log and the dirty map. What follows from it for a reintegration is
 * in debt.ts.
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
import type { LogPiece } from "./activity_log.ts";
import { Debt, type DebtOptions } from "./debt.ts";
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES, Level, type Mark, PageMark } from "./mark.ts";
import { touchedBefore } from "./mark_pages.ts";
import { dropIfIdle, fold, forgetUnmarked } from "./marked_objects.ts";
import { writeLeft, writeMap, writeMark } from "./marks_export.ts";
import { MarkKind, type Place, RecordType } from "./records.ts";

export { BLOCK_BYTES, EXTENT_BYTES, Level } from "./mark.ts";
export { firstNewIdentity, IDENTITY_BLOCK, type IdentityRange } from "./new_objects.ts";
export { MarkKind, type Place } from "./records.ts";

/** A change of more extents than this marks everything from its start on. */
const MOST_EXTENTS_AT_ONCE = 64;

/** How marks are kept. */
export interface MarksOptions extends DebtOptions {
  /** Where an object is now, as far as the caller knows: kept with its marks, so that it can be found after a restart. */
  placeOf: (id: number) => Place | null;
  /** Extents of data that may be active at once; default 256 (1 GiB). */
  activeExtents?: number;
  /** Directories and attributes that may be active at once; default 4096. */
  activeItems?: number;
}

/** The marks of one node's copy. */
export class Marks extends Debt {
  readonly #active: ActiveMarks;
  readonly #mostAtOnce: number;
  /** No peer is there to be sent anything. */
  #alone = true;
  /** The first identity that is not before the durable point under way; null: none is under way. */
  #pointIdentity: number | null = null;
  /** Objects made since the last durable point that have marks of their own. */
  #newObjects: number[] = [];

  /** Empty marks. To go on from files, use `recoverMarks` (marks_recovery.ts). `epoch`: of the last files, 0 if there are none. */
  constructor(options: MarksOptions, epoch = 0) {
    super(options, epoch);
    this.#active = new ActiveMarks(options, this.objects, this.log);
    this.#mostAtOnce = Math.max(1, Math.min(MOST_EXTENTS_AT_ONCE, this.#active.mostExtents >> 1));
  }

  /** The active set is full of what waits for a durable point: make one now. */
  get wantsPoint(): boolean {
    return this.#active.wantsPoint;
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
      if (level === Level.TOUCHED) this.touched.add(extent);
    }
  }

  /** The size was changed to `offset`, or everything from there on. */
  touchTail(id: number, offset: number, level: Level): void {
    if (this.#isWholeAlready(id, level)) {
      this.#touchSent(id);
      if (id !== this.attributesSent) return;
    }
    const object = this.marked(id);
    this.#touchFlag(object.attributesMark(), level);
    object.tailMark().set(level, Math.floor(offset / BLOCK_BYTES));
    if (level === Level.DIRTY) object.tailMark().isCut = true;
    if (level === Level.TOUCHED) this.touched.add(object.tailMark());
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
    if (this.objects.size < this.mostObjects) this.touchTail(id, 0, Level.TOUCHED);
    else this.touched.add(this.whole.set(id, Level.TOUCHED));
  }

  /** This disk did not keep all of an object: it is touched, and dirty after a crash of this node too, whatever durable point comes. */
  doubt(id: number): void {
    this.touchWhole(id);
    const object = this.objects.get(id);
    if (object?.names) this.touchNames(id, Level.TOUCHED);
    for (const mark of [object?.names, object?.attributes, object?.tail])
      if (mark) writeMark(this.log.records, mark, true);
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
    this.log.records.add(RecordType.PLACE, id, place.parent, place.name);
  }

  // ---- durable points --------------------------------------------------------------------------------------------------

  /** A durable point begins: sync what `touched` lists on both disks, then `confirmPoint`. False: one is under way. */
  beginPoint(): boolean {
    if (this.#pointIdentity !== null) return false;
    this.#pointIdentity = this.made.next;
    this.#active.wantsPoint = false;
    this.made.beginPoint();
    this.touched.age();
    return true;
  }

  /**
   * What the durable point under way must make durable on this disk: what was touched, and all directories with dirty names,
   * since what was removed from them may be forgotten afterwards. An object that does not exist any more needs nothing.
   */
  *pointObjects(): Generator<{ id: number; kind: MarkKind }> {
    for (const mark of this.touched.before) {
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
    for (const mark of this.touched.settle()) {
      if (mark.isSaid && !(areNamesNeeded && mark.kind === MarkKind.NAMES)) writeLeft(this.log.records, mark);
      if (mark.kind === MarkKind.WHOLE) this.whole.dropIfIdle(mark);
      else if (mark.kind === MarkKind.MANY_ATTRIBUTES) this.attributes.dropIfIdle(mark);
      else dropIfIdle(this.objects, mark);
    }
    this.#advanceNew(this.#pointIdentity);
    this.made.confirmPoint();
    this.#pointIdentity = null;
  }

  /** It failed: the next one is about what this one was about, too. */
  failPoint(): void {
    this.#pointIdentity = null;
  }

  /** The peer is gone, or its disk is in doubt: what was sent since the last durable point is dirty. */
  peerGone(): void {
    this.touched.lose();
    this.#pointIdentity = null;
    this.#active.wantsPoint = false;
    this.#newObjects = [];
    this.attributesSent = 0;
    this.#alone = true;
    this.made.namesLost();
    this.made.becomeDirty();
  }

  /** A peer is connected: from here on new objects are marked one by one. */
  peerBack(): void {
    this.#alone = false;
    this.attributesSent = 0;
    this.made.becomeDirty();
  }

  /** Everything is equal and durable on both copies: no marks are left, on disk neither after the next rewrite. */
  clear(): void {
    for (const object of this.objects.values())
      for (const mark of object.marks()) this.#active.deactivate(mark);
    this.objects.clear();
    this.whole.clear();
    this.attributes.clear();
    this.heads.clear();
    this.attributesSent = 0;
    this.touched.forget();
    this.#pointIdentity = null;
    this.#newObjects = [];
    this.made.clear();
    this.log.demandRewrite();
  }

  // ---- the files -------------------------------------------------------------------------------------------------------

  /** Bytes to append to activity.log; call `logged(upTo)` after fdatasync. Null: nothing to write, or a rewrite comes first. */
  takeLog(): LogPiece | null {
    return this.log.take();
  }

  /** Everything up to here is durable: what waited for it is admitted now. */
  logged(upTo: number): void {
    this.log.written(upTo);
  }

  /** Is a new dirty.map due? Always at first, and when the log has grown. Until it is written, nothing new is admitted. */
  get wantsRewrite(): boolean {
    return this.log.wantsRewrite;
  }

  /** The bytes of a new dirty.map: write to a temporary file, fsync, rename, fsync the directory. Then `rewritten`. */
  startRewrite(): Uint8Array {
    if (this.objects.size > this.mostObjects) fold(this.objects, this.whole, this.attributes, this.heads);
    forgetUnmarked(this.objects);
    return this.log.startRewrite((epoch) => writeMap(this, epoch));
  }

  /** The new map is durable. Returns the header with which activity.log starts anew (truncate, write, fdatasync; then `takeLog` goes on). */
  rewritten(): Uint8Array {
    return this.log.rewritten();
  }

  // ---- inside ----------------------------------------------------------------------------------------------------------

  /** Made without a peer, and none is back yet: it is dirty as a whole, and found through the directory that it was made in. */
  #isNewAlone(id: number, level: Level): boolean {
    return level === Level.DIRTY && this.#alone && this.made.isNew(id);
  }

  #isWholeAlready(id: number, level: Level): boolean {
    return level === Level.DIRTY && (this.whole.isDirty(id) || (this.#alone && this.made.isNew(id)));
  }

  /** Wholly dirty, but for the attributes that were sent: they are dirty again. */
  #touchSent(id: number): void {
    if (id === this.attributesSent) this.marked(id).attributesMark().set(Level.DIRTY);
  }

  #touchFlag(mark: { set(level: Level): void } & Mark, level: Level): void {
    mark.set(level);
    if (level === Level.TOUCHED) this.touched.add(mark);
  }

  /** Objects below `identity` are new no more. What is still to say about them is said one by one, in the log, first. */
  #advanceNew(identity: number): void {
    for (const id of this.#newObjects) {
      if (id >= identity) continue;
      for (const mark of this.objects.get(id)?.marks() ?? []) {
        if (mark.isDirty) writeMark(this.log.records, mark, false);
        if (mark.isTouched && mark.activeAt < 0) this.#active.activate(mark);
      }
    }
    this.#newObjects = this.#newObjects.filter((id) => id >= identity);
    this.made.advance(identity);
  }
}
