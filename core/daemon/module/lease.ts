/**
 * The right to be heard for a module, which ends by itself: whoever slept through its end does not get it back by waking up (trap 16).
 */
import { sharedClock } from "../../platform/shared_clock.ts";

/** Share of the heartbeat timeout for which a node may be heard without a new word of its daemon. */
export const SPEAKS_FOR = 0.8;

/** See the top of the file. */
export class Lease {
  #since = Number.NEGATIVE_INFINITY;

  /** `timeoutMs` is the heartbeat timeout as it is now; the clock counts a suspended machine too, ms. */
  constructor(
    private readonly timeoutMs: () => number,
    private readonly clock: () => number = sharedClock,
  ) {}

  /** The role is this node's, from now on. */
  grant(): void {
    this.#since = this.clock();
  }

  /** Told of each change of state: granted when the role becomes this node's, and not again while it stays so. */
  follow(isOurs: boolean): void {
    if (!isOurs) this.#since = Number.NEGATIVE_INFINITY;
    else if (this.#since === Number.NEGATIVE_INFINITY) this.grant();
  }

  /** Once a beat. False: it has ended, and only a new grant helps. */
  renew(): boolean {
    const isHeld = this.isHeld;
    if (isHeld) this.grant();
    return isHeld;
  }

  get isHeld(): boolean {
    return this.clock() - this.#since <= this.timeoutMs() * SPEAKS_FOR;
  }
}
