/**
 * Tickets of syncs that wait for the peer's disk: which of them are good. An fsync is answered when its own is.
 */

/** How far the peer's word reaches. */
export class Settlement {
  /** Sync tickets given out. */
  tickets = 0;
  #floor = 0;
  readonly #done = new Set<number>();

  /** The peer synced what this ticket asked for. */
  settle(ticket: number): void {
    // Mostly in order: a set that grows and shrinks all the time leaves work for the garbage collector.
    if (ticket !== this.#floor + 1) {
      this.#done.add(ticket);
      return;
    }
    this.#floor++;
    while (this.#done.size > 0 && this.#done.delete(this.#floor + 1)) this.#floor++;
  }
  /** Every ticket given out so far is good: the peer has everything, or this node is durably alone. */
  settleAll(): void {
    this.#floor = this.tickets;
    this.#done.clear();
  }
  /** Every ticket up to this one is good. Later ones wait for the peer's own word. */
  settleTo(ticket: number): void {
    this.#floor = Math.max(this.#floor, ticket);
    for (const done of this.#done) if (done <= this.#floor) this.#done.delete(done);
    while (this.#done.delete(this.#floor + 1)) this.#floor++;
  }
  isSettled(ticket: number): boolean {
    return ticket <= this.#floor || this.#done.has(ticket);
  }
  get outstanding(): boolean {
    return this.#floor + this.#done.size < this.tickets;
  }
}
