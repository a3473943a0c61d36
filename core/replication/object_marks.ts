/** All marks of one object, and where it was last seen. Exists only while there is something to say. */
import {
  BLOCK_BYTES,
  BLOCKS_PER_EXTENT,
  EXTENT_BYTES,
  ExtentMark,
  FlagMark,
  type Mark,
  TailMark,
} from "./mark.ts";
import { MarkKind, type Place } from "./records.ts";

/** A stretch of an object's data, in bytes. */
export interface DataRange {
  offset: number;
  length: number;
}

const NO_EXTENTS: ReadonlyMap<number, ExtentMark> = new Map();

/** The marks of one object. */
export class ObjectMarks {
  names: FlagMark | null = null;
  attributes: FlagMark | null = null;
  tail: TailMark | null = null;
  /** Most objects have none: they share an empty map. */
  extents: ReadonlyMap<number, ExtentMark> = NO_EXTENTS;
  #extents: Map<number, ExtentMark> | null = null;
  place: Place | null = null;
  /** It lost its last name, or its last user when it had none. */
  isGone = false;

  constructor(readonly id: number) {}

  namesMark(): FlagMark {
    this.names ??= new FlagMark(MarkKind.NAMES, this.id);
    return this.names;
  }
  attributesMark(): FlagMark {
    this.attributes ??= new FlagMark(MarkKind.ATTRIBUTES, this.id);
    return this.attributes;
  }
  tailMark(): TailMark {
    this.tail ??= new TailMark(this.id);
    return this.tail;
  }
  extentMark(index: number): ExtentMark {
    let mark = this.extents.get(index);
    if (mark === undefined) {
      mark = new ExtentMark(this.id, index);
      if (this.#extents === null) this.extents = this.#extents = new Map();
      this.#extents.set(index, mark);
    }
    return mark;
  }

  *marks(): Generator<Mark> {
    if (this.names !== null) yield this.names;
    if (this.attributes !== null) yield this.attributes;
    if (this.tail !== null) yield this.tail;
    yield* this.extents.values();
  }

  /** Lets go of a mark that says nothing any more. */
  drop(mark: Mark): void {
    if (mark.kind === MarkKind.DATA) {
      if (this.extents.get(mark.index) === mark) this.#extents?.delete(mark.index);
    } else if (mark === this.names) this.names = null;
    else if (mark === this.attributes) this.attributes = null;
    else if (mark === this.tail) this.tail = null;
  }

  /** Lets go of all that is said of data and attributes. */
  dropContent(): void {
    this.attributes = this.tail = null;
    this.#extents?.clear();
  }

  get isEmpty(): boolean {
    return this.names === null && this.attributes === null && this.tail === null && this.extents.size === 0;
  }
  get hasDirtyContent(): boolean {
    if (this.attributes?.isDirty || this.tail?.isDirty) return true;
    for (const extent of this.extents.values()) if (extent.isDirty) return true;
    return false;
  }

  /** Is every block of the range dirty? Then a live write need not be sent: it will be copied. */
  isRangeDirty(offset: number, length: number): boolean {
    const end = Math.ceil((offset + length) / BLOCK_BYTES);
    const tailFrom = this.tail?.dirtyFrom ?? Number.POSITIVE_INFINITY;
    for (let block = Math.floor(offset / BLOCK_BYTES); block < end && block < tailFrom; block++) {
      const extent = this.extents.get(Math.floor(block / BLOCKS_PER_EXTENT));
      if (!extent?.isBlockDirty(block % BLOCKS_PER_EXTENT)) return false;
    }
    return true;
  }

  /** The next stretch to copy, at most `most` bytes, of an object of `size` bytes; null when its data is all there. `visit` gets each mark that became touched. */
  nextDirty(size: number, most: number, visit: (mark: Mark) => void): DataRange | null {
    const end = Math.min(Math.ceil(size / BLOCK_BYTES), this.tail?.dirtyFrom ?? Number.POSITIVE_INFINITY);
    for (const extent of this.extents.values()) {
      const base = extent.index * BLOCKS_PER_EXTENT;
      // What lies behind the end does not exist (but a crash could bring it back: touched); the dirty tail is copied as such.
      extent.copied(Math.max(0, Math.min(end - base, BLOCKS_PER_EXTENT)), BLOCKS_PER_EXTENT);
      if (extent.isTouched) visit(extent);
      const first = extent.nextBlock(0, true);
      if (first === BLOCKS_PER_EXTENT) continue;
      const stop = extent.nextBlock(first, false);
      const offset = (base + first) * BLOCK_BYTES;
      return { offset, length: Math.min((stop - first) * BLOCK_BYTES, most, size - offset) };
    }
    if (this.tail === null || !this.tail.isDirty) return null;
    const offset = this.tail.dirtyFrom * BLOCK_BYTES;
    if (offset < size) return { offset, length: Math.min(most, size - offset) };
    if (this.tail.isCut) return null;
    this.tail.copied(Number.POSITIVE_INFINITY);
    visit(this.tail);
    return null;
  }

  /** What `nextDirty` returned was sent. `visit` gets each mark that became touched. */
  copied(range: DataRange, size: number, visit: (mark: Mark) => void): void {
    const first = Math.floor(range.offset / BLOCK_BYTES);
    const end = Math.ceil((range.offset + range.length) / BLOCK_BYTES);
    if (this.tail?.isDirty && first >= this.tail.dirtyFrom) {
      const last = Math.ceil(size / BLOCK_BYTES);
      this.tail.copied(end >= last && !this.tail.isCut ? Number.POSITIVE_INFINITY : Math.min(end, last));
      visit(this.tail);
      return;
    }
    const index = Math.floor(range.offset / EXTENT_BYTES);
    const extent = this.extents.get(index);
    if (extent === undefined) return;
    extent.copied(first - index * BLOCKS_PER_EXTENT, end - index * BLOCKS_PER_EXTENT);
    visit(extent);
  }

  /** What is dirty of data and attributes was sent, in a manner of speaking: there is nothing left to send. */
  lapse(): void {
    this.isGone = true;
    if (this.attributes?.isDirty) this.attributes.copied();
    if (this.tail !== null) this.tail.isCut = false;
    this.copiedAllData();
  }

  /** All data was sent. */
  copiedAllData(): void {
    if (this.tail?.isDirty && !this.tail.isCut) this.tail.copied(Number.POSITIVE_INFINITY);
    for (const extent of this.extents.values()) extent.copied(0, BLOCKS_PER_EXTENT);
  }

  /** Bytes to copy of an object of `size` bytes. */
  dirtyBytes(size: number): number {
    let bytes = this.tail?.isDirty ? Math.max(0, size - this.tail.dirtyFrom * BLOCK_BYTES) : 0;
    for (const extent of this.extents.values()) bytes += extent.countDirty() * BLOCK_BYTES;
    return Math.min(bytes, size);
  }
}
