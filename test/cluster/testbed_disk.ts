/**
 * A disk whose power can be cut: an ext4 image on a loop device, shut down without a log flush.
 *
 * Killing processes keeps the page cache and proves nothing about fsync; EXT4_IOC_SHUTDOWN throws it away.
 */

import { dlopen, FFIType, ptr } from "bun:ffi";
import { readdirSync, readFileSync } from "node:fs";

const EXT4_IOC_SHUTDOWN = 0x8004587d;
/** What was not committed to the journal yet is lost, as when the plug is pulled. */
const GOING_FLAGS_NOLOGFLUSH = 2;
const O_DIRECTORY = 0o200000;

let libc: ReturnType<typeof openLibc> | undefined;

function openLibc() {
  return dlopen("libc.so.6", {
    open: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
    ioctl: { args: [FFIType.i32, FFIType.u64_fast, FFIType.ptr], returns: FFIType.i32 },
    close: { args: [FFIType.i32], returns: FFIType.i32 },
  }).symbols;
}

/** Stops the ext4 file system mounted at `mountPoint` at once; nothing more reaches its image. Throws when refused. */
export function cutDisk(mountPoint: string): void {
  libc ??= openLibc();
  const path = Buffer.from(`${mountPoint}\0`);
  const fd = libc.open(ptr(path), O_DIRECTORY);
  if (fd < 0) throw new Error(`cannot open ${mountPoint} to cut its power`);
  const flags = new Uint32Array(new ArrayBuffer(4));
  flags[0] = GOING_FLAGS_NOLOGFLUSH;
  const status = libc.ioctl(fd, EXT4_IOC_SHUTDOWN, ptr(flags));
  libc.close(fd);
  if (status !== 0) throw new Error(`EXT4_IOC_SHUTDOWN of ${mountPoint} was refused`);
}

/** The loop devices whose backing file starts with `prefix`, as names such as `loop3`. */
export function loopsOf(prefix: string): string[] {
  return readdirSync("/sys/block").filter((name) => {
    if (!name.startsWith("loop")) return false;
    try {
      return readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").startsWith(prefix);
    } catch {
      return false;
    }
  });
}
