/**
 * The few calls on descriptors that `node:fs` lacks. Loaded where they are first used: a hook's start does not wait for them.
 */
import { CString, dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { SystemError } from "./errno.ts";

const { i32, i64_fast: i64, ptr } = FFIType;

function open() {
  const symbols = {
    lseek: { args: [i32, i64, i32], returns: i64 },
    flock: { args: [i32, i32], returns: i32 },
    strerror: { args: [i32], returns: ptr },
    __errno_location: { args: [], returns: ptr },
  } as const;
  try {
    return dlopen("libc.so.6", symbols).symbols;
  } catch {
    return dlopen(`libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`, symbols).symbols;
  }
}

let library: ReturnType<typeof open> | null = null;

function c(): ReturnType<typeof open> {
  library ??= open();
  return library;
}

/** The positive error number of the call that just failed in this thread. */
function errno(): number {
  return read.i32(c().__errno_location() as Pointer, 0);
}

/** The system's own sentence for an error number: "No such file or directory". */
export function errorText(number: number): string {
  return new CString(c().strerror(number) as Pointer).toString();
}

/** lseek(2); returns the new position in bytes. `whence`: 0 start, 1 current, 2 end. Throws SystemError. */
export function seek(fd: number, offset: number, whence: number): number {
  const position = Number(c().lseek(fd, offset, whence));
  if (position < 0) throw new SystemError(errno(), "cannot move within the file");
  return position;
}

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const EWOULDBLOCK = 11;

/** flock(2): waits for the lock, or (`wait` false) returns false when somebody else holds it. Throws SystemError. */
export function lock(fd: number, exclusive: boolean, wait: boolean): boolean {
  if (c().flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB)) === 0) return true;
  const number = errno();
  if (!wait && number === EWOULDBLOCK) return false;
  throw new SystemError(number, "cannot lock the file");
}

/** Gives the lock of `lock` back. Throws SystemError. */
export function unlock(fd: number): void {
  if (c().flock(fd, LOCK_UN) !== 0) throw new SystemError(errno(), "cannot unlock the file");
}
