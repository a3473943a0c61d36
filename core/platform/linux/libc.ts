/**
 * System calls, as thin as they get.
 *
 * On the hot path every function returns what the call returned, or the negative error number; nothing is allocated.
 * Pointers are plain addresses (`Memory.address` plus an offset). Callers that cannot go on use `check` from errno.ts.
 * errno is read right after the call, in the same thread: nothing runs between the two.
 */

import type { Pointer } from "bun:ffi";
import { dlopen, FFIType, read } from "bun:ffi";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "./constants.ts";
import { check, SystemError } from "./errno.ts";
import type { Memory } from "./memory.ts";
import { getU64, memoryAt, setU64 } from "./memory.ts";

const { i32, u32, i64_fast: i64 } = FFIType;
/** Addresses travel as integers: never a typed array, whose storage may move. */
const address = i64;

const symbols = {
  __errno_location: { args: [], returns: FFIType.ptr },
  openat: { args: [i32, address, i32, u32], returns: i32 },
  close: { args: [i32], returns: i32 },
  read: { args: [i32, address, i64], returns: i64 },
  write: { args: [i32, address, i64], returns: i64 },
  writev: { args: [i32, address, i32], returns: i64 },
  readv: { args: [i32, address, i32], returns: i64 },
  pread: { args: [i32, address, i64, i64], returns: i64 },
  pwrite: { args: [i32, address, i64, i64], returns: i64 },
  preadv2: { args: [i32, address, i32, i64, i32], returns: i64 },
  pwritev2: { args: [i32, address, i32, i64, i32], returns: i64 },
  copy_file_range: { args: [i32, address, i32, address, i64, u32], returns: i64 },
  statx: { args: [i32, address, i32, u32, address], returns: i32 },
  mkdirat: { args: [i32, address, u32], returns: i32 },
  mknodat: { args: [i32, address, u32, i64], returns: i32 },
  linkat: { args: [i32, address, i32, address, i32], returns: i32 },
  unlinkat: { args: [i32, address, i32], returns: i32 },
  renameat2: { args: [i32, address, i32, address, u32], returns: i32 },
  symlinkat: { args: [address, i32, address], returns: i32 },
  readlinkat: { args: [i32, address, address, i64], returns: i64 },
  fallocate: { args: [i32, i32, i64, i64], returns: i32 },
  sync_file_range: { args: [i32, i64, i64, u32], returns: i32 },
  ftruncate: { args: [i32, i64], returns: i32 },
  truncate: { args: [address, i64], returns: i32 },
  fchmod: { args: [i32, u32], returns: i32 },
  fchmodat: { args: [i32, address, u32, i32], returns: i32 },
  fchownat: { args: [i32, address, u32, u32, i32], returns: i32 },
  utimensat: { args: [i32, address, address, i32], returns: i32 },
  fgetxattr: { args: [i32, address, address, i64], returns: i64 },
  fsetxattr: { args: [i32, address, address, i64, i32], returns: i32 },
  fremovexattr: { args: [i32, address], returns: i32 },
  flistxattr: { args: [i32, address, i64], returns: i64 },
  getxattr: { args: [address, address, address, i64], returns: i64 },
  setxattr: { args: [address, address, address, i64, i32], returns: i32 },
  removexattr: { args: [address, address], returns: i32 },
  listxattr: { args: [address, address, i64], returns: i64 },
  lgetxattr: { args: [address, address, address, i64], returns: i64 },
  lsetxattr: { args: [address, address, address, i64, i32], returns: i32 },
  getdents64: { args: [i32, address, i64], returns: i64 },
  name_to_handle_at: { args: [i32, address, address, address, i32], returns: i32 },
  open_by_handle_at: { args: [i32, address, i32], returns: i32 },
  fsync: { args: [i32], returns: i32 },
  fdatasync: { args: [i32], returns: i32 },
  syncfs: { args: [i32], returns: i32 },
  close_range: { args: [u32, u32, i32], returns: i32 },
  fstatfs: { args: [i32, address], returns: i32 },
  lseek: { args: [i32, i64, i32], returns: i64 },
  ioctl: { args: [i32, i64, i64], returns: i32 },
  fcntl: { args: [i32, i32, i64], returns: i32 },
  mount: { args: [address, address, address, i64, address], returns: i32 },
  umount2: { args: [address, i32], returns: i32 },
  poll: { args: [address, i64, i32], returns: i32 },
  pipe2: { args: [address, i32], returns: i32 },
  eventfd: { args: [u32, i32], returns: i32 },
  memfd_create: { args: [address, u32], returns: i32 },
  mmap: { args: [address, i64, i32, i32, i32, i64], returns: i64 },
  munmap: { args: [address, i64], returns: i32 },
  msync: { args: [address, i64, i32], returns: i32 },
  prctl: { args: [i32, i64, i64, i64, i64], returns: i32 },
  mlockall: { args: [i32], returns: i32 },
  munlockall: { args: [], returns: i32 },
  prlimit: { args: [i32, i32, address, address], returns: i32 },
  setpriority: { args: [i32, i32, i32], returns: i32 },
  clock_gettime: { args: [i32, address], returns: i32 },
  adjtimex: { args: [address], returns: i32 },
  setfsuid: { args: [u32], returns: i32 },
  setfsgid: { args: [u32], returns: i32 },
  umask: { args: [u32], returns: i32 },
  geteuid: { args: [], returns: u32 },
  kill: { args: [i32, i32], returns: i32 },
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, address, u32], returns: i32 },
  connect: { args: [i32, address, u32], returns: i32 },
  setsockopt: { args: [i32, i32, i32, address, u32], returns: i32 },
  syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: i64 },
} as const;

