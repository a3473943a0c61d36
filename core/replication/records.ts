/**
 * The form of marks on disk and between nodes: checksummed records, the same in the activity log, the dirty map and the
 * MARKS frames of a handshake.
 *
 *     u32 CRC-32 | u8 type, u24 length of the whole record (a multiple of 8) | i64 id | i64 extra | u32 length of blob | blob
 *
 * The checksum is seeded with the file's epoch and the record's position: what an older file left behind is not a record.
 */
import { crc32, getI64, getU32, putI64, putU32 } from "./binary.ts";

/** What can be marked. WHOLE and MANY_ATTRIBUTES: a page of objects, of which each lacks all, or its attributes (mark_pages.ts). */
export const MarkKind = { NAMES: 1, ATTRIBUTES: 2, DATA: 3, TAIL: 4, WHOLE: 5, MANY_ATTRIBUTES: 6 } as const;
export type MarkKind = (typeof MarkKind)[keyof typeof MarkKind];

/** Added to a MarkKind: it became active, it left the active set, the peer lacks it, this is all that the peer still lacks of it. */
export const ACTIVE = 0x10;
export const INACTIVE = 0x20;
export const DIRTY = 0x30;
export const LEFT = 0x50;

/** The other records. Their numbers are the disk's. */
export const RecordType = {
  /** id was last seen in directory `extra` under the name in the blob. */
  PLACE: 0x40,
  /** Objects with identities from id on are new since the last durable point. */
  NEW_FROM: 0x41,
  /** Identities below id may have been given out. */
  RESERVED: 0x42,
  /** Everything about the objects from id to before `extra` is dirty. */
  DIRTY_RANGE: 0x43,
  /** The marks do not tell: everything is dirty. */
  EVERYTHING: 0x44,
  /** Last record of a dirty map. */
  END: 0x45,
  /** Many objects and their dirty heads (head_marks.ts), in the blob. */
  HEADS: 0x46,
} as const;

/** Where an object was last seen. The name is a string of one character per byte. Parent 0: unknown. */
export interface Place {
  parent: number;
  name: string;
}

const RECORD_BYTES = 28;
const HEADER_MAGIC = 0x4b4d4648; // "HFMK"
const FORMAT_VERSION = 3;
/** Older files are read: what they do not know yet is in none of them. */
const OLDEST_VERSION = 2;
/** Bytes of the header of both files. */
export const FILE_HEADER_BYTES = 24;

const padded = (length: number): number => (length + 7) & ~7;
const seedAt = (epoch: number, position: number): number => (Math.imul(epoch, 0x9e3779b1) ^ position) >>> 0;

/** Collects records in a buffer that grows. */
export class RecordWriter {
  #bytes = new Uint8Array(new ArrayBuffer(4096));
  #length = 0;

  /** `epoch` and `position`: of the file, where the first record will lie. */
  constructor(
    public epoch: number,
    public position: number,
  ) {}

  /** Bytes collected. */
  get length(): number {
    return this.#length;
  }

  /** Adds a record. Throws RangeError for numbers that the form does not carry. */
  add(type: number, id: number, extra = 0, blob: Uint8Array | string | null = null): void {
    if (!Number.isSafeInteger(id) || !Number.isSafeInteger(extra))
      throw new RangeError(`record of ${id}, ${extra}`);
    const blobLength = blob?.length ?? 0;
    const total = padded(RECORD_BYTES + blobLength);
    this.#makeRoom(total);
    const at = this.#length;
    const out = this.#bytes;
    out.fill(0, at, at + total);
    putU32(out, at + 4, type | (total << 8));
    putI64(out, at + 8, id);
    putI64(out, at + 16, extra);
    putU32(out, at + 24, blobLength);
    if (typeof blob === "string") {
      for (let index = 0; index < blobLength; index++)
        out[at + RECORD_BYTES + index] = blob.charCodeAt(index);
    } else if (blob !== null) {
      out.set(blob, at + RECORD_BYTES);
    }
    putU32(out, at, crc32(out, at + 4, total - 4, seedAt(this.epoch, this.position + at)));
    this.#length += total;
  }

  /** Hands the records over and starts anew, at `position`. */
  take(position: number): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    this.position = position;
    return bytes;
  }

  #makeRoom(total: number): void {
    if (this.#length + total <= this.#bytes.length) return;
    const larger = new Uint8Array(new ArrayBuffer(Math.max(2 * this.#bytes.length, this.#length + total)));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** Receives one record. The blob is only good during the call. */
export type RecordVisitor = (type: number, id: number, extra: number, blob: Uint8Array) => void;

/** How far records were sound. */
export interface ReadResult {
  /** Position after the last sound record. */
  end: number;
  /** Sound records lie behind an unsound one: the file was damaged, not cut off by a crash. */
  damaged: boolean;
}

/** Visits the records from `start` on, which lies at `position` of a file of this epoch. */
export function readRecords(
  input: Uint8Array,
  start: number,
  epoch: number,
  position: number,
  visit: RecordVisitor,
): ReadResult {
  let at = start;
  for (
    let length = soundRecord(input, at, epoch, position);
    length > 0;
    length = soundRecord(input, at, epoch, position + at - start)
  ) {
    const blobLength = getU32(input, at + 24);
    visit(
      input[at + 4]!,
      getI64(input, at + 8),
      getI64(input, at + 16),
      input.subarray(at + RECORD_BYTES, at + RECORD_BYTES + blobLength),
    );
    at += length;
  }
  let damaged = false;
  for (let later = at + 8; later < input.length && !damaged; later += 8) {
    damaged = soundRecord(input, later, epoch, position + later - start) > 0;
  }
  return { end: at, damaged };
}

/** The length of the record at `at`, or 0 if none is there. */
function soundRecord(input: Uint8Array, at: number, epoch: number, position: number): number {
  if (at + RECORD_BYTES > input.length) return 0;
  const total = getU32(input, at + 4) >>> 8;
  if (total < RECORD_BYTES || total % 8 !== 0 || at + total > input.length) return 0;
  if (RECORD_BYTES + getU32(input, at + 24) > total) return 0;
  return crc32(input, at + 4, total - 4, seedAt(epoch, position)) === getU32(input, at) ? total : 0;
}

/** The header of an activity log or dirty map of this epoch. */
export function fileHeader(epoch: number): Uint8Array {
  const header = new Uint8Array(new ArrayBuffer(FILE_HEADER_BYTES));
  putU32(header, 0, HEADER_MAGIC);
  putU32(header, 4, FORMAT_VERSION);
  putI64(header, 8, epoch);
  putU32(header, 20, crc32(header, 0, 20));
  return header;
}

/** The epoch that a file's header tells, or null if it is not sound. */
export function readHeader(input: Uint8Array): number | null {
  if (input.length < FILE_HEADER_BYTES || getU32(input, 0) !== HEADER_MAGIC) return null;
  const version = getU32(input, 4);
  if (version < OLDEST_VERSION || version > FORMAT_VERSION) return null;
  return crc32(input, 0, 20) === getU32(input, 20) ? getI64(input, 8) : null;
}
