/**
 * Which sync is done at once, in the loop's own thread, and which by the pool.
 *
 * A pool costs two changes of thread, on a fast disk as long as the sync itself. A sync in the loop costs whoever comes meanwhile as long as it takes. So
 * only little is synced at once, and only while the last syncs, wherever they were done, were quick.
 */

/** More than this of an object is never synced at once, bytes. */
const LITTLE = 64 << 10;
/** The last syncs took no longer than this on average, ms. One in ten or twenty has to commit the disk's journal, and takes ten times as long as the others. */
const QUICK = 1;
/** Each new one counts so much in the average. */
const WEIGHT = 1 / 32;
/** One that takes longer is slow, ms. */
const SLOW = 5;
/** So many in a row that are not are to be seen before one is done at once: at first, after each slow one, and after one that somebody else had to wait for. */
const TRUST = 64;

/** What is known of one disk. */
export class PromptSyncs {
  #average = 0;
  #missing = TRUST;

  /** May a sync of an object be done at once of which so many bytes are to be written? */
  allow(unsyncedBytes: number): boolean {
    return this.#missing === 0 && this.#average <= QUICK && unsyncedBytes <= LITTLE;
  }

  /** Somebody came while one was done at once, and waited: others will. */
  disturbed(): void {
    this.#missing = TRUST;
  }

  /** A sync took so long, ms. */
  took(duration: number): void {
    this.#average += (duration - this.#average) * WEIGHT;
    if (duration > SLOW) this.#missing = TRUST;
    else if (this.#missing > 0) this.#missing--;
  }
}