/** Opens the C library: glibc's name first, then musl's for both architectures. */
function openLibrary(): ReturnType<typeof dlopen<typeof symbols>> {
  const candidates = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];
  let cause: unknown;
  for (const name of candidates) {
    try {
      return dlopen(name, symbols);
    } catch (error) {
      cause = error;
    }
  }
  throw new Error(
    `cannot load the C library (tried ${candidates.join(", ")}): glibc 2.28 or musl 1.2.5 is needed`,
    { cause },
  );
}

const c = openLibrary().symbols;
const errnoAddress = c.__errno_location() as Pointer;

/** The negative error number of the call that just returned -1. */
function failure(): number {
  return -read.i32(errnoAddress, 0);
}

/** Turns -1 into the negative error number. Bun gives a bigint only above 2^53, which no call here returns. */
function outcome(result: number | bigint): number {
  return result === -1 ? failure() : (result as number);
}

/* Plain calls. Every one returns its result or -errno. */
export const openat = (dir: number, path: number, flags: number, mode: number): number =>
  outcome(c.openat(dir, path, flags, mode));
export const close = (fd: number): number => outcome(c.close(fd));
export const readFd = (fd: number, to: number, length: number): number => outcome(c.read(fd, to, length));
export const writeFd = (fd: number, from: number, length: number): number =>
  outcome(c.write(fd, from, length));
export const writev = (fd: number, vectors: number, count: number): number =>
  outcome(c.writev(fd, vectors, count));
export const readv = (fd: number, vectors: number, count: number): number =>
  outcome(c.readv(fd, vectors, count));
export const pread = (fd: number, to: number, length: number, offset: number): number =>
  outcome(c.pread(fd, to, length, offset));
export const pwrite = (fd: number, from: number, length: number, offset: number): number =>
  outcome(c.pwrite(fd, from, length, offset));
export const preadv2 = (fd: number, vectors: number, count: number, offset: number, flags: number): number =>
  outcome(c.preadv2(fd, vectors, count, offset, flags));
export const pwritev2 = (fd: number, vectors: number, count: number, offset: number, flags: number): number =>
  outcome(c.pwritev2(fd, vectors, count, offset, flags));
/** Both offsets are addresses of 64-bit numbers, or 0 for the descriptor's own position. */
export const copyFileRange = (
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): number => outcome(c.copy_file_range(from, fromOffset, to, toOffset, length, 0));
export const statx = (dir: number, path: number, flags: number, mask: number, to: number): number =>
  outcome(c.statx(dir, path, flags, mask, to));
