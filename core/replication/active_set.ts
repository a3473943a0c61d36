/** Which marks are active in the log on disk, in the order of last use. Bounded: it is what a crash makes dirty. */
import type { Mark } from "./mark.ts";

/** A bounded list, linked through its members so that using one allocates nothing. */
export class ActiveSet {
  #oldest: Mark | null = null;
  #newest: Mark | null = null;
  #size = 0;

  /** Was the last victim found behind many that wait for a durable point? Then one is due. */
  isCrowded = false;

  constructor(readonly capacity: number) {}

  get isFull(): boolean {
    return this.#size >= this.capacity;
  }

  /** Adds a mark that is not a member. */
  add(mark: Mark): void {
    mark.older = this.#newest;
    mark.newer = null;
    if (this.#newest === null) this.#oldest = mark;
    else this.#newest.newer = mark;
    this.#newest = mark;
    this.#size++;
  }

  /** Takes a member out. */
  remove(mark: Mark): void {
    if (mark.older === null) this.#oldest = mark.newer;
    else mark.older.newer = mark.newer;
    if (mark.newer === null) this.#newest = mark.older;
    else mark.newer.older = mark.older;
    mark.older = mark.newer = null;
    this.#size--;
  }

  /** A member was used: it leaves last. */
  use(mark: Mark): void {
    if (mark === this.#newest) return;
    this.remove(mark);
    this.add(mark);
  }

  /** The member unused for longest that may leave: what was touched waits for a durable point on both disks. */
  victim(): Mark | null {
    let mark = this.#oldest;
    let waiting = 0;
    for (; mark?.isTouched; mark = mark.newer) waiting++;
    this.isCrowded = waiting > this.capacity / 2;
    return mark;
  }
}
