/** Lists inside a frame's `data`: the entries of a directory (DIR_NAMES) and the extended attributes of an object (OBJECT). */
import { getI64, getU32, putI64, putU32 } from "./binary.ts";
import { checkName, IDENTITY_LIMIT, Stretch } from "./operation.ts";
import { WireError } from "./wire_error.ts";

const ENTRY_BYTES = 10;

/** Bytes that an entry with a name of this length takes. */
export const entryBytes = (nameLength: number): number => ENTRY_BYTES + nameLength;

/** In an entry's type byte: the object has other names too. */
const HAS_OTHERS = 0x80;

/**
 * Writes `id, type, name` and returns the position after it. `type` is d_type (DT_*), `hasOthers` whether the object has
 * other names too (st_nlink > 1, no directory). The caller made sure of the room.
 */
export function putEntry(
  out: Uint8Array,
  at: number,
  id: number,
  type: number,
  name: Uint8Array,
  hasOthers = false,
): number {
  checkName(name, 0, name.length, "entry");
  putI64(out, at, id);
  out[at + 8] = type | (hasOthers ? HAS_OTHERS : 0);
  out[at + 9] = name.length;
  out.set(name, at + ENTRY_BYTES);
  return at + ENTRY_BYTES + name.length;
}

/** Reads the entries of one DIR_NAMES, one after the other. Reused. */
export class EntryReader {
  id = 0;
  type = 0;
  hasOthers = false;
  readonly name = new Stretch();
  #bytes: Uint8Array = this.name.bytes;
  #at = 0;
  #end = 0;

  /** Starts over with the entries in `data`. */
  open(data: Stretch): void {
    this.#bytes = data.bytes;
    this.#at = data.at;
    this.#end = data.at + data.length;
  }

  /** Steps to the next entry; false at the end. Throws WireError for a malformed one. */
  next(): boolean {
    if (this.#at === this.#end) return false;
    if (this.#at + ENTRY_BYTES > this.#end) throw new WireError("FieldCutOff", "directory entry");
    this.id = getI64(this.#bytes, this.#at);
    if (!(this.id > 0 && this.id < IDENTITY_LIMIT)) throw new WireError("BadIdentity", `entry ${this.id}`);
    this.type = this.#bytes[this.#at + 8]! & ~HAS_OTHERS;
    this.hasOthers = (this.#bytes[this.#at + 8]! & HAS_OTHERS) !== 0;
    const length = this.#bytes[this.#at + 9]!;
    const start = this.#at + ENTRY_BYTES;
    if (start + length > this.#end) throw new WireError("FieldCutOff", "name of a directory entry");
    checkName(this.#bytes, start, length, "entry");
    this.name.set(this.#bytes, start, length);
    this.#at = start + length;
    return true;
  }
}

/** Writes one extended attribute and returns the position after it. */
export function putXattr(out: Uint8Array, at: number, name: Uint8Array, value: Uint8Array): number {
  checkName(name, 0, name.length, "label");
  out[at] = name.length;
  putU32(out, at + 1, value.length);
  out.set(name, at + 5);
  out.set(value, at + 5 + name.length);
  return at + 5 + name.length + value.length;
}

/** Reads the extended attributes of one OBJECT, one after the other. Reused. */
export class XattrReader {
  readonly name = new Stretch();
  readonly value = new Stretch();
  #bytes: Uint8Array = this.name.bytes;
  #at = 0;
  #end = 0;

  /** Starts over with the attributes in `data`. */
  open(data: Stretch): void {
    this.#bytes = data.bytes;
    this.#at = data.at;
    this.#end = data.at + data.length;
  }

  /** Steps to the next attribute; false at the end. Throws WireError for a malformed one. */
  next(): boolean {
    if (this.#at === this.#end) return false;
    if (this.#at + 5 > this.#end) throw new WireError("FieldCutOff", "extended attribute");
    const nameLength = this.#bytes[this.#at]!;
    const valueLength = getU32(this.#bytes, this.#at + 1);
    const start = this.#at + 5;
    if (start + nameLength + valueLength > this.#end)
      throw new WireError("FieldCutOff", "extended attribute");
    checkName(this.#bytes, start, nameLength, "label");
    this.name.set(this.#bytes, start, nameLength);
    this.value.set(this.#bytes, start + nameLength, valueLength);
    this.#at = start + nameLength + valueLength;
    return true;
  }
}
