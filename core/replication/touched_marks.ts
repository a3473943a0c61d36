/** The marks that were touched: since the durable point under way began, and before. */
import type { Mark } from "./mark.ts";

/** Two lists, so that a durable point costs what was touched and not what is known. */
export class TouchedMarks {
  #now: Mark[] = [];
  #before: Mark[] = [];

  /** A mark was touched just now. */
  add(mark: Mark): void {
    if (mark.listedNow) return;
    mark.listedNow = true;
    this.#now.push(mark);
  }

  /** What was touched before the durable point under way. */
  get before(): readonly Mark[] {
    return this.#before;
  }

  /** A durable point begins. */
  age(): void {
    for (const mark of this.#now) {
      mark.age();
      mark.listedNow = false;
      if (!mark.listedBefore) this.#before.push(mark);
      mark.listedBefore = true;
    }
    this.#now = [];
  }

  /** It is confirmed: what was touched before is clean. Returns those marks. */
  settle(): readonly Mark[] {
    const settled = this.#before;
    this.#before = [];
    for (const mark of settled) {
      mark.settle();
      mark.listedBefore = false;
    }
    return settled;
  }

  /** The peer is gone: all of it is dirty. */
  lose(): void {
    for (const mark of [...this.#now, ...this.#before]) mark.lose();
    this.forget();
  }

  /** Nothing is touched any more. */
  forget(): void {
    for (const mark of [...this.#now, ...this.#before]) mark.listedNow = mark.listedBefore = false;
    this.#now = [];
    this.#before = [];
  }
}
