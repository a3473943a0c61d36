/**
 * Memory whose address never changes.
 *
 * A JavaScript buffer may move or be collected while the kernel still writes to it. What system calls touch lives in
 * anonymous mappings instead: outside the collector's heap, zeroed, and alive until the process ends or `release` is called.
 */

import type { Pointer } from "bun:ffi";
import { toArrayBuffer } from "bun:ffi";

/** A stretch of memory and the ways to look at it. All views share the same bytes. */
export interface Memory {
  /** The address of the first byte, as system calls take it. */
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly words: Uint32Array;
}

/** Views over `length` bytes that are mapped at `address` (4-byte aligned). They stay valid only while the mapping does. */
export function memoryAt(address: number, length: number): Memory {
  const buffer = toArrayBuffer(address as Pointer, 0, length);
  return {
    address,
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Uint32Array(buffer, 0, length >>> 2),
  };
}

const TWO_32 = 2 ** 32;

/** The 64-bit number at `offset`, unsigned. Above 2^53 it is rounded: compare halves where that matters. */
export function getU64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * TWO_32;
}

/** The 64-bit number at `offset`, signed: seconds before 1970. */
export function getI64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * TWO_32;
}

/** Writes `value` (an integer, negative allowed, magnitude up to 2^53) as 64 bits. */
export function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setInt32(offset + 4, Math.floor(value / TWO_32) | 0, true);
}