export const mkdirat = (dir: number, name: number, mode: number): number =>
  outcome(c.mkdirat(dir, name, mode));
export const mknodat = (dir: number, name: number, mode: number, device: number): number =>
  outcome(c.mknodat(dir, name, mode, device));
export const linkat = (dir: number, name: number, toDir: number, toName: number, flags: number): number =>
  outcome(c.linkat(dir, name, toDir, toName, flags));
export const unlinkat = (dir: number, name: number, flags: number): number =>
  outcome(c.unlinkat(dir, name, flags));
export const renameat2 = (dir: number, name: number, toDir: number, toName: number, flags: number): number =>
  outcome(c.renameat2(dir, name, toDir, toName, flags));
export const symlinkat = (target: number, dir: number, name: number): number =>
  outcome(c.symlinkat(target, dir, name));
export const readlinkat = (dir: number, name: number, to: number, length: number): number =>
  outcome(c.readlinkat(dir, name, to, length));
export const fallocate = (fd: number, mode: number, offset: number, length: number): number =>
  outcome(c.fallocate(fd, mode, offset, length));
const SYNC_FILE_RANGE_WRITE = 2;
/** Has the kernel begin to write these bytes to the disk, and does not wait for them: no promise. Returns 0 or -errno. */
export const beginWriteback = (fd: number, offset: number, length: number): number =>
  outcome(c.sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE));
export const ftruncate = (fd: number, size: number): number => outcome(c.ftruncate(fd, size));
export const truncate = (path: number, size: number): number => outcome(c.truncate(path, size));
export const fchmod = (fd: number, mode: number): number => outcome(c.fchmod(fd, mode));
export const fchmodat = (dir: number, path: number, mode: number): number =>
  outcome(c.fchmodat(dir, path, mode, 0));
/** -1 (as 0xffffffff) leaves an owner alone. */
export const fchownat = (dir: number, path: number, uid: number, gid: number, flags: number): number =>
  outcome(c.fchownat(dir, path, uid >>> 0, gid >>> 0, flags));
export const utimensat = (dir: number, path: number, times: number, flags: number): number =>
  outcome(c.utimensat(dir, path, times, flags));
export const fgetxattr = (fd: number, name: number, to: number, length: number): number =>
  outcome(c.fgetxattr(fd, name, to, length));
export const fsetxattr = (fd: number, name: number, from: number, length: number, flags: number): number =>
  outcome(c.fsetxattr(fd, name, from, length, flags));
export const fremovexattr = (fd: number, name: number): number => outcome(c.fremovexattr(fd, name));
export const flistxattr = (fd: number, to: number, length: number): number =>
  outcome(c.flistxattr(fd, to, length));
export const getxattr = (path: number, name: number, to: number, length: number): number =>
  outcome(c.getxattr(path, name, to, length));
export const setxattr = (path: number, name: number, from: number, length: number, flags: number): number =>
  outcome(c.setxattr(path, name, from, length, flags));
export const removexattr = (path: number, name: number): number => outcome(c.removexattr(path, name));
export const listxattr = (path: number, to: number, length: number): number =>
  outcome(c.listxattr(path, to, length));
export const lgetxattr = (path: number, name: number, to: number, length: number): number =>
  outcome(c.lgetxattr(path, name, to, length));
export const lsetxattr = (path: number, name: number, from: number, length: number, flags: number): number =>
  outcome(c.lsetxattr(path, name, from, length, flags));
export const getdents64 = (fd: number, to: number, length: number): number =>
  outcome(c.getdents64(fd, to, length));
export const nameToHandleAt = (
  dir: number,
  path: number,
  handle: number,
  mountId: number,
  flags: number,
): number => outcome(c.name_to_handle_at(dir, path, handle, mountId, flags));
export const openByHandleAt = (mount: number, handle: number, flags: number): number =>
  outcome(c.open_by_handle_at(mount, handle, flags));
