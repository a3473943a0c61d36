/**
 * One thing that the two copies may hold differently, and in how far.
 *
 * Each is clean, *touched* (sent to the peer, perhaps not on its disk) or *dirty* (the peer lacks it). Touched has two
 * ages: since the last durable point began, and before. What is confirmed settles only the older one.
 */
import { MarkKind } from "./records.ts";

/** Unit of what is copied, bytes. */
export const BLOCK_BYTES = 4096;
/** Unit of the activity log, bytes. */
export const EXTENT_BYTES = 4 * 1024 * 1024;
export const BLOCKS_PER_EXTENT = EXTENT_BYTES / BLOCK_BYTES;

/** Sent to the peer, or not: what a change leaves behind. */
export const Level = { TOUCHED: 0, DIRTY: 1 } as const;
export type Level = (typeof Level)[keyof typeof Level];

/** A mark, and its membership in the activity log. */
export abstract class Mark {
  abstract readonly kind: MarkKind;
  /** Position in the log of the record that made it active; -1 while it is not. */
  activeAt = -1;
  /** Neighbours in the order of last use. */
  older: Mark | null = null;
  newer: Mark | null = null;
  /** Is it in the list of what was touched since, or before, the present durable point began? */
  listedNow = false;
  listedBefore = false;
  /** dirty.map or the log may say that it is dirty: when it is clean, that must be said too, or a crash brings the work back. */
  isSaid = false;

  /** `index`: the extent's number, 0 for all but data. */
  constructor(
    readonly id: number,
    readonly index: number,
  ) {}

  abstract get isDirty(): boolean;
  abstract get isTouched(): boolean;
  /** A durable point begins: what was touched is touched before it. */
  abstract age(): void;
  /** The durable point is confirmed: what was touched before it is clean. */
  abstract settle(): void;
  /** The peer is gone: what was touched is dirty. */
  abstract lose(): void;
  /** After a crash nothing is known about an active thing. */
  abstract dirtyWhole(): void;

  /** Neither marked nor active: it may be dropped. */
  get isIdle(): boolean {
    return this.activeAt < 0 && !this.isDirty && !this.isTouched && !this.listedNow && !this.listedBefore;
  }
}

const NOW = 1;
const BEFORE = 2;
const LACKING = 4;

/** The names of a directory (with its mtime), or the attributes of an object: one state for all. */
export class FlagMark extends Mark {
  #state = 0;

  constructor(
    readonly kind: typeof MarkKind.NAMES | typeof MarkKind.ATTRIBUTES,
    id: number,
  ) {
    super(id, 0);
  }

