/**
 * The memory of the replication process: locked, so that it never waits for a disk to come back, and small, however large the tree.
 *
 * Who copies or compares a whole tree leaves garbage by the million pieces, and the runtime by itself lets it grow to a multiple of what is
 * alive. Of locked memory nothing can be given back (madvise(2), MADV_DONTNEED): what was needed once would be kept for ever. So while that
 * goes on nothing is locked, the young garbage is collected often, and all of it, which stops the process for a moment, after it grew.
 */
import { MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT } from "../platform/linux/constants.ts";
import { mlockall, munlockall } from "../platform/linux/libc.ts";
import { monotonic } from "./poll_loop.ts";

/** How often young garbage is collected meanwhile, ms. */
const COLLECT_INTERVAL = 500;
/** All of it is after the process grew by this many bytes, */
const GROWTH = 64 << 20;
/** and may take this part of the time. */
const SHARE = 1 / 50;
/** What was collected last is given back by a thread of the runtime, a little later, ms. */
const GIVEN_BACK_AFTER = 2000;

/** See the top of the file. */
export class ProcessMemory {
  #isBusy = false;
  #collectAt = 0;
  #collectAllAt = 0;
  #lockAt = Number.POSITIVE_INFINITY;
  /** The least that it was since all garbage was collected, bytes. */
  #least = Number.POSITIVE_INFINITY;

  /** Locks it. False when that was refused. */
  lock(): boolean {
    this.#lockAt = Number.POSITIVE_INFINITY;
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) >= 0;
  }

  /** Now and then. `isBusy`: a whole tree is copied or compared. */
  tend(isBusy: boolean, now: number): void {
    if (isBusy) this.#lockAt = Number.POSITIVE_INFINITY;
    if (isBusy && !this.#isBusy) munlockall();
    if (!isBusy && this.#isBusy) this.#lockAt = now + GIVEN_BACK_AFTER;
    if (isBusy || this.#isBusy) this.#collect(now);
    this.#isBusy = isBusy;
    if (now >= this.#lockAt) this.lock();
  }

  #collect(now: number): void {
    const bytes = process.memoryUsage.rss();
    this.#least = Math.min(this.#least, bytes);
    if (bytes - this.#least > GROWTH && now >= this.#collectAllAt) {
      Bun.gc(true);
      this.#least = process.memoryUsage.rss();
      const after = monotonic();
      this.#collectAllAt = after + (after - now) / SHARE;
      this.#collectAt = after + COLLECT_INTERVAL;
    } else if (now >= this.#collectAt) {
      // Not waited for.
      Bun.gc(false);
      this.#collectAt = now + COLLECT_INTERVAL;
    }
  }
}
