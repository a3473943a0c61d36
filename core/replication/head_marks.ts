/**
 * Of very many objects with few dirty blocks, all near their beginning: which ones, exactly, in a number each instead of marks of their own, which take
 * twenty times as much. An object leaves as soon as something happens to it.
 *
 * Where it lies is not kept: after a restart the tree is walked to find it.
 */
import { BLOCK_BYTES } from "./mark.ts";
import type { ObjectMarks } from "./object_marks.ts";

/** So many first blocks of an object can be said. */
const HEAD_BLOCKS = 30;
/** This bit says that the attributes are dirty. */
const ATTRIBUTES = 1 << HEAD_BLOCKS;
/** Bytes of a record's blob about a head: by that it is known. */
export const HEAD_BYTES = 4;

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

  /** What is written about each: the blob of its blocks, and whether the attributes are dirty. */
  *records(): Generator<{ id: number; blob: Uint8Array; attributes: boolean }> {
    for (const [id, bits] of this.#bits)
      yield { id, blob: bytesOf(bits & ~ATTRIBUTES), attributes: (bits & ATTRIBUTES) !== 0 };
  }

  /** Adds what `records` gave. */
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
