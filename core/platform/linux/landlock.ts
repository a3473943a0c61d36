/**
 * Landlock: what a process may do with files and TCP ports is limited by itself, for good, and for all that it starts.
 *
 * landlock(7), linux/landlock.h. A limit holds for the calling thread and for what it starts: a runtime with threads must become
 * a new program afterwards (execve). ABI 1 is Linux 5.13; renaming across directories needs 2, truncation 3, TCP 4 (Linux 6.7).
 */
import { dlopen, FFIType, type Pointer, ptr, read } from "bun:ffi";
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { SystemError } from "./errno.ts";

const CREATE_RULESET = 444n;
const ADD_RULE = 445n;
const RESTRICT_SELF = 446n;
const VERSION_FLAG = 1n;
const PATH_BENEATH = 1n;
const NET_PORT = 2n;
const PR_SET_NO_NEW_PRIVS = 38;
const EPERM = 1;
/** linux: a descriptor that names a file, and reads nothing of it. */
const O_PATH = 0o10000000;

/** Rights to files and directories, as bits. */
const EXECUTE = 1 << 0;
const READ = (1 << 2) | (1 << 3);
const TRUNCATE = 1 << 14;
const IOCTL = 1 << 15;
/** Writing, removing, making of every kind, moving between directories, truncating, ioctl of devices. */
const WRITE = (1 << 1) | 0x1ff0 | (1 << 13) | TRUNCATE | IOCTL;
/** The rights that a rule for what is no directory may name. */
const OF_FILES = EXECUTE | (1 << 1) | (1 << 2) | TRUNCATE | IOCTL;
const TCP = 0b11n;

/** What exists from which ABI on. */
const KNOWN: readonly [abi: number, rights: number][] = [
  [1, 0x1fff],
  [2, 1 << 13],
  [3, TRUNCATE],
  [5, IOCTL],
];
const ABI_OF_TCP = 4;

const { i64, i32, ptr: pointer } = FFIType;

function library() {
  const symbols = {
    syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: i64 },
    prctl: { args: [i32, i64, i64, i64, i64], returns: i32 },
    __errno_location: { args: [], returns: pointer },
  } as const;
  try {
    return dlopen("libc.so.6", symbols).symbols;
  } catch {
    return dlopen(`libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`, symbols).symbols;
  }
}

/** The version of Landlock in this kernel; 0 where there is none, or where it is switched off. */
export function landlockAbi(): number {
  if (process.platform !== "linux") return 0;
  return Math.max(0, Number(library().syscall(CREATE_RULESET, 0n, 0n, VERSION_FLAG, 0n, 0n, 0n)));
}

/** True when this kernel limits TCP connections. */
export const limitsTcp = (abi: number): boolean => abi >= ABI_OF_TCP;

/** Paths and ports that stay allowed; null: that kind is not limited. Paths that are not there are left out. */
export interface Allowed {
  read: readonly string[] | null;
  write: readonly string[] | null;
  execute: readonly string[] | null;
  ports: readonly number[] | null;
}

/** Limits this thread, and what it starts from now on. Returns the paths that were not there. Throws SystemError. */
export function restrictSelf(allowed: Allowed): string[] {
  const abi = landlockAbi();
  const c = library();
  const call = (what: string, number: bigint, ...args: [bigint, bigint, bigint, bigint]): number => {
    const result = Number(c.syscall(number, ...args, 0n, 0n));
    if (result >= 0) return result;
    throw new SystemError(read.i32(c.__errno_location() as Pointer, 0), `Landlock: cannot ${what}`);
  };
  const known = KNOWN.filter(([since]) => abi >= since).reduce((sum, [, rights]) => sum | rights, 0);
  const kinds: [paths: readonly string[] | null, rights: number][] = [
    [allowed.read, READ & known],
    [allowed.write, WRITE & known],
    [allowed.execute, EXECUTE & known],
  ];
  const handled = kinds.reduce((sum, [paths, rights]) => (paths === null ? sum : sum | rights), 0);
  const ports = limitsTcp(abi) ? allowed.ports : null;
  if (handled === 0 && ports === null) return [];
  const attributes = new BigUint64Array(new ArrayBuffer(16));
  attributes[0] = BigInt(handled);
  attributes[1] = ports === null ? 0n : TCP;
  const size = limitsTcp(abi) ? 16n : 8n;
  const ruleset = call("make a ruleset", CREATE_RULESET, BigInt(ptr(attributes)), size, 0n, 0n);
  const missing: string[] = [];
  for (const [paths, rights] of kinds)
    for (const path of paths ?? []) {
      let fd: number;
      try {
        fd = openSync(path, O_PATH | constants.O_NONBLOCK);
      } catch {
        missing.push(path);
        continue;
      }
      const wanted = fstatSync(fd).isDirectory() ? rights : rights & OF_FILES;
      // struct landlock_path_beneath_attr, packed: u64 allowed_access, s32 parent_fd
      const rule = new DataView(new ArrayBuffer(12));
      rule.setBigUint64(0, BigInt(wanted), true);
      rule.setInt32(8, fd, true);
      if (wanted !== 0) call(`allow ${path}`, ADD_RULE, BigInt(ruleset), PATH_BENEATH, BigInt(ptr(rule)), 0n);
      closeSync(fd);
    }
  for (const port of ports ?? []) {
    const rule = new BigUint64Array(new ArrayBuffer(16));
    rule[0] = TCP;
    rule[1] = BigInt(port);
    call(`allow port ${port}`, ADD_RULE, BigInt(ruleset), NET_PORT, BigInt(ptr(rule)), 0n);
  }
  try {
    call("restrict the process", RESTRICT_SELF, BigInt(ruleset), 0n, 0n, 0n);
  } catch (error) {
    // Without CAP_SYS_ADMIN, a process must first give up what setuid programs would give it.
    if (!(error instanceof SystemError) || error.errno !== EPERM) throw error;
    c.prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n);
    call("restrict the process", RESTRICT_SELF, BigInt(ruleset), 0n, 0n, 0n);
  }
  closeSync(ruleset);
  return missing;
}
