/**
 * What the kernel knows: one 64-byte record for each object that it holds a node id of.
 *
 * The records lie in a memory file, so that a new server process can take over the live mount from whoever kept the
 * descriptor. Objects are found by backing inode number; the file handle tells a reused number from the object itself.
 * A node id is the record's index and generation, never a pointer and never the path.
 */
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../../platform/linux/constants.ts";
import { check } from "../../platform/linux/errno.ts";
import { ftruncate, mmap, release } from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import { memoryAt } from "../../platform/linux/memory.ts";

/** FUSE_ROOT_ID: the node id of the replicated directory itself, and the index of its record. */
export const ROOT = 1;
/** Longest file handle that a record keeps; longer ones mean that a descriptor is held instead. */
export const MAX_HANDLE = 32;

/* Flags of a record. */
/** Not replicated: the name matches an exclusion, or the directory above is excluded. */
export const EXCLUDED = 1;
/** Has no name left; lives until the kernel forgets it. */
export const UNLINKED = 2;
/** A directory of which it is known whether it has a default ACL, and that it has one. */
export const ACL_KNOWN = 4;
export const ACL_PRESENT = 8;
/** The modification time that the last data operation left is not settled. */
export const TIMES_PENDING = 16;
/** Had a name and lost the last: unlike an unnamed file, it cannot be given one again. */
export const GONE = 32;
/** Since it was made, neither the kernel nor a sync has told its modification time. */
export const TIME_UNTOLD = 64;

/* A record as doubles (8) and words (16). */
const IDENTITY = 0;
const LOOKUPS = 1;
const INO_LOW = 4;
const INO_HIGH = 5;
const GENERATION = 6;
/** flags, type, handle length, handle type: a byte each. */
const BYTES = 28;
const HANDLE = 32;
const RECORD = 64;
/** Records mapped at first. */
const FIRST_MAPPED = 1 << 14;
const SEGMENTS = 512;
const SEGMENT_SHIFT = 23;
/** Record 0 is the header: its first double is the number of records ever used, the rest are words. */
const USED = 0;
/** The kernel sends requests again when it is asked to: without that, no successor can take the mount over. */
const RESENDS = 2;
/** The request that is being carried out, and what was there before: two words each. */
const INTENT = 3;
const INTENT_BEFORE = 5;
/** In the upper word of a request's number: it was sent before, to a server that died. */
const RESENT = 0x80000000;

/** The kernel's objects. Indices are positive; 0 means none. */
export class NodeTable {
  private memory: Memory | null = null;
  private doubles: Float64Array = new Float64Array(0);
  private words: Uint32Array = new Uint32Array(0);
  private bytes: Uint8Array = new Uint8Array(0);
  /** Records that are mapped: what is not used yet must not count as memory in use, or the garbage collector hardly ever runs. */
  private mapped = 0;
  /** Many small tables: growing one never takes long. */
  private readonly hash: Uint32Array[] = [];
  private readonly hashed = new Uint32Array(SEGMENTS);
  private count = 0;
  private firstFree = 0;

  /** Takes over the records in `memfd`, or starts empty when it is. `capacity` bounds the number of objects. */
  constructor(
    private readonly memfd: number,
    readonly capacity = 1 << 24,
  ) {
    check(ftruncate(memfd, capacity * RECORD), "cannot size the node table");
    for (let segment = 0; segment < SEGMENTS; segment++) this.hash.push(new Uint32Array(16));
    this.map(Math.min(capacity, FIRST_MAPPED));
    if (this.doubles[USED] === 0) this.doubles[USED] = 1;
    while (this.mapped < this.doubles[USED]!) this.map(Math.min(capacity, this.mapped * 2));
    this.adopt();
  }

  /** Maps so many records, in the place of fewer. */
  private map(records: number): void {
    const length = records * RECORD;
    const at = check(
      mmap(length, PROT_READ | PROT_WRITE, MAP_SHARED, this.memfd, 0),
      `cannot map a node table of ${length} bytes`,
    );
    const before = this.memory;
    this.memory = memoryAt(at, length);
    this.bytes = this.memory.bytes;
    this.words = this.memory.words;
    this.doubles = new Float64Array(this.bytes.buffer);
    this.mapped = records;
    if (before !== null) release(before);
  }

  /** Gives the memory back: no node is known any more. */
  close(): void {
    if (this.memory !== null) release(this.memory);
    this.memory = null;
    // Whoever asks all the same finds nothing, and not what lies there now.
    this.bytes = new Uint8Array(0);
    this.words = new Uint32Array(0);
    this.doubles = new Float64Array(0);
  }

