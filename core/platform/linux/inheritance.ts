/**
 * What a child of the daemon must not keep: its place in the cluster engine's privileges, not in the application's.
 *
 * The daemon never dies for want of memory and runs before all others; the application that a hook starts must be an
 * ordinary process. Memory locks do not pass through exec; everything here does.
 */

import { dlopen, FFIType } from "bun:ffi";
import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { memfdCreate, prctl, setpriority } from "./libc.ts";

const { i32, u32, ptr } = FFIType;
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const SIGPIPE = 13;
const SIGXFSZ = 25;
const CLOSE_RANGE_CLOEXEC = 4;
const EVERY_DESCRIPTOR = 0xffff_ffff;

function library() {
  return dlopen("libc.so.6", {
    sched_setscheduler: { args: [i32, i32, ptr], returns: i32 },
    signal: { args: [i32, FFIType.i64], returns: FFIType.i64 },
    close_range: { args: [u32, u32, i32], returns: i32 },
    dup2: { args: [i32, i32], returns: i32 },
    open: { args: [FFIType.cstring, i32], returns: i32 },
  }).symbols;
}

/** Gives back out-of-memory protection, niceness and real-time scheduling; what the process never had is left alone. */
export function giveBackPriority(): void {
  if (Number(readFileSync("/proc/self/oom_score_adj", "utf8")) < 0)
    writeFileSync("/proc/self/oom_score_adj", "0");
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1)!.split(" ");
  const nice = Number(fields[16]);
  const policy = Number(fields[38]);
  if (policy !== 0) library().sched_setscheduler(0, 0, new Int32Array(new ArrayBuffer(4)));
  if (nice < 0) setpriority(0, 0, 0);
}

/** Moves this process into a cgroup (v2). Throws when it cannot: what runs outside it could not be fenced. */
export function enterCgroup(path: string): void {
  writeFileSync(`${path}/cgroup.procs`, String(process.pid));
}

/** The kernel kills this process, whatever program it becomes, when the one that started it ends. See PR_SET_PDEATHSIG in prctl(2). */
export function dieWithParent(): void {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/** Standard input becomes /dev/null: nothing that a hook starts may wait for somebody to type. */
export function closeInput(): void {
  const c = library();
  const nothing = c.open(Buffer.from("/dev/null\0"), 0);
  if (nothing > 0) c.dup2(nothing, 0);
}

/** Standard input becomes this text, in memory, for the program that this process is about to become. */
export function giveInput(text: string): void {
  const fd = memfdCreate("input");
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
  library().dup2(fd, 0);
}

/** Just before execve: descriptors above 2 close, and signals that the runtime ignores work again. */
export function prepareExec(): void {
  const c = library();
  c.close_range(3, EVERY_DESCRIPTOR, CLOSE_RANGE_CLOEXEC);
  c.signal(SIGPIPE, 0);
  c.signal(SIGXFSZ, 0);
}