export const fsync = (fd: number): number => outcome(c.fsync(fd));
export const fdatasync = (fd: number): number => outcome(c.fdatasync(fd));
const CLOSE_RANGE_UNSHARE = 2;
const LAST_DESCRIPTOR = 0xffff_ffff;
/** Gives the calling thread a table of descriptors of its own: the standard ones and `kept`. Returns 0 or -errno. */
export const keepOnly = (...kept: number[]): number => {
  const ends = [...kept.sort((a, b) => b - a), 2];
  let last = LAST_DESCRIPTOR;
  let result = 0;
  for (const [i, end] of ends.entries()) {
    if (result >= 0 && end < last)
      result = outcome(c.close_range(end + 1, last, i === 0 ? CLOSE_RANGE_UNSHARE : 0));
    last = end - 1;
  }
  return result;
};
export const syncfs = (fd: number): number => outcome(c.syncfs(fd));
export const fstatfs = (fd: number, to: number): number => outcome(c.fstatfs(fd, to));
export const lseek = (fd: number, offset: number, whence: number): number =>
  outcome(c.lseek(fd, offset, whence));
export const ioctl = (fd: number, request: number, argument: number): number =>
  outcome(c.ioctl(fd, request, argument));
export const fcntl = (fd: number, command: number, argument: number): number =>
  outcome(c.fcntl(fd, command, argument));
export const poll = (descriptors: number, count: number, timeoutMs: number): number =>
  outcome(c.poll(descriptors, count, timeoutMs));
export const eventfd = (initial: number, flags: number): number => outcome(c.eventfd(initial, flags));
export const mmap = (length: number, protection: number, flags: number, fd: number, offset: number): number =>
  outcome(c.mmap(0, length, protection, flags, fd, offset));
export const munmap = (at: number, length: number): number => outcome(c.munmap(at, length));
/** flags: 4 is MS_SYNC. */
export const msync = (at: number, length: number, flags: number): number =>
  outcome(c.msync(at, length, flags));
export const prctl = (option: number, argument: number): number =>
  outcome(c.prctl(option, argument, 0, 0, 0));
export const mlockall = (flags: number): number => outcome(c.mlockall(flags));
export const munlockall = (): number => outcome(c.munlockall());
export const prlimit = (pid: number, resource: number, limit: number, old: number): number =>
  outcome(c.prlimit(pid, resource, limit, old));
export const setpriority = (which: number, who: number, value: number): number =>
  outcome(c.setpriority(which, who, value));
/** These two return the former value, and cannot be told from failure: ask twice where it matters. They act on the calling thread. */
export const setfsuid = (uid: number): number => c.setfsuid(uid >>> 0);
export const setfsgid = (gid: number): number => c.setfsgid(gid >>> 0);
export const umask = (mask: number): number => c.umask(mask);
export const geteuid = (): number => c.geteuid();
export const kill = (pid: number, signal: number): number => outcome(c.kill(pid, signal));
export const socket = (family: number, type: number, protocol: number): number =>
  outcome(c.socket(family, type, protocol));
export const bind = (fd: number, to: number, length: number): number => outcome(c.bind(fd, to, length));
export const connect = (fd: number, to: number, length: number): number => outcome(c.connect(fd, to, length));
export const setsockopt = (fd: number, level: number, name: number, at: number, length: number): number =>
  outcome(c.setsockopt(fd, level, name, at, length));
/** A call that the C library does not wrap. */
export const syscall = (number: number, a = 0, b = 0, d = 0, e = 0, f = 0, g = 0): number =>
  outcome(c.syscall(number, a, b, d, e, f, g));

/** lseek(2) to an offset that may need all 64 bits, as those of directories do. Returns 0 or -errno. */
export function seekExactly(fd: number, offset: bigint): number {
  const at = c.lseek(fd, offset, 0);
  return at === -1 ? failure() : 0;
}

