/**
 * The memory of the replication process: locked, so that it never waits for a disk to come back, and small, however large the tree.
 *
 * Who copies, compares or walks a whole tree leaves garbage by the million pieces, and the runtime by itself lets it grow with what is alive,
 * the tables of names and nodes among it. So all of it is collected after the process grew, which stops it for a moment. Of locked memory
 * nothing can be given back (madvise(2), MADV_DONTNEED): what was needed once is kept for ever. So while a tree is copied or compared nothing
 * is locked, the young garbage is collected often, and what is dead in the end given back before the rest is locked.
 */
import { MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT } from "../platform/linux/constants.ts";
import { mlockall, munlockall } from "../platform/linux/libc.ts";
import { monotonic } from "./loop/poll_loop.ts";

/** How often young garbage is collected meanwhile, ms. */
const COLLECT_INTERVAL = 500;
/** All of it is after the process grew by this many bytes, meanwhile and otherwise, */
const GROWTH_WHILE_BUSY = 64 << 20;
const GROWTH = 16 << 20;
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
    const isOver = !isBusy && this.#isBusy;
    this.#isBusy = isBusy;
    if (isOver) this.#lockAt = now + GIVEN_BACK_AFTER;
    this.#collect(now, isOver);
    if (now >= this.#lockAt) this.lock();
  }

  #collect(now: number, all: boolean): void {
    const bytes = process.memoryUsage.rss();
    this.#least = Math.min(this.#least, bytes);
    const grown = bytes - this.#least;
    if (all || (grown > (this.#isBusy ? GROWTH_WHILE_BUSY : GROWTH) && now >= this.#collectAllAt)) {
      Bun.gc(true);
      this.#least = process.memoryUsage.rss();
      const after = monotonic();
      this.#collectAllAt = after + (after - now) / SHARE;
      this.#collectAt = after + COLLECT_INTERVAL;
    } else if (this.#isBusy && now >= this.#collectAt) {
      // Not waited for.
      Bun.gc(false);
      this.#collectAt = now + COLLECT_INTERVAL;
    }
  }
}
