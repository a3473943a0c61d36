/**
 * What the peer lacks: asked for by a reintegration, and what becomes of it once it was sent.
 *
 * What is dirty is said by an object's own marks, by a page when objects are very many, or by a range of identities when they were made
 * without a peer. Whoever asks sees no difference.
 */
import { ActivityLog } from "./activity_log.ts";
import { HeadMarks } from "./head_marks.ts";
import { BLOCK_BYTES, Level, type Mark, type PageMark } from "./mark.ts";
import { MarkPages } from "./mark_pages.ts";
import { type MarkedObjects, objectFor } from "./marked_objects.ts";
import { writeMark } from "./marks_export.ts";
import { type IdentityRange, NewObjects } from "./new_objects.ts";
import type { DataRange, ObjectMarks } from "./object_marks.ts";
import { MarkKind } from "./records.ts";
import { TouchedMarks } from "./touched_marks.ts";

/** More objects than this have no marks of their own, but a bit in a page. */
const MOST_OBJECTS = 10_000;

/** How it is kept. */
export interface DebtOptions {
  nodeNumber: 1 | 2;
  /** Objects that may have marks of their own; default 10 000. More are marked in pages. */
  mostObjects?: number;
}

/** See the top of the file. */
export class Debt {
  readonly objects: MarkedObjects = new Map();
  /** Of very many objects: those that the peer lacks wholly, and those whose attributes it lacks. For this folder only. */
  readonly whole = new MarkPages(MarkKind.WHOLE);
  readonly attributes = new MarkPages(MarkKind.MANY_ATTRIBUTES);
  /** And those of which some of the first blocks are dirty. For this folder only. */
  readonly heads = new HeadMarks();
  /** Objects made through the mount. For this folder only. */
  readonly made: NewObjects;

  protected readonly log: ActivityLog;
  protected readonly touched = new TouchedMarks();
  protected readonly mostObjects: number;
  /** Wholly dirty in a page, and its attributes were sent already: what changes of them from here on is not said by the page. */
  protected attributesSent = 0;

  protected constructor(options: DebtOptions, epoch: number) {
    this.log = new ActivityLog(epoch);
    this.mostObjects = options.mostObjects ?? MOST_OBJECTS;
    this.made = new NewObjects(options.nodeNumber, this.log);
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
    if (isSaid || this.objects.size >= this.mostObjects) {
      if (this.attributesSent === id) this.attributesSent = 0;
      const page = this.whole.set(id, Level.DIRTY);
      this.heads.delete(id);
      if (logged && !isSaid) writeMark(this.log.records, page, false);
    } else {
      const object = this.marked(id);
      object.tailMark().set(Level.DIRTY, 0);
      object.attributesMark().set(Level.DIRTY);
    }
    if (directory) this.marked(id).namesMark().set(Level.DIRTY);
    if (logged)
      for (const mark of this.objects.get(id)?.marks() ?? []) writeMark(this.log.records, mark, false);
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
    return this.#found(id)?.nextDirty(size, most, (mark) => this.touched.add(mark)) ?? null;
  }
  dirtyBytes(id: number, size: number): number {
    if (this.whole.isDirty(id)) return size;
    if (this.heads.has(id)) return Math.min(this.heads.dirtyBytes(id), size);
    return this.objects.get(id)?.dirtyBytes(size) ?? 0;
  }

  /** What was dirty was sent: touched now. `size`: of the object. */
  copiedData(id: number, range: DataRange, size: number): void {
    if (this.whole.isDirty(id) && range.offset === 0 && range.length >= size) this.#copiedWhole(id);
    this.#found(id)?.copied(range, size, (mark) => this.touched.add(mark));
  }
  copiedAttributes(id: number): void {
    if (this.whole.isDirty(id)) this.attributesSent = id;
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
    for (const mark of object.marks()) if (mark.isTouched) this.touched.add(mark);
  }

  /** The marks of an object, empty ones if there were none. For this folder only. */
  marked(id: number): ObjectMarks {
    const object = objectFor(this.objects, id);
    this.heads.giveBack(object);
    return object;
  }

  #found(id: number): ObjectMarks | undefined {
    return this.heads.has(id) ? this.marked(id) : this.objects.get(id);
  }

  /** All data of an object that was dirty as a whole was sent. */
  #copiedWhole(id: number): void {
    if (this.attributesSent !== id) {
      this.#leavePage(id);
      return;
    }
    this.attributesSent = 0;
    this.#copiedInPage(this.whole, id);
    const object = this.#found(id);
    object?.copiedAllData();
    for (const mark of object?.marks() ?? []) if (mark.isTouched) this.touched.add(mark);
  }

  #copiedInPage(pages: MarkPages, id: number): void {
    const page = pages.copied(id);
    if (page !== null) this.touched.add(page);
  }

  /** Gives an object marks of its own, in the log too: what its page says on disk from now on is not about it. */
  #leavePage(id: number): void {
    const object = this.marked(id);
    // Those that changed since they were sent are dirty again.
    const areAttributesThere = this.attributesSent === id && object.attributes?.isDirty !== true;
    object.tailMark().set(Level.DIRTY, 0);
    object.attributesMark().set(Level.DIRTY);
    writeMark(this.log.records, object.tailMark(), false);
    writeMark(this.log.records, object.attributesMark(), false);
    this.whole.unset(id);
    if (areAttributesThere) this.copiedAttributes(id);
    this.attributesSent = 0;
  }

  #copiedFlag(mark: ({ copied(): void } & Mark) | null | undefined): void {
    if (!mark) return;
    mark.copied();
    this.touched.add(mark);
  }
}