/** Zeroed memory at a fixed address, at least `length` bytes. Throws when there is none. */
export function allocate(length: number): Memory {
  const at = check(
    mmap(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
    `cannot allocate ${length} bytes`,
  );
  return memoryAt(at, length);
}

/** Gives memory back. Its views must not be touched again. */
export function release(memory: Memory): void {
  check(munmap(memory.address, memory.bytes.length), "cannot release memory");
}

/** A NUL-terminated copy of `text` at a fixed address, for calls made once. Strings are UTF-8; bytes go as they are. */
export function cString(text: string | Uint8Array): Memory {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  if (bytes.includes(0))
    throw new SystemError(
      22,
      `a name with a NUL byte cannot be given to the kernel: ${JSON.stringify(text)}`,
    );
  const memory = allocate(bytes.length + 1);
  memory.bytes.set(bytes);
  return memory;
}

/** Runs `call` with the address of `text` as a C string, which is gone afterwards. */
export function withString<T>(text: string | Uint8Array, call: (at: number) => T): T {
  const memory = cString(text);
  try {
    return call(memory.address);
  } finally {
    release(memory);
  }
}

/** Opens `path` with O_CLOEXEC added. Returns the descriptor or -errno. */
export function open(path: string | Uint8Array, flags: number, mode = 0): number {
  return withString(path, (at) => openat(-100, at, flags | 0o2000000, mode));
}

/** mount(2). Returns 0 or -errno. */
export function mount(source: string, target: string, type: string, flags: number, data: string): number {
  return withString(source, (from) =>
    withString(target, (to) =>
      withString(type, (kind) =>
        withString(data, (options) => outcome(c.mount(from, to, kind, flags, options))),
      ),
    ),
  );
}

/** umount2(2). Returns 0 or -errno. */
export function umount2(target: string, flags: number): number {
  return withString(target, (at) => outcome(c.umount2(at, flags)));
}

/** umount2(2) of the C string at an address. Returns 0 or -errno. */
export const umountAt = (target: number, flags: number): number => outcome(c.umount2(target, flags));

/** An anonymous file in memory, closed on exec. `name` shows in /proc. Returns the descriptor or -errno. */
export function memfdCreate(name: string): number {
  return withString(name, (at) => outcome(c.memfd_create(at, 1)));
}

const small = allocate(4096);

/** A pipe, both ends closed on exec: [to read, to write]. Throws. */
export function pipe(flags = 0): [number, number] {
  check(outcome(c.pipe2(small.address, flags | 0o2000000)), "cannot make a pipe");
  return [small.view.getInt32(0, true), small.view.getInt32(4, true)];
}

/** The time of `clock` (CLOCK_*) in milliseconds, with a fraction. */
export function clock(id: number): number {
  c.clock_gettime(id, small.address);
  return getU64(small.view, 0) * 1000 + small.view.getUint32(8, true) / 1e6;
}

/** What corrects the clock of this machine, and how (adjtimex(2)). */
export interface ClockDiscipline {
  /** Does anything? */
  isSynchronised: boolean;
  /** How wrong it may be, ms. */
  maxErrorMs: number;
  /** How much faster it is made to run, in millionths. */
  ratePpm: number;
}

const STA_UNSYNC = 0x40;
/** Microseconds between two ticks of the clock, of which the interface counts 100 a second: a tick longer by one is 100 ppm. */
const TICK_US = 10_000;

/** Asks the kernel; changes nothing. Throws. */
export function clockDiscipline(): ClockDiscipline {
  const { view } = small;
  view.setUint32(0, 0, true);
  check(outcome(c.adjtimex(small.address)), "cannot ask for the state of the clock");
  const long = (at: number): number => Number(view.getBigInt64(at, true));
  return {
    isSynchronised: (view.getInt32(40, true) & STA_UNSYNC) === 0,
    maxErrorMs: long(24) / 1000,
    ratePpm: long(16) / 65_536 + (long(88) - TICK_US) * 100,
  };
}

/** Adds `count` to an eventfd: wakes who polls it. Returns 8 or -errno. */
export function signalEvent(fd: number, count = 1): number {
  setU64(small.view, 16, count);
  return writeFd(fd, small.address + 16, 8);
}

/** Empties an eventfd. Returns what it held, 0 when nothing. */
export function drainEvent(fd: number): number {
  return readFd(fd, small.address + 24, 8) === 8 ? getU64(small.view, 24) : 0;
}
