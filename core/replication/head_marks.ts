/**
 * Of very many objects with few dirty blocks, all near their beginning: which ones, exactly, in a number each instead of marks of their own, which take
 * twenty times as much. An object leaves as soon as something happens to it.
 *
 * Where it lies is not kept: after a restart the tree is walked to find it.
 */
import { getI64, getU32, putI64, putU32 } from "./binary.ts";
import { BLOCK_BYTES } from "./mark.ts";
import type { ObjectMarks } from "./object_marks.ts";

/** So many first blocks of an object can be said. */
const HEAD_BLOCKS = 30;
/** This bit says that the attributes are dirty. */
const ATTRIBUTES = 1 << HEAD_BLOCKS;
/** Bytes of a record's blob about a head: by that it is known. */
export const HEAD_BYTES = 4;
/** So many are packed into one blob, each in so many bytes: the identity, the bits. */
const PACKED = 4096;
const PACKED_BYTES = 12;

/** See the top of the file. */
export class HeadMarks {
  readonly #bits = new Map<number, number>();

  /** Takes over what is said of this object's data and attributes, if it can be said here. The object must be at rest. */
  take(object: ObjectMarks): boolean {
    const { tail, extents, attributes } = object;
    const extent = extents.get(0);
    if (tail !== null || extents.size !== 1 || extent === undefined || extent.lastDirty >= HEAD_BLOCKS)
      return false;
    this.#bits.set(object.id, extent.firstWord | (attributes?.isDirty ? ATTRIBUTES : 0));
    object.dropContent();
    return true;
  }

  /** Gives an object back what is said of it here. */
  giveBack(object: ObjectMarks): void {
    const bits = this.#bits.get(object.id);
    if (bits === undefined) return;
    this.#bits.delete(object.id);
    // The files say so.
    const extent = object.extentMark(0);
    extent.addDirtyBytes(bytesOf(bits & ~ATTRIBUTES));
    extent.isSaid = true;
    if ((bits & ATTRIBUTES) === 0) return;
    const attributes = object.attributesMark();
    attributes.dirtyWhole();
    attributes.isSaid = true;
  }

  has(id: number): boolean {
    return this.#bits.has(id);
  }
  delete(id: number): void {
    this.#bits.delete(id);
  }
  clear(): void {
    this.#bits.clear();
  }

  /** The objects. */
  ids(): Iterable<number> {
    return this.#bits.keys();
  }

  /** Bytes of data to copy of an object. */
  dirtyBytes(id: number): number {
    let count = 0;
    for (let bits = (this.#bits.get(id) ?? 0) & ~ATTRIBUTES; bits !== 0; bits &= bits - 1) count++;
    return count * BLOCK_BYTES;
  }

  /** What is written of all, many at a time: one by one, a million would take seconds. */
  *packed(): Generator<Uint8Array> {
    let blob = new Uint8Array(PACKED * PACKED_BYTES);
    let filled = 0;
    for (const [id, bits] of this.#bits) {
      putI64(blob, filled, id);
      putU32(blob, filled + 8, bits);
      filled += PACKED_BYTES;
      if (filled < blob.length) continue;
      yield blob;
      blob = new Uint8Array(PACKED * PACKED_BYTES);
      filled = 0;
    }
    if (filled > 0) yield blob.subarray(0, filled);
  }

  /** Adds what `packed` gave. Returns the objects. */
  addPacked(blob: Uint8Array): number[] {
    const ids: number[] = [];
    for (let at = 0; at + PACKED_BYTES <= blob.length; at += PACKED_BYTES) {
      const id = getI64(blob, at);
      this.#bits.set(id, (this.#bits.get(id) ?? 0) | getU32(blob, at + 8));
      ids.push(id);
    }
    return ids;
  }

  /** Adds what a record says of one. */
  addBlocks(id: number, blob: Uint8Array): void {
    const word = new DataView(blob.buffer, blob.byteOffset).getUint32(0, true);
    this.#bits.set(id, (this.#bits.get(id) ?? 0) | (word & ~ATTRIBUTES));
  }
  addAttributes(id: number): void {
    this.#bits.set(id, (this.#bits.get(id) ?? 0) | ATTRIBUTES);
  }
}

function bytesOf(bits: number): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES);
  new DataView(bytes.buffer).setUint32(0, bits, true);
  return bytes;
}
