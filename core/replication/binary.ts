/**
 * Little-endian numbers in byte arrays, without a DataView for each buffer.
 *
 * Identities have 48 bits and offsets 53, more than JavaScript's 32-bit operators carry: they travel as two halves.
 */

const HALF = 2 ** 32;

/** Writes an unsigned 32-bit number. */
export function putU32(out: Uint8Array, at: number, value: number): void {
  out[at] = value;
  out[at + 1] = value >>> 8;
  out[at + 2] = value >>> 16;
  out[at + 3] = value >>> 24;
}

/** Reads an unsigned 32-bit number. */
export function getU32(input: Uint8Array, at: number): number {
  return (input[at]! | (input[at + 1]! << 8) | (input[at + 2]! << 16) | (input[at + 3]! << 24)) >>> 0;
}

/** Writes a safe integer, negative ones too (dates before 1970), as two halves of a 64-bit two's complement. */
export function putI64(out: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / HALF);
  putU32(out, at, value - high * HALF);
  putU32(out, at + 4, high);
}

/** Reads what `putI64` wrote. The result may be beyond 2^53: the caller checks with Number.isSafeInteger. */
export function getI64(input: Uint8Array, at: number): number {
  return (getU32(input, at + 4) | 0) * HALF + getU32(input, at);
}

const CRC_TABLE = new Int32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 of `length` bytes. `seed` makes the sums of one file invalid in another. */
export function crc32(input: Uint8Array, at: number, length: number, seed = 0): number {
  let crc = ~seed;
  for (let index = at; index < at + length; index++) {
    crc = CRC_TABLE[(crc ^ input[index]!) & 255]! ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}
