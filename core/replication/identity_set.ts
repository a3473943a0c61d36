/** A set of identities for whole trees: a bit for each, in pages, since identities are given out in order (inode numbers, too, mostly). */

/** Identities of one page. */
const PAGE = 1024;
const WORDS = PAGE / 32;

/** See the top of the file. A million in a row take less than half a megabyte; one alone takes a page. */
export class IdentitySet {
  readonly #pages = new Map<number, Uint32Array>();
  /** The page last used: neighbours come one after the other. */
  #number = -1;
  #page: Uint32Array | undefined;

  has(id: number): boolean {
    const page = this.#pageOf(id);
    return page !== undefined && (page[(id % PAGE) >>> 5]! & (1 << (id & 31))) !== 0;
  }

  /** Adds an identity. True when it was not there. */
  add(id: number): boolean {
    let page = this.#pageOf(id);
    if (page === undefined) {
      page = new Uint32Array(WORDS);
      this.#page = page;
      this.#pages.set(this.#number, page);
    }
    const word = (id % PAGE) >>> 5;
    const bit = 1 << (id & 31);
    if ((page[word]! & bit) !== 0) return false;
    page[word]! |= bit;
    return true;
  }

  /** Removes an identity. True when it was there. */
  delete(id: number): boolean {
    const page = this.#pageOf(id);
    const word = (id % PAGE) >>> 5;
    const bit = 1 << (id & 31);
    if (page === undefined || (page[word]! & bit) === 0) return false;
    page[word]! &= ~bit;
    if (page[word] === 0 && page.every((bits) => bits === 0)) {
      this.#pages.delete(this.#number);
      this.#page = undefined;
    }
    return true;
  }

  clear(): void {
    this.#pages.clear();
    this.#number = -1;
    this.#page = undefined;
  }

  #pageOf(id: number): Uint32Array | undefined {
    const number = Math.floor(id / PAGE);
    if (number !== this.#number) {
      this.#number = number;
      this.#page = this.#pages.get(number);
    }
    return this.#page;
  }
}
