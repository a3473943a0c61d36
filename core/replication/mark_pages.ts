/**
 * Marks of very many objects: a bit in a page instead of marks of their own, which take a thousand times as much.
 *
 * A full copy of a large tree marks all of it, and so does a chmod -R while the peer is away. What a page says of an object is coarser
 * (all of it, or its attributes), and where the object lies is not kept: after a restart the tree is walked to find it.
 */
import { BLOCKS_PER_EXTENT, type Level, type Mark, PageMark } from "./mark.ts";

/** Objects of one page. */
const PAGE = BLOCKS_PER_EXTENT;

/** Pages of one kind. */
export class MarkPages {
  readonly #pages = new Map<number, PageMark>();

  constructor(readonly kind: PageMark["kind"]) {}

  /** The page of an object, an empty one if there was none. */
  pageFor(id: number): PageMark {
    const first = id - (id % PAGE);
    let page = this.#pages.get(first);
    if (page === undefined) {
      page = new PageMark(this.kind, first);
      this.#pages.set(first, page);
    }
    return page;
  }

  isDirty(id: number): boolean {
    return this.#pages.get(id - (id % PAGE))?.isBlockDirty(id % PAGE) ?? false;
  }

  /** Was it touched since the durable point under way began? */
  isTouchedNow(id: number): boolean {
    return this.#pages.get(id - (id % PAGE))?.isBlockTouchedNow(id % PAGE) ?? false;
  }

  /** Marks an object. Returns its page. */
  set(id: number, level: Level): PageMark {
    const page = this.pageFor(id);
    page.set(level, id % PAGE, (id % PAGE) + 1);
    return page;
  }

  /** It is dirty no more: another mark says what it lacks. */
  unset(id: number): void {
    this.#pages.get(id - (id % PAGE))?.unset(id % PAGE);
  }

  /** What was dirty was sent: touched now. Returns the page, null when it was not dirty. */
  copied(id: number): PageMark | null {
    const page = this.#pages.get(id - (id % PAGE));
    if (!page?.isBlockDirty(id % PAGE)) return null;
    page.copied(id % PAGE, (id % PAGE) + 1);
    return page;
  }

  /** Objects that are dirty. */
  *dirty(): Generator<number> {
    for (const page of this.#pages.values()) {
      if (!page.isDirty) continue;
      for (let at = page.nextBlock(0, true); at < PAGE; at = page.nextBlock(at + 1, true)) yield page.id + at;
    }
  }

  pages(): Iterable<PageMark> {
    return this.#pages.values();
  }

  /** Lets go of a page that says nothing. */
  dropIfIdle(page: Mark): void {
    if (page.isIdle) this.#pages.delete(page.id);
  }

  clear(): void {
    this.#pages.clear();
  }
}

/** Objects of a page that the durable point under way is about. */
export function* touchedBefore(page: PageMark): Generator<number> {
  for (let at = 0; at < PAGE; at++) if (page.isBlockTouchedBefore(at)) yield page.id + at;
}
