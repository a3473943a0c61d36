/** How many descriptors this process may have open. Caches of descriptors take a part of that; see getrlimit(2). */
import { check } from "./errno.ts";
import { allocate, prlimit } from "./libc.ts";
import { getU64, setU64 } from "./memory.ts";

const RLIMIT_NOFILE = 7;
/** A `struct rlimit`: the soft limit, the hard one. */
const limits = allocate(16);
let most = 0;

/** The limit, raised as far as this process may: the soft one is often 1024, for the sake of programs that use select(2). Throws SystemError. */
function mostOpenFiles(): number {
  if (most > 0) return most;
  check(prlimit(0, RLIMIT_NOFILE, 0, limits.address), "cannot read the limit of open files");
  setU64(limits.view, 0, getU64(limits.view, 8));
  check(prlimit(0, RLIMIT_NOFILE, limits.address, 0), "cannot raise the limit of open files");
  most = getU64(limits.view, 0);
  return most;
}

/** How many descriptors a cache may keep: `wanted`, or this part of the limit if that is less. */
export const cachedDescriptors = (wanted: number, part: number): number =>
  Math.min(wanted, Math.floor(mostOpenFiles() * part));