  /** Finds every live record again. */
  private adopt(): void {
    for (let index = 1; index < this.doubles[USED]!; index++) {
      if (this.lookups(index) > 0) this.insert(index);
      else this.putFree(index);
    }
  }

  /** Objects that the kernel holds. */
  get size(): number {
    return this.count;
  }

  /** Every index in use is below this. */
  get end(): number {
    return this.doubles[USED]!;
  }

  identity(index: number): number {
    return this.doubles[index * 8 + IDENTITY]!;
  }
  lookups(index: number): number {
    return this.doubles[index * 8 + LOOKUPS]!;
  }
  inoLow(index: number): number {
    return this.words[index * 16 + INO_LOW]!;
  }
  inoHigh(index: number): number {
    return this.words[index * 16 + INO_HIGH]!;
  }
  generation(index: number): number {
    return this.words[index * 16 + GENERATION]!;
  }
  flags(index: number): number {
    return this.bytes[index * RECORD + BYTES]!;
  }
  setFlags(index: number, flags: number): void {
    this.bytes[index * RECORD + BYTES] = flags;
  }
  /** The file type: the upper four bits of the mode, shifted to 0..15. */
  type(index: number): number {
    return this.bytes[index * RECORD + BYTES + 1]!;
  }
  handleLength(index: number): number {
    return this.bytes[index * RECORD + BYTES + 2]!;
  }

  /** Can a successor of this process take over? Known from INIT, which is not sent again. */
  get resends(): boolean {
    return this.words[RESENDS] === 1;
  }
  set resends(able: boolean) {
    this.words[RESENDS] = able ? 1 : 0;
  }

  /** The request with this number is about to be carried out, and `low`, `high` say what was there before it. */
  intend(uniqueLow: number, uniqueHigh: number, low: number, high: number): void {
    // Invalid while it changes: the process may die between two of these words.
    this.words[INTENT] = 0;
    this.words[INTENT + 1] = 0;
    this.words[INTENT_BEFORE] = low;
    this.words[INTENT_BEFORE + 1] = high;
    this.words[INTENT + 1] = (uniqueHigh & ~RESENT) >>> 0;
    this.words[INTENT] = uniqueLow;
  }

  /** Is this number that of the request which a former process was carrying out when it died? */
  wasIntended(uniqueLow: number, uniqueHigh: number): boolean {
    if ((uniqueHigh & RESENT) === 0 || uniqueLow === 0) return false;
    return this.words[INTENT] === uniqueLow && this.words[INTENT + 1] === (uniqueHigh & ~RESENT) >>> 0;
  }
  /** The words that were given to `intend`. */
  get beforeLow(): number {
    return this.words[INTENT_BEFORE]!;
  }
  get beforeHigh(): number {
    return this.words[INTENT_BEFORE + 1]!;
  }

  /** The index behind a node id, or 0 when it is not, or no longer, one of ours. */
  fromNodeId(low: number, high: number): number {
    if (low === 0 || low >= this.doubles[USED]! || this.lookups(low) === 0) return 0;
    return this.generation(low) === high ? low : 0;
  }

  /** The live record of this backing inode number, or 0. */
  find(inoLow: number, inoHigh: number): number {
    const home = mixed(inoLow, inoHigh);
    const table = this.hash[home >>> SEGMENT_SHIFT]!;
    const mask = table.length - 1;
    for (let at = home & mask; ; at = (at + 1) & mask) {
      const index = table[at]!;
      if (index === 0) return 0;
      if (this.inoLow(index) === inoLow && this.inoHigh(index) === inoHigh) return index;
    }
  }

  /**
   * A new record with no lookups yet, or 0 when the table is full. `handle` is a `struct file_handle` in `from` at `at`;
   * a handle that does not fit leaves the handle's length 0.
   */
  add(identity: number, inoLow: number, inoHigh: number, type: number, from: Memory, at: number): number {
    let index = this.firstFree;
    if (index !== 0) this.firstFree = this.words[index * 16 + 8]!;
    else if (this.doubles[USED]! < this.capacity) {
      if (this.doubles[USED] === this.mapped) this.map(Math.min(this.capacity, this.mapped * 2));
      index = this.doubles[USED]!++;
    } else return 0;
    this.doubles[index * 8 + IDENTITY] = identity;
    this.doubles[index * 8 + LOOKUPS] = 0;
    this.words[index * 16 + INO_LOW] = inoLow;
    this.words[index * 16 + INO_HIGH] = inoHigh;
    const place = index * RECORD;
    const length = from.view.getUint32(at, true);
    const fits = length <= MAX_HANDLE && from.view.getUint32(at + 4, true) < 256;
    this.bytes[place + BYTES] = 0;
    this.bytes[place + BYTES + 1] = type;
    this.bytes[place + BYTES + 2] = fits ? length : 0;
    this.bytes[place + BYTES + 3] = fits ? from.view.getUint32(at + 4, true) : 0;
    this.bytes.fill(0, place + HANDLE, place + RECORD);
    if (fits) for (let i = 0; i < length; i++) this.bytes[place + HANDLE + i] = from.bytes[at + 8 + i]!;
    this.insert(index);
    return index;
  }

