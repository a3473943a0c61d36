/** What the rules are written with: system calls that say how they failed, and other users. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import { errnoName, type errnos } from "../../core/platform/linux/errno.ts";
import * as libc from "../../core/platform/linux/libc.ts";

/**
 * From what applications may expect, in the words of a manual page (open(2)), of POSIX.1-2024 or of the kernel's documentation, to a
 * function that gets an empty directory and throws when it is not so.
 */
export type Rules = Readonly<Record<string, (d: string) => void>>;

/** Runs a command; throws when it fails. */
export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a shell line as the user and group 65534 (nobody). */
export function asNobody(line: string, ...extra: string[]): string {
  return run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...extra, "sh", "-ec", line);
}

/** Does something as this user, with this group and these others; as root again afterwards. */
export function as(uid: number, gid: number, groups: number[], act: () => void): void {
  process.setgroups?.(groups);
  process.setegid?.(gid);
  process.seteuid?.(uid);
  try {
    act();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
    process.setgroups?.([0]);
  }
}

/** The call throws, or returns a negative number, with this errno. */
export function fails(errno: keyof typeof errnos, call: () => unknown): void {
  let said: string;
  try {
    const result = call();
    said = typeof result === "number" && result < 0 ? errnoName(result) : "success";
  } catch (error) {
    said = (error as NodeJS.ErrnoException).code ?? String(error);
  }
  assert.equal(said, errno);
}

/** Returns what a call returned, when that is not negative. */
export function ok(result: number): number {
  assert.ok(result >= 0, `failed with ${errnoName(result)}`);
  return result;
}

/** Opens, uses and closes. */
export function opened<T>(path: string, flags: number, use: (fd: number) => T, mode = 0o644): T {
  const fd = ok(libc.open(path, flags, mode));
  try {
    return use(fd);
  } finally {
    libc.close(fd);
  }
}

/** renameat2(2). */
export const renameat2 = (from: string, to: string, flags: number): number =>
  libc.withString(from, (a) =>
    libc.withString(to, (b) => libc.renameat2(k.AT_FDCWD, a, k.AT_FDCWD, b, flags)),
  );

/** linkat(2). */
export const linkat = (from: string, to: string, flags: number): number =>
  libc.withString(from, (a) => libc.withString(to, (b) => libc.linkat(k.AT_FDCWD, a, k.AT_FDCWD, b, flags)));

/** mknod(2). */
export const mknod = (path: string, mode: number, device = 0): number =>
  libc.withString(path, (at) => libc.mknodat(k.AT_FDCWD, at, mode, device));

/** Type and permissions of an object itself. */
export const modeOf = (path: string): number => fs.lstatSync(path).mode & 0o7777;

/** Which of the times became later: "m", "c", "mc" or "". */
export function moved(path: string, act: () => void): string {
  const times = (): [bigint, bigint] => {
    const stat = fs.lstatSync(path, { bigint: true });
    return [stat.mtimeNs, stat.ctimeNs];
  };
  const [mtime, ctime] = times();
  // Longer than the tick of the kernel's clock for files.
  Bun.sleepSync(12);
  act();
  const [after, changed] = times();
  return `${after > mtime ? "m" : ""}${changed > ctime ? "c" : ""}`;
}
