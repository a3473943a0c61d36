/**
 * Names of whole trees in little memory: about 60 bytes for each, where two Maps take ten times that, and no object that a garbage
 * collector must look at.
 *
 * A row is one name: the object, the directory, the bytes, the type. An object may have several (hard links). Rows and bytes lie in chunks
 * that are never copied, and the indexes are many small ones: growing never takes long.
 */
import { nameText } from "./name_text.ts";

/** Rows of one chunk. */
const ROWS = 1 << 14;
/** Bytes of one chunk of names, and their unit: a name's room is kept for names that need as many units. */
const ARENA = 1 << 18;
const UNIT = 8;
const UNITS_PER_ARENA = ARENA / UNIT;
const CLASSES = 256 / UNIT + 1;
const SEGMENTS = 256;
const FIRST_SLOTS = 16;
const NONE = -1;

class Chunk {
  readonly ids = new Float64Array(ROWS);
  readonly parents = new Float64Array(ROWS);
  /** Where the name begins, in units. */
  readonly names = new Uint32Array(ROWS);
  readonly lengths = new Uint8Array(ROWS);
  readonly types = new Uint8Array(ROWS);
  /** The next name of the same object; of a free row, the next free one. */
  readonly next = new Int32Array(ROWS);
  /** 1: what its name means now is another row, or none. */
  readonly shadowed = new Uint8Array(ROWS);
}

