/**
 * The stream's wire codec. One `Frame` is reused for every operation: encoding writes into the caller's buffer,
 * decoding leaves names and data where they arrived. Nothing is allocated per frame, and nothing is trusted:
 * a frame is checked whole before the caller sees any of it.
 *
 *     u32 length of the frame, header included | u32 type | i64 sequence | the fields of LAYOUT, in order
 *
 * The sequence numbers the source's frames from 1; it is 0 in frames of the target, but for NEED.
 */
import { getI64, getU32, putI64, putU32 } from "./binary.ts";
import { type FieldKind, type FrameBlob, type FrameNumbers, type FrameType, LAYOUT } from "./layout.ts";
import { nameText } from "./name_text.ts";
import { WireError } from "./wire_error.ts";

export { FrameType } from "./layout.ts";
export { WireError } from "./wire_error.ts";

/** Bytes before the first field. */
export const HEADER_BYTES = 16;
/** A frame is never longer (a write of FUSE has at most 1 MiB): a longer length is an attack or a broken peer. */
export const MAX_FRAME_BYTES = 1024 * 1024 + 32 * 1024;
/** Room to reserve for a frame that carries `payload` bytes of names and data. */
export const frameBound = (payload: number): number => 192 + payload;
/** Longest name of a directory entry or an extended attribute. */
export const MAX_NAME_BYTES = 255;
/** Identities are below this. */
export const IDENTITY_LIMIT = 2 ** 48;

const NOTHING = new Uint8Array(new ArrayBuffer(0));
const SLASH = 47;
const DOT = 46;

/** A stretch of someone else's bytes: valid until that buffer is reused. */
export class Stretch {
  bytes: Uint8Array = NOTHING;
  at = 0;
  length = 0;

  /** Points at `length` bytes of `bytes`. */
  set(bytes: Uint8Array, at = 0, length = bytes.length - at): void {
    this.bytes = bytes;
    this.at = at;
    this.length = length;
  }

  /** A copy, for what must outlive the buffer. */
  copy(): Uint8Array {
    return this.bytes.slice(this.at, this.at + this.length);
  }

  /** The bytes as a string of one character per byte: exact for any name, usable as a key. */
  key(): string {
    return nameText(this.bytes, this.at, this.length);
  }
}

/** One frame, reused. Set `type`, `sequence` and the fields that LAYOUT lists for the type, then `encode`; or `decode` and read them. */
export class Frame implements FrameNumbers, Record<FrameBlob, Stretch> {
  type: FrameType = 5;
  sequence = 0;
  id = 0;
  parent = 0;
  toParent = 0;
  mode = 0;
  rdev = 0;
  uid = 0;
  gid = 0;
  flags = 0;
  valid = 0;
  offset = 0;
  length = 0;
  size = 0;
  atime = 0;
  atimeNanos = 0;
  mtime = 0;
  mtimeNanos = 0;
  parentSeconds = 0;
  parentNanos = 0;
  toSeconds = 0;
  toNanos = 0;
  ticket = 0;
  applied = 0;
  inHands = 0;
  errno = 0;
  readonly name = new Stretch();
  readonly toName = new Stretch();
  readonly data = new Stretch();

  /** Bytes that `encode` will write. */
  frameBytes(): number {
    let bytes = HEADER_BYTES;
    for (const [key, kind] of LAYOUT[this.type]) {
      bytes += isBlob(key) ? lengthBytes(kind) + this[key].length : numberBytes(kind);
    }
    return bytes;
  }

  /** Writes the frame at `at` and returns the position after it. Throws WireError NoRoom or FrameTooLong, and what decode would refuse. */
  encode(out: Uint8Array, at: number): number {
    const total = this.frameBytes();
    if (total > MAX_FRAME_BYTES) throw new WireError("FrameTooLong", `${total} bytes`);
    if (at + total > out.length) throw new WireError("NoRoom", `${total} bytes at ${at} of ${out.length}`);
    putU32(out, at, total);
    putU32(out, at + 4, this.type);
    putI64(out, at + 8, this.sequence);
    let position = at + HEADER_BYTES;
    for (const [key, kind] of LAYOUT[this.type]) {
      position = isBlob(key)
        ? putBlob(out, position, kind, this[key])
        : putNumber(out, position, kind, this[key], key);
    }
    return position;
  }

