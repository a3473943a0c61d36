/**
 * Locks between processes, of each kind that Linux has: `programs_locks.ts FILE KIND` counts in a file with several processes and fails
 * when a count is lost, or when a lock is not held against others, or not let go by a process that was killed.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { closeSync, openSync, readSync, writeSync } from "node:fs";

const PROCESSES = 4;
const ROUNDS = 250;
/** F_RDLCK and so on, flock(2), and the commands of fcntl(2): include/uapi/asm-generic/fcntl.h. */
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const F_WRLCK = 1;
const F_UNLCK = 2;
const SET = { posix: 6, ofd: 37 };
const SET_AND_WAIT = { posix: 7, ofd: 38 };

const libc = dlopen("libc.so.6", {
  flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
}).symbols;

type Kind = "flock" | "posix" | "ofd";

/** Returns 0 or -1; the whole file. */
function change(kind: Kind, fd: number, take: boolean, wait: boolean): number {
  if (kind === "flock") return libc.flock(fd, take ? (wait ? LOCK_EX : LOCK_EX | LOCK_NB) : LOCK_UN);
  const lock = new Int16Array(new ArrayBuffer(32));
  lock[0] = take ? F_WRLCK : F_UNLCK;
  return libc.fcntl(fd, (wait ? SET_AND_WAIT : SET)[kind], ptr(lock));
}

function count(kind: Kind, file: string): void {
  const number = new Float64Array(1);
  for (let round = 0; round < ROUNDS; round++) {
    const fd = openSync(file, "r+");
    if (change(kind, fd, true, true) !== 0) throw new Error(`${kind}: cannot lock ${file}`);
    readSync(fd, number, 0, 8, 0);
    number[0]!++;
    writeSync(fd, number, 0, 8, 0);
    if (change(kind, fd, false, false) !== 0) throw new Error(`${kind}: cannot unlock ${file}`);
    closeSync(fd);
  }
}

/** A process of the same program. */
function start(what: string, kind: Kind, file: string): Bun.Subprocess<"ignore", "pipe", "inherit"> {
  return Bun.spawn([process.execPath, import.meta.path, file, kind, what], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
}

async function torture(kind: Kind, file: string): Promise<void> {
  const fd = openSync(file, "w+");
  writeSync(fd, new Float64Array(1));
  const counters = Array.from({ length: PROCESSES }, () => start("count", kind, file));
  const ended = await Promise.all(counters.map(({ exited }) => exited));
  const number = new Float64Array(1);
  readSync(fd, number, 0, 8, 0);
  if (ended.some((status) => status !== 0) || number[0] !== PROCESSES * ROUNDS)
    throw new Error(`${kind}: counted to ${number[0]}, not ${PROCESSES * ROUNDS}`);

  const holder = start("hold", kind, file);
  await holder.stdout.getReader().read();
  if (change(kind, fd, true, false) === 0) throw new Error(`${kind}: two processes hold the lock`);
  holder.kill("SIGKILL");
  await holder.exited;
  if (change(kind, fd, true, false) !== 0) throw new Error(`${kind}: a dead process holds the lock`);
  closeSync(fd);
}

const [file = "", kind = "flock", what = "torture"] = process.argv.slice(2) as [string, Kind, string];
if (what === "count") count(kind, file);
else if (what === "hold") {
  if (change(kind, openSync(file, "r+"), true, true) !== 0) throw new Error(`${kind}: cannot lock ${file}`);
  console.log("held");
  setInterval(() => undefined, 1000);
} else await torture(kind, file);