const hashOfNumber = (value: number): number => {
  let hash = Math.imul(value >>> 0, 0x9e3779b1) ^ Math.imul(Math.floor(value / 4294967296), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
};

/** Rows by hash: open addressing in many small tables. */
class RowIndex {
  readonly #slots: Int32Array[] = [];
  readonly #counts = new Uint32Array(SEGMENTS);
  /* Where the search under way is. */
  #table: Int32Array = new Int32Array(0);
  #at = 0;

  /** `hashOf`: the hash by which a row was put in. */
  constructor(readonly hashOf: (row: number) => number) {
    for (let segment = 0; segment < SEGMENTS; segment++) this.#slots.push(new Int32Array(FIRST_SLOTS));
  }

  /** Begins a search for rows with this hash: `next` gives candidates. */
  begin(hash: number): void {
    this.#table = this.#slots[hash >>> 24]!;
    this.#at = hash & (this.#table.length - 1);
  }
  next(): number {
    const row = this.#table[this.#at]! - 1;
    this.#at = (this.#at + 1) & (this.#table.length - 1);
    return row;
  }

  put(row: number): void {
    const hash = this.hashOf(row);
    const segment = hash >>> 24;
    let table = this.#slots[segment]!;
    if (this.#counts[segment]! * 8 >= table.length * 5) {
      const larger = new Int32Array(table.length * 2);
      for (const entry of table) if (entry !== 0) place(larger, this.hashOf(entry - 1), entry);
      this.#slots[segment] = table = larger;
    }
    place(table, hash, row + 1);
    this.#counts[segment]!++;
  }

  remove(row: number): void {
    const hash = this.hashOf(row);
    const table = this.#slots[hash >>> 24]!;
    const mask = table.length - 1;
    let at = hash & mask;
    while (table[at] !== row + 1) {
      if (table[at] === 0) return;
      at = (at + 1) & mask;
    }
    // What follows without a gap moves up, so that no search ends early.
    for (let later = (at + 1) & mask; table[later] !== 0; later = (later + 1) & mask) {
      const home = this.hashOf(table[later]! - 1) & mask;
      if (((later - home) & mask) >= ((later - at) & mask)) {
        table[at] = table[later]!;
        at = later;
      }
    }
    table[at] = 0;
    this.#counts[hash >>> 24]!--;
  }
}

function place(table: Int32Array, hash: number, entry: number): void {
  const mask = table.length - 1;
  let at = hash & mask;
  while (table[at] !== 0) at = (at + 1) & mask;
  table[at] = entry;
}

/** See the top of the file. Rows are numbers from 0; -1 means none. Names are strings of one character per byte, at most 255. */
export class NameTable {
  readonly #chunks: Chunk[] = [];
  readonly #arenas: Uint8Array[] = [];
  readonly #freeNames = new Int32Array(CLASSES).fill(NONE);
  readonly #byId = new RowIndex((row) => hashOfNumber(this.id(row)));
  readonly #byName = new RowIndex((row) => this.#hashOfRow(row));
  #freeRow = NONE;
  #rows = 0;
  #arenaUsed = UNITS_PER_ARENA;
  #count = 0;

  /** Names held. */
  get size(): number {
    return this.#count;
  }

  id(row: number): number {
    return this.#chunks[row >>> 14]!.ids[row & (ROWS - 1)]!;
  }
  parent(row: number): number {
    return this.#chunks[row >>> 14]!.parents[row & (ROWS - 1)]!;
  }
  type(row: number): number {
    return this.#chunks[row >>> 14]!.types[row & (ROWS - 1)]!;
  }
  name(row: number): string {
    const chunk = this.#chunks[row >>> 14]!;
    const start = chunk.names[row & (ROWS - 1)]!;
    const bytes = this.#arenaOf(start);
    const from = (start % UNITS_PER_ARENA) * UNIT;
    return nameText(bytes, from, chunk.lengths[row & (ROWS - 1)]!);
  }

  /** The name of this object that was added last. */
  ofId(id: number): number {
    this.#byId.begin(hashOfNumber(id));
    for (let row = this.#byId.next(); row >= 0; row = this.#byId.next()) if (this.id(row) === id) return row;
    return NONE;
  }

  /** Another name of the same object. */
  another(row: number): number {
    return this.#chunks[row >>> 14]!.next[row & (ROWS - 1)]!;
  }

  /** What this name means: the row that was added last. */
  find(parent: number, name: string): number {
    this.#byName.begin(hashOfName(parent, name));
    for (let row = this.#byName.next(); row >= 0; row = this.#byName.next())
      if (this.parent(row) === parent && this.#isCalled(row, name)) return row;
    return NONE;
  }

  /** Adds a name. It means this object from now on, whatever else it meant. */
  add(id: number, parent: number, name: string, type = 0): number {
    const before = this.find(parent, name);
    if (before !== NONE) {
      this.#byName.remove(before);
      this.#chunks[before >>> 14]!.shadowed[before & (ROWS - 1)] = 1;
    }
    const row = this.#takeRow();
    const chunk = this.#chunks[row >>> 14]!;
    const at = row & (ROWS - 1);
    chunk.ids[at] = id;
    chunk.parents[at] = parent;
    chunk.types[at] = type;
    chunk.lengths[at] = name.length;
    chunk.names[at] = this.#keepName(name);
    chunk.shadowed[at] = 0;
    const other = this.ofId(id);
    chunk.next[at] = other;
    // One entry for each object: its last name leads to the others.
    if (other !== NONE) this.#byId.remove(other);
    this.#byId.put(row);
    this.#byName.put(row);
    this.#count++;
    return row;
  }

  /** Takes a name out. */
  remove(row: number): void {
    const chunk = this.#chunks[row >>> 14]!;
    const at = row & (ROWS - 1);
    if (chunk.shadowed[at] === 0) this.#byName.remove(row);
    this.#unlink(row, chunk.ids[at]!);
    this.#releaseName(chunk.names[at]!, chunk.lengths[at]!);
    chunk.next[at] = this.#freeRow;
    this.#freeRow = row;
    this.#count--;
  }

  #unlink(row: number, id: number): void {
    const first = this.ofId(id);
    const following = this.another(row);
    if (first === row) {
      this.#byId.remove(row);
      if (following !== NONE) this.#byId.put(following);
      return;
    }
    let before = first;
    while (this.another(before) !== row) before = this.another(before);
    this.#chunks[before >>> 14]!.next[before & (ROWS - 1)] = following;
  }

  #takeRow(): number {
    const free = this.#freeRow;
    if (free !== NONE) {
      this.#freeRow = this.another(free);
      return free;
    }
    if (this.#rows % ROWS === 0) this.#chunks.push(new Chunk());
    return this.#rows++;
  }

  #arenaOf(start: number): Uint8Array {
    return this.#arenas[Math.floor(start / UNITS_PER_ARENA)]!;
  }

  #keepName(name: string): number {
    const units = unitsOf(name.length);
    let start = this.#freeNames[units]!;
    if (start !== NONE) {
      const free = this.#arenaOf(start);
      const from = (start % UNITS_PER_ARENA) * UNIT;
      this.#freeNames[units] =
        free[from]! | (free[from + 1]! << 8) | (free[from + 2]! << 16) | (free[from + 3]! << 24);
    } else {
      if (this.#arenaUsed + units > UNITS_PER_ARENA) {
        this.#arenas.push(new Uint8Array(ARENA));
        this.#arenaUsed = 0;
      }
      start = (this.#arenas.length - 1) * UNITS_PER_ARENA + this.#arenaUsed;
      this.#arenaUsed += units;
    }
    const bytes = this.#arenaOf(start);
    const from = (start % UNITS_PER_ARENA) * UNIT;
    for (let index = 0; index < name.length; index++) bytes[from + index] = name.charCodeAt(index);
    return start;
  }

  #releaseName(start: number, length: number): void {
    const units = unitsOf(length);
    const bytes = this.#arenaOf(start);
    const from = (start % UNITS_PER_ARENA) * UNIT;
    const next = this.#freeNames[units]!;
    for (let byte = 0; byte < 4; byte++) bytes[from + byte] = next >> (8 * byte);
    this.#freeNames[units] = start;
  }

  #isCalled(row: number, name: string): boolean {
    const chunk = this.#chunks[row >>> 14]!;
    const at = row & (ROWS - 1);
    if (chunk.lengths[at] !== name.length) return false;
    const start = chunk.names[at]!;
    const bytes = this.#arenaOf(start);
    const from = (start % UNITS_PER_ARENA) * UNIT;
    for (let index = 0; index < name.length; index++)
      if (bytes[from + index] !== name.charCodeAt(index)) return false;
    return true;
  }

  #hashOfRow(row: number): number {
    const chunk = this.#chunks[row >>> 14]!;
    const at = row & (ROWS - 1);
    const start = chunk.names[at]!;
    const bytes = this.#arenaOf(start);
    const from = (start % UNITS_PER_ARENA) * UNIT;
    let hash = hashOfNumber(chunk.parents[at]!);
    for (let index = 0; index < chunk.lengths[at]!; index++) hash = mix(hash, bytes[from + index]!);
    return finish(hash);
  }
}

const unitsOf = (length: number): number => Math.max(1, (length + UNIT - 1) >>> 3);
const mix = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);
const finish = (hash: number): number => {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (mixed ^ (mixed >>> 13)) >>> 0;
};

function hashOfName(parent: number, name: string): number {
  let hash = hashOfNumber(parent);
  for (let index = 0; index < name.length; index++) hash = mix(hash, name.charCodeAt(index));
  return finish(hash);
}