  /**
   * Reads the frame at `at`, if it is there whole before `end`. Returns the position after it, or 0 when more bytes must
   * arrive first. Names and data point into `input`. Throws WireError for anything malformed.
   */
  decode(input: Uint8Array, at: number, end: number): number {
    if (end - at < 4) return 0;
    const total = getU32(input, at);
    if (total < HEADER_BYTES) throw new WireError("FrameTooShort", `${total} bytes`);
    if (total > MAX_FRAME_BYTES) throw new WireError("FrameTooLong", `${total} bytes`);
    if (end - at < total) return 0;
    const type = getU32(input, at + 4);
    const fields = LAYOUT[type as FrameType];
    if (fields === undefined) throw new WireError("UnknownType", `type ${type}`);
    this.type = type as FrameType;
    this.sequence = checkSize(getI64(input, at + 8), "sequence");
    const stop = at + total;
    let position = at + HEADER_BYTES;
    for (const [key, kind] of fields) {
      if (isBlob(key)) {
        position = getBlob(input, position, stop, kind, this[key], key);
      } else {
        const width = numberBytes(kind);
        if (position + width > stop) throw new WireError("FieldCutOff", `${key} of frame type ${type}`);
        this[key] = getNumber(input, position, kind, key);
        position += width;
      }
    }
    if (position !== stop)
      throw new WireError("TrailingBytes", `${stop - position} bytes after frame type ${type}`);
    return stop;
  }
}

function isBlob(key: string): key is FrameBlob {
  return key === "name" || key === "toName" || key === "data";
}

const numberBytes = (kind: FieldKind): number => (kind === "u32" ? 4 : 8);
const lengthBytes = (kind: FieldKind): number => (kind === "bytes" ? 4 : 1);

function putNumber(out: Uint8Array, at: number, kind: FieldKind, value: number, key: string): number {
  if (kind === "u32") {
    putU32(out, at, value);
    return at + 4;
  }
  putI64(out, at, checkNumber(value, kind, key));
  return at + 8;
}

function getNumber(input: Uint8Array, at: number, kind: FieldKind, key: string): number {
  return kind === "u32" ? getU32(input, at) : checkNumber(getI64(input, at), kind, key);
}

function checkNumber(value: number, kind: FieldKind, key: string): number {
  if (kind === "time") {
    if (!Number.isSafeInteger(value)) throw new WireError("BadNumber", `${key} beyond 2^53`);
    return value;
  }
  if (kind === "size") return checkSize(value, key);
  if (!(value >= (kind === "id" ? 1 : 0) && value < IDENTITY_LIMIT))
    throw new WireError("BadIdentity", `${key} ${value}`);
  return value;
}

function checkSize(value: number, key: string): number {
  if (!(value >= 0 && Number.isSafeInteger(value))) throw new WireError("BadNumber", `${key} ${value}`);
  return value;
}

function putBlob(out: Uint8Array, at: number, kind: FieldKind, blob: Stretch): number {
  let position = at;
  if (kind === "bytes") {
    putU32(out, position, blob.length);
    position += 4;
  } else {
    checkName(blob.bytes, blob.at, blob.length, kind);
    out[position++] = blob.length;
  }
  copyBytes(blob.bytes, blob.at, blob.length, out, position);
  return position + blob.length;
}

function getBlob(
  input: Uint8Array,
  at: number,
  stop: number,
  kind: FieldKind,
  blob: Stretch,
  key: string,
): number {
  const width = lengthBytes(kind);
  if (at + width > stop) throw new WireError("FieldCutOff", `length of ${key}`);
  const length = width === 1 ? input[at]! : getU32(input, at);
  const start = at + width;
  if (start + length > stop) throw new WireError("FieldCutOff", `${key}: ${length} bytes announced`);
  if (kind !== "bytes") checkName(input, start, length, kind);
  blob.set(input, start, length);
  return start + length;
}

/** Refuses what must never reach openat(2) as one component of a path. */
export function checkName(bytes: Uint8Array, at: number, length: number, kind: FieldKind): void {
  if (length < 1 || length > MAX_NAME_BYTES) throw new WireError("BadName", `${length} bytes`);
  for (let index = at; index < at + length; index++) {
    const byte = bytes[index]!;
    if (byte === 0 || (byte === SLASH && kind === "entry"))
      throw new WireError("BadName", `byte ${byte} inside`);
  }
  if (kind === "entry" && bytes[at] === DOT && (length === 1 || (length === 2 && bytes[at + 1] === DOT))) {
    throw new WireError("BadName", "dot or dot-dot");
  }
}

/** Without a view on either side: the collector would have to take it away again. For short stretches a loop is faster. */
function copyBytes(from: Uint8Array, at: number, length: number, out: Uint8Array, position: number): void {
  if (length > 256) {
    Buffer.prototype.copy.call(from, out, position, at, at + length);
  } else {
    for (let index = 0; index < length; index++) out[position + index] = from[at + index]!;
  }
}