  get isDirty(): boolean {
    return (this.#state & LACKING) !== 0;
  }
  get isTouched(): boolean {
    return (this.#state & (NOW | BEFORE)) !== 0;
  }
  set(level: Level): void {
    this.#state |= level === Level.TOUCHED ? NOW : LACKING;
  }
  /** Copied to the peer just now. */
  copied(): void {
    this.#state = (this.#state & ~LACKING) | NOW;
  }
  age(): void {
    if (this.#state & NOW) this.#state = (this.#state & ~NOW) | BEFORE;
  }
  settle(): void {
    this.#state &= ~BEFORE;
  }
  lose(): void {
    if (this.isTouched) this.#state = LACKING;
  }
  dirtyWhole(): void {
    this.#state |= LACKING;
  }
  /** Read from the disk: what was said before counts no more. */
  restate(dirty: boolean): void {
    this.#state = dirty ? LACKING : 0;
  }
}

/** Everything from one block to the end of the object, however long it grows: new objects, truncated ones. */
export class TailMark extends Mark {
  readonly kind = MarkKind.TAIL;
  /** First block of each state; Infinity: none. */
  dirtyFrom = Number.POSITIVE_INFINITY;
  #now = Number.POSITIVE_INFINITY;
  #before = Number.POSITIVE_INFINITY;
  /** First block that the activity log covers. */
  activeFrom = Number.POSITIVE_INFINITY;
  /**
   * The object was cut, and its attributes were not sent since: what the peer has behind the end is still to be cut off, and would be met again if
   * the object grew before that.
   */
  isCut = false;

  constructor(id: number) {
    super(id, 0);
  }

  get isDirty(): boolean {
    return this.dirtyFrom < Number.POSITIVE_INFINITY;
  }
  get isTouched(): boolean {
    return Math.min(this.#now, this.#before) < Number.POSITIVE_INFINITY;
  }
  /** First block that is touched or dirty. */
  get from(): number {
    return Math.min(this.dirtyFrom, this.#now, this.#before);
  }
  set(level: Level, block: number): void {
    if (level === Level.TOUCHED) this.#now = Math.min(this.#now, block);
    else this.dirtyFrom = Math.min(this.dirtyFrom, block);
  }
  /** Is a block newly touched already said by the tail? */
  coversTouch(block: number): boolean {
    return block >= this.#now;
  }
  /** Copied up to before `block`; Infinity: all of it. */
  copied(block: number): void {
    this.#now = Math.min(this.#now, this.dirtyFrom);
    this.dirtyFrom = block;
  }
  age(): void {
    this.#before = Math.min(this.#before, this.#now);
    this.#now = Number.POSITIVE_INFINITY;
  }
  settle(): void {
    this.#before = Number.POSITIVE_INFINITY;
  }
  lose(): void {
    this.dirtyFrom = this.from;
    this.#now = this.#before = Number.POSITIVE_INFINITY;
  }
  dirtyWhole(): void {
    this.dirtyFrom = Math.min(this.dirtyFrom, this.activeFrom);
  }
  /** See FlagMark. */
  restate(block: number): void {
    this.dirtyFrom = block;
  }
}

const WORDS = BLOCKS_PER_EXTENT / 32;

/** A state for each of 1024 neighbours: the blocks of an extent, the objects of a page. */
export abstract class BitMark extends Mark {
  /** Three bitmaps one after the other: dirty, touched before, touched now. */
  readonly #bits = new Uint32Array(3 * WORDS);

  get isDirty(): boolean {
    return this.#any(0, WORDS);
  }
  get isTouched(): boolean {
    return this.#any(WORDS, 3 * WORDS);
  }
  /** Marks blocks `first` to before `end`, counted within the extent. */
  set(level: Level, first: number, end: number): void {
    const base = level === Level.TOUCHED ? 2 * WORDS : 0;
    for (let block = first; block < end; block++) this.#bits[base + (block >>> 5)]! |= 1 << (block & 31);
  }
  isBlockTouchedNow(block: number): boolean {
    return (this.#bits[2 * WORDS + (block >>> 5)]! & (1 << (block & 31))) !== 0;
  }
  /** Was it touched before the durable point under way? */
  isBlockTouchedBefore(block: number): boolean {
    return (this.#bits[WORDS + (block >>> 5)]! & (1 << (block & 31))) !== 0;
  }
  isBlockDirty(block: number): boolean {
    return (this.#bits[block >>> 5]! & (1 << (block & 31))) !== 0;
  }
  /** The first block, from `block` on, that is dirty (or is not); BLOCKS_PER_EXTENT if none. */
  nextBlock(block: number, dirty: boolean): number {
    while (block < BLOCKS_PER_EXTENT && this.isBlockDirty(block) !== dirty) block++;
    return block;
  }
  /** The last that is dirty, -1 if none is. */
  get lastDirty(): number {
    for (let word = WORDS - 1; word >= 0; word--)
      if (this.#bits[word] !== 0) return word * 32 + 31 - Math.clz32(this.#bits[word]!);
    return -1;
  }
  /** The dirty bits of the first 32. */
  get firstWord(): number {
    return this.#bits[0]!;
  }
  /** This one is dirty no more: another mark says what it lacks. */
  unset(block: number): void {
    this.#bits[block >>> 5]! &= ~(1 << (block & 31));
  }
  /** Blocks that are dirty. */
  countDirty(): number {
    let count = 0;
    for (let word = 0; word < WORDS; word++) {
      for (let bits = this.#bits[word]!; bits !== 0; bits &= bits - 1) count++;
    }
    return count;
  }
  /** Dirty blocks from `first` to before `end` were sent: touched now. */
  copied(first: number, end: number): void {
    for (let block = first; block < end; block++) {
      if (!this.isBlockDirty(block)) continue;
      this.#bits[block >>> 5]! &= ~(1 << (block & 31));
      this.#bits[2 * WORDS + (block >>> 5)]! |= 1 << (block & 31);
    }
  }
  age(): void {
    for (let word = 0; word < WORDS; word++) {
      this.#bits[WORDS + word]! |= this.#bits[2 * WORDS + word]!;
      this.#bits[2 * WORDS + word] = 0;
    }
  }
  settle(): void {
    this.#bits.fill(0, WORDS, 2 * WORDS);
  }
  lose(): void {
    for (let word = 0; word < WORDS; word++) {
      this.#bits[word]! |= this.#bits[WORDS + word]! | this.#bits[2 * WORDS + word]!;
    }
    this.#bits.fill(0, WORDS);
  }
  dirtyWhole(): void {
    this.#bits.fill(0xffff_ffff, 0, WORDS);
  }
  /** The dirty bits as bytes; `withTouched`: as they would be without the peer. */
  dirtyBytes(withTouched: boolean): Uint8Array {
    const bits = this.#bits.slice(0, WORDS);
    if (withTouched)
      for (let word = 0; word < WORDS; word++)
        bits[word]! |= this.#bits[WORDS + word]! | this.#bits[2 * WORDS + word]!;
    return new Uint8Array(bits.buffer);
  }
  /** See FlagMark. */
  restate(bytes: Uint8Array): void {
    this.#bits.fill(0);
    this.addDirtyBytes(bytes);
  }
  /** Adds dirty bits that `dirtyBytes` wrote. */
  addDirtyBytes(bytes: Uint8Array): void {
    for (let byte = 0; byte < Math.min(bytes.length, 4 * WORDS); byte++) {
      this.#bits[byte >>> 2]! |= bytes[byte]! << (8 * (byte & 3));
    }
  }

  #any(from: number, to: number): boolean {
    for (let word = from; word < to; word++) if (this.#bits[word] !== 0) return true;
    return false;
  }
}

/** The blocks of one extent. */
export class ExtentMark extends BitMark {
  readonly kind = MarkKind.DATA;
}

/** Objects in a page: identities `id` to `id` + BLOCKS_PER_EXTENT - 1, wholly or their attributes only. */
export class PageMark extends BitMark {
  constructor(
    readonly kind: typeof MarkKind.WHOLE | typeof MarkKind.MANY_ATTRIBUTES,
    id: number,
  ) {
    super(id, 0);
  }
}
