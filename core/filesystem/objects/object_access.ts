/**
 * How the kernel is asked for one object of a replicated directory: by the name that it has in an open directory, by a descriptor that
 * it has already, or by its file handle. Names and handles go through one piece of memory, so each is good until the next is put there.
 */

import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { errnos } from "../../platform/linux/errno.ts";
import { allocate, close, nameToHandleAt, openat, openByHandleAt, statx } from "../../platform/linux/libc.ts";
import { nameBytes } from "../../replication/name_text.ts";

const NAME_ROOM = 256;

/** Scratch for names and paths given to the kernel. */
const scratch = allocate(4096);
const nameAt = scratch.address;
const otherNameAt = scratch.address + NAME_ROOM;
const procAt = scratch.address + 2 * NAME_ROOM;
const statAt = scratch.address + 1024;
const emptyAt = scratch.address + 4095;
const HANDLE = 2048;
const HANDLE_BYTES = 128;
const handleAt = scratch.address + HANDLE;
const mountIdAt = handleAt + 8 + HANDLE_BYTES;

/** Puts a name where the kernel can read it; returns its address. `second` when two are needed at once. */
export function kernelName(bytes: Uint8Array, at: number, length: number, second = false): number {
  const start = second ? NAME_ROOM : 0;
  for (let index = 0; index < length; index++) scratch.bytes[start + index] = bytes[at + index]!;
  scratch.bytes[start + length] = 0;
  return second ? otherNameAt : nameAt;
}

/** As `kernelName`, for a path component as text: one character a byte. */
export function textName(text: string, second = false): number {
  const bytes = nameBytes(text);
  return kernelName(bytes, 0, bytes.length, second);
}

/** The empty path, for AT_EMPTY_PATH. */
export const emptyPath = emptyAt;

const PROC = new TextEncoder().encode("/proc/self/fd/");
scratch.bytes.set(PROC, 2 * NAME_ROOM);

/** A path that leads to what `fd` refers to, also when it was opened with O_PATH. Good until the next call. */
export function descriptorPath(fd: number): number {
  let at = 2 * NAME_ROOM + PROC.length;
  const digits = String(fd);
  for (let index = 0; index < digits.length; index++) scratch.bytes[at++] = digits.charCodeAt(index);
  scratch.bytes[at] = 0;
  return procAt;
}

/** st_mode of an open object, or -errno. */
export function modeOf(fd: number): number {
  const result = statx(fd, emptyAt, AT_EMPTY_PATH, STATX_BASIC_STATS, statAt);
  return result < 0 ? result : scratch.view.getUint16(1024 + 28, true);
}

/**
 * Opens the object called by the name at `name` in `directory`, as usefully as its type allows: directories to list, files
 * to read and write (to read only when an immutable or append-only flag forbids more), all else by O_PATH. Returns -errno.
 */
export function openObject(directory: number, name: number, readOnly = false): number {
  return openFully(openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0), readOnly);
}

/** The same for what O_PATH opened, which is closed or returned; -errno instead of it is returned. */
function openFully(handle: number, readOnly: boolean): number {
  if (handle < 0) return handle;
  const type = modeOf(handle) & S_IFMT;
  if (type !== S_IFREG && type !== S_IFDIR) return handle;
  const path = descriptorPath(handle);
  let fd: number;
  if (type === S_IFDIR) fd = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  else if (readOnly) fd = openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  else {
    fd = openat(AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd === -errnos.EPERM) fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  }
  close(handle);
  return fd;
}

/** Has the open object a name, whichever? */
export function hasNames(fd: number): boolean {
  const result = statx(fd, emptyAt, AT_EMPTY_PATH, STATX_BASIC_STATS, statAt);
  return result >= 0 && scratch.view.getUint32(1024 + 16, true) > 0;
}

/** The open object's `struct file_handle`, see open_by_handle_at(2); null: its file system has none. */
export function handleOf(fd: number): Uint8Array | null {
  scratch.view.setUint32(HANDLE, HANDLE_BYTES, true);
  if (nameToHandleAt(fd, emptyAt, handleAt, mountIdAt, AT_EMPTY_PATH) < 0) return null;
  return scratch.bytes.slice(HANDLE, HANDLE + 8 + scratch.view.getUint32(HANDLE, true));
}

/** As `openObject`, by what `handleOf` returned; `directory` is any open one of the same file system. */
export function openHandle(directory: number, handle: Uint8Array): number {
  scratch.bytes.set(handle, HANDLE);
  return openFully(openByHandleAt(directory, handleAt, O_PATH | O_NOFOLLOW | O_CLOEXEC), false);
}