  /** Is the `struct file_handle` in `from` at `at` this record's? Always true for records without a handle. */
  sameHandle(index: number, from: Memory, at: number): boolean {
    const length = this.handleLength(index);
    if (length === 0) return true;
    if (from.view.getUint32(at, true) !== length) return false;
    for (let i = 0; i < length; i++)
      if (this.bytes[index * RECORD + HANDLE + i] !== from.bytes[at + 8 + i]) return false;
    return true;
  }

  /** Writes the record's `struct file_handle` to `to` at `at`. */
  copyHandle(index: number, to: Memory, at: number): void {
    const place = index * RECORD;
    to.view.setUint32(at, this.bytes[place + BYTES + 2]!, true);
    to.view.setUint32(at + 4, this.bytes[place + BYTES + 3]!, true);
    for (let i = 0; i < MAX_HANDLE; i++) to.bytes[at + 8 + i] = this.bytes[place + HANDLE + i]!;
  }

  /** Counts one more reference that the kernel holds. */
  remember(index: number): void {
    this.doubles[index * 8 + LOOKUPS]!++;
  }

  /** Takes `count` references away. True when none is left: the caller lets go of descriptors, then calls `free`. */
  forget(index: number, count: number): boolean {
    const left = Math.max(0, this.lookups(index) - count);
    if (left === 0) return index !== ROOT;
    this.doubles[index * 8 + LOOKUPS] = left;
    return false;
  }

  /** Ends the record; its node id is never valid again. */
  free(index: number): void {
    this.unhash(index);
    this.doubles[index * 8 + LOOKUPS] = 0;
    this.words[index * 16 + GENERATION]!++;
    this.putFree(index);
  }

  /** Takes the record out of the search by inode number: the number belongs to another object now. */
  unhash(index: number): void {
    const hash = mixed(this.inoLow(index), this.inoHigh(index));
    const table = this.hash[hash >>> SEGMENT_SHIFT]!;
    const mask = table.length - 1;
    let at = hash & mask;
    while (table[at] !== index) {
      if (table[at] === 0) return;
      at = (at + 1) & mask;
    }
    // What follows without a gap moves up, so that no search ends early.
    for (let next = (at + 1) & mask; table[next] !== 0; next = (next + 1) & mask) {
      const moved = table[next]!;
      const home = mixed(this.inoLow(moved), this.inoHigh(moved)) & mask;
      if (((next - home) & mask) >= ((next - at) & mask)) {
        table[at] = moved;
        at = next;
      }
    }
    table[at] = 0;
    this.hashed[hash >>> SEGMENT_SHIFT]!--;
    this.count--;
  }

  private putFree(index: number): void {
    this.words[index * 16 + 8] = this.firstFree;
    this.firstFree = index;
  }

  private insert(index: number): void {
    const hash = mixed(this.inoLow(index), this.inoHigh(index));
    const segment = hash >>> SEGMENT_SHIFT;
    if (this.hashed[segment]! * 2 >= this.hash[segment]!.length) this.grow(segment);
    put(this.hash[segment]!, hash, index);
    this.hashed[segment]!++;
    this.count++;
  }

  private grow(segment: number): void {
    const old = this.hash[segment]!;
    const larger = new Uint32Array(old.length * 2);
    for (const index of old)
      if (index !== 0) put(larger, mixed(this.inoLow(index), this.inoHigh(index)), index);
    this.hash[segment] = larger;
  }
}

function put(table: Uint32Array, hash: number, index: number): void {
  const mask = table.length - 1;
  let at = hash & mask;
  while (table[at] !== 0) at = (at + 1) & mask;
  table[at] = index;
}

function mixed(inoLow: number, inoHigh: number): number {
  const hash = Math.imul(inoLow ^ Math.imul(inoHigh, 0x9e3779b1), 0x85ebca6b);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** A number for each index, 0 at first. */
export class PerNode {
  private numbers = new Int32Array(1 << 12);

  get(index: number): number {
    return index < this.numbers.length ? this.numbers[index]! : 0;
  }

  set(index: number, value: number): void {
    if (index >= this.numbers.length) {
      if (value === 0) return;
      const larger = new Int32Array(Math.max(this.numbers.length * 2, index + 1));
      larger.set(this.numbers);
      this.numbers = larger;
    }
    this.numbers[index] = value;
  }
}
