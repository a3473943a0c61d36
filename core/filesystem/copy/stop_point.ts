/**
 * When a copy was stopped in good order, by the clock of its own file system: the change time of `.holdfast/stopped`.
 *
 * Whatever carries that or a later one was changed by somebody else (trap 12). The file stays until all of that is marked, so a crash in between
 * costs another look, no more. After a crash of a running copy there is none: the activity log knows what may differ.
 */
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  CLOCK_MONOTONIC,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { check } from "../../platform/linux/errno.ts";
import { clock, close, cString, fsync, open, openat, statx, unlinkat } from "../../platform/linux/libc.ts";
import { getI64 } from "../../platform/linux/memory.ts";
import { openPrivate } from "../objects/identity.ts";
import { emptyString, STAT, STX_CTIME, scratch, statAddress } from "../objects/places.ts";

const stopped = cString("stopped").address;
const started = cString("started").address;
/** A tick is 1 to 10 ms; a file system with a clock of its own, in whole seconds, is not waited for. */
const LONGEST_TICK_MS = 25;

/** File systems stamp the time of the kernel's last tick, which comes at least every 10 ms. */
const TICK = 12;

/** A time of a file system's clock. */
export interface FileTime {
  seconds: number;
  nanos: number;
}

/** Is `a` later than `b`? */
export const isLater = (a: FileTime, b: FileTime): boolean =>
  a.seconds > b.seconds || (a.seconds === b.seconds && a.nanos > b.nanos);

/** The change time in the STAT place. */
export function changeTime(to: FileTime): FileTime {
  to.seconds = getI64(scratch.view, STAT + STX_CTIME);
  to.nanos = scratch.view.getUint32(STAT + STX_CTIME + 8, true);
  return to;
}

/**
 * This copy is at rest from here on: what was changed before has no later time than the point, what is changed after this returns has.
 * An older point that was not made use of stays. Throws SystemError.
 */
export function markStop(paths: readonly string[]): void {
  // What this process changed last is a tick older than the point: only others can have changed what bears the same time.
  Bun.sleepSync(TICK);
  for (const path of paths) {
    const root = check(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), `cannot open ${path}`);
    const directory = openPrivate(root);
    const file = openat(directory, stopped, O_RDWR | O_CREAT | O_CLOEXEC, 0o600);
    if (file >= 0) close(file);
    fsync(directory);
    close(directory);
    if (file >= 0) waitForTick(root);
    close(root);
    check(file, `cannot note in ${path}/.holdfast when the module was stopped`);
  }
}

/** File systems stamp times by a clock that ticks every few milliseconds: two changes within one tick look simultaneous. */
function waitForTick(root: number): void {
  const point = stopPoint(root);
  const deadline = clock(CLOCK_MONOTONIC) + LONGEST_TICK_MS;
  while (point !== null && !isLater(timeOf(root), point) && clock(CLOCK_MONOTONIC) < deadline);
}

/** When the copy with this top was stopped; null when it was not, or when what changed since is marked already. */
export function stopPoint(root: number): FileTime | null {
  const directory = openPrivate(root);
  const result = statx(directory, stopped, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, statAddress);
  close(directory);
  return result < 0 ? null : changeTime({ seconds: 0, nanos: 0 });
}

/** What changed since the stop is marked, durably. */
export function forgetStop(root: number): void {
  const directory = openPrivate(root);
  unlinkat(directory, stopped, 0);
  fsync(directory);
  close(directory);
}

/** The present time of the file system below `root`. Throws SystemError. */
export function timeOf(root: number): FileTime {
  const directory = openPrivate(root);
  unlinkat(directory, started, 0);
  const file = openat(directory, started, O_RDWR | O_CREAT | O_CLOEXEC, 0o600);
  const result = file < 0 ? file : statx(file, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
  if (file >= 0) close(file);
  unlinkat(directory, started, 0);
  close(directory);
  check(result, "cannot read the clock of the replicated file system");
  return changeTime({ seconds: 0, nanos: 0 });
}
