/**
 * The small structures that system calls read and fill, each at its own place in one stretch of memory,
 * and the names of open descriptors under /proc, written without allocating.
 */
import { allocate } from "../../platform/linux/libc.ts";

/** One for each thread that serves a directory. */
export const scratch = allocate(512 * 1024);
const base = scratch.address;

/** Place of the `struct statx` of the object at hand, and of its parent. */
export const STAT = 0;
export const PARENT_STAT = 256;
/** A `struct file_handle` with room for MAX_HANDLE_SZ bytes, and a mount id. */
export const HANDLE = 512;
const MOUNT_ID = 688;
/** Two `struct timespec`. */
export const TIMES = 704;
/** One `struct iovec`. */
export const VECTOR = 736;
/** A `struct statfs`. */
export const STATFS = 768;
/** An identity attribute's value. */
export const IDENTITY_VALUE = 896;
const PATH = 1024;
const EMPTY = 2048;
const FIXED_NAMES = 2056;
/** 64 KiB for values of extended attributes. */
export const VALUE = 65536;
export const VALUE_SIZE = 65536;
/** 256 KiB for directory entries. */
export const ENTRIES = 131072;
export const ENTRIES_SIZE = 262144;

/* Where these places are, for system calls. */
export const statAddress = base + STAT;
export const parentStatAddress = base + PARENT_STAT;
export const handleAddress = base + HANDLE;
export const mountIdAddress = base + MOUNT_ID;
export const timesAddress = base + TIMES;
export const vectorAddress = base + VECTOR;
export const statfsAddress = base + STATFS;
export const identityAddress = base + IDENTITY_VALUE;
export const valueAddress = base + VALUE;
export const entriesAddress = base + ENTRIES;
/** The empty string: with AT_EMPTY_PATH, the descriptor itself. */
export const emptyString = base + EMPTY;

/* Offsets within a struct statx. */
export const STX_NLINK = 16;
export const STX_UID = 20;
export const STX_GID = 24;
export const STX_MODE = 28;
export const STX_INO = 32;
export const STX_SIZE = 40;
export const STX_BLOCKS = 48;
export const STX_ATIME = 64;
export const STX_CTIME = 96;
export const STX_MTIME = 112;
export const STX_DEV_MAJOR = 136;
export const STX_DEV_MINOR = 140;

let nextName = FIXED_NAMES;
/** A constant C string, kept for ever. Returns its address. */
export function fixedName(text: string): number {
  const at = nextName;
  nextName += new TextEncoder().encodeInto(text, scratch.bytes.subarray(at)).written + 1;
  if (nextName > VALUE) throw new Error("no room for another constant name");
  return base + at;
}

const prefix = new TextEncoder().encode("/proc/self/fd/");
scratch.bytes.set(prefix, PATH);

/** Writes the number of `fd` behind the prefix; returns where the text ends. */
function writeNumber(fd: number): number {
  let digits = 1;
  for (let rest = fd; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  let at = PATH + prefix.length + digits;
  const end = at;
  for (let rest = fd; at > PATH + prefix.length; rest = Math.floor(rest / 10))
    scratch.bytes[--at] = 48 + (rest % 10);
  return end;
}

/** `/proc/self/fd/N`, which leads to the object that the descriptor holds, even one opened with O_PATH. Valid until the next call. */
export function descriptorPath(fd: number): number {
  scratch.bytes[writeNumber(fd)] = 0;
  return base + PATH;
}

/** `/proc/self/fd/N/NAME`, for calls that take no directory descriptor. `name` is at `from` + `at`, NUL-terminated, at most 255 bytes. */
export function childPath(fd: number, from: Uint8Array, at: number): number {
  let to = writeNumber(fd);
  scratch.bytes[to++] = 47;
  for (let i = 0; i < 256; i++) {
    const byte = from[at + i]!;
    scratch.bytes[to++] = byte;
    if (byte === 0) return base + PATH;
  }
  scratch.bytes[to] = 0;
  return base + PATH;
}
