/** How much one cluster may ask of a witness, so that it cannot keep it from the others. */

/** Requests a second in the long run. Four a second for each of 32 modules on two nodes are 256. */
export const RATE = 500;
/** Requests at once. */
export const BURST = 1000;

/** See the top of the file. */
export class Allowance {
  #left = BURST;
  #at: number;

  /** `clock`: ms. */
  constructor(private readonly clock: () => number) {
    this.#at = clock();
  }

  /** One request: false when it is too much. */
  take(): boolean {
    const now = this.clock();
    this.#left = Math.min(BURST, this.#left + ((now - this.#at) / 1000) * RATE);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
