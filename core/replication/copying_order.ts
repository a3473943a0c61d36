/** Which dirty object a source copies next, and those after it: looked ahead, so that they can be read ahead. */
import type { Marks } from "./marks.ts";

/** See the top of the file. */
export class CopyingOrder {
  readonly #marks: Marks;
  #objects: Iterator<number> | null = null;
  readonly #ahead: number[] = [];

  constructor(marks: Marks) {
    this.#marks = marks;
  }

  /** Takes the next; 0: none is left. */
  next(): number {
    for (let pass = 0; pass < 2; pass++) {
      for (this.#lookAhead(1); this.#ahead.length > 0; this.#lookAhead(1)) {
        const id = this.#ahead.shift()!;
        // What was seen ahead may be gone by now.
        if (this.#marks.hasDirtyContent(id)) return id;
      }
      this.#objects = null;
    }
    return 0;
  }

  /** Those that come then, as far as can be told. */
  upcoming(most: number): readonly number[] {
    this.#lookAhead(most);
    return this.#ahead.slice(0, most);
  }

  #lookAhead(most: number): void {
    this.#objects ??= this.#marks.dirtyObjects();
    while (this.#ahead.length < most) {
      const { value, done } = this.#objects.next();
      if (done === true) return;
      this.#ahead.push(value);
    }
  }
}
