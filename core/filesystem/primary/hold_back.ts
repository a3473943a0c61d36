/**
 * PRIM: how long a secondary that hung is kept out (trap 9). Each hang makes the application wait for up to `replicate.timeout`: one that comes back,
 * catches up and hangs again is let in later each time, so that the waiting stays a small part of the time.
 */

/** All in `replicate.timeout`s: the first wait, doubled each time, at most this, and forgotten this long after the last ended. */
const FIRST = 1 / 5;
const MOST = 60;
const FORGOTTEN = 120;
/** The longest wait while the application stands still for want of a peer, ms. */
const WANTED = 2000;

/** See the top of the file. Times are ms. */
export class HoldBack {
  readonly #timeoutMs: number;
  #wait = 0;
  #until = 0;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** The secondary hung. Returns for how long it is kept out. */
  hung(now: number): number {
    const isForgotten = this.#wait === 0 || now - this.#until > FORGOTTEN * this.#timeoutMs;
    this.#wait = isForgotten ? FIRST * this.#timeoutMs : Math.min(2 * this.#wait, MOST * this.#timeoutMs);
    this.#until = now + this.#wait;
    return this.#wait;
  }

  /** Is it kept out? `isWanted`: the application stands still for want of a peer. */
  keepsOut(now: number, isWanted: boolean): boolean {
    return now < this.#until - (isWanted ? Math.max(0, this.#wait - WANTED) : 0);
  }
}
