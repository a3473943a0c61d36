/**
 * Files that are open in spite of having no name any more: only a descriptor keeps them, and it must not be this process's alone.
 *
 * Each is put on the guardian's shelf before it loses its last name. The kernel does not take things out of the middle of a queue: what is on the
 * shelf in vain is sorted out now and then, so that an unlink costs one system call. Until then its space on the disk is not free.
 */
import { AT_EMPTY_PATH, STATX_BASIC_STATS } from "../../platform/linux/constants.ts";
import { close, statx } from "../../platform/linux/libc.ts";
import { getU64 } from "../../platform/linux/memory.ts";
import type { Shelf, Shelved } from "../../platform/linux/shelf.ts";
import { type Completion, Job, type Pool } from "../loop/pool.ts";
import {
  emptyString,
  PARENT_STAT,
  parentStatAddress,
  STX_BLOCKS,
  STX_NLINK,
  scratch,
} from "../objects/places.ts";
import type { Backing } from "./backing.ts";
import { UNLINKED } from "./node_table.ts";

/** Sorted out at once when there are this many, and more than twice as many as were of use. */
const TIDY_AT = 128;
/** Bytes on the disk from which on a thread of the pool frees a file: the loop would stand still. */
const LARGE = 64 << 20;
/** The size of one of the blocks that statx(2) counts, bytes. */
const BLOCK = 512;
/** Nobody waits for the end of a file. */
const nobody: Completion = { completed: () => undefined };

/** See the top of the file. */
export class KeptFiles {
  readonly #note = new Uint32Array(3);
  readonly #noteBytes = new Uint8Array(this.#note.buffer);
  readonly #fds = [0];
  #count = 0;
  #tidyAt = TIDY_AT;
  #isStale = false;

  constructor(
    private readonly shelf: Shelf,
    private readonly backings: readonly Backing[],
    private readonly pool: Pool,
  ) {
    for (const backing of backings)
      backing.onForgotten = (): void => {
        this.#isStale = true;
      };
  }

  /** The object of this record of the directory number `root`, open as `fd`, is about to lose its last name. */
  put(root: number, index: number, fd: number): void {
    if (this.#count >= this.#tidyAt) this.#tidy();
    this.#note[0] = root;
    this.#note[1] = index;
    this.#note[2] = this.backings[root]!.table.generation(index);
    this.#fds[0] = fd;
    // A full shelf costs no more than the restart of the application, should this process be killed.
    if (this.shelf.put(this.#noteBytes, this.#fds)) this.#count++;
  }

  /** Lets go of what the kernel has forgotten since the last time. */
  release(): void {
    if (this.#isStale) this.#tidy();
  }

  #tidy(): void {
    this.#isStale = false;
    const all = this.#count;
    this.#count = 0;
    for (let i = 0; i < all; i++) {
      const found = this.shelf.take();
      if (found === null) break;
      const { backing, index } = this.#recordOf(found);
      const wanted = index !== 0 && (backing.table.flags(index) & UNLINKED) !== 0;
      if (wanted && this.shelf.put(found.note, found.fds)) this.#count++;
      for (const fd of found.fds) this.#close(fd);
    }
    this.#tidyAt = Math.max(TIDY_AT, this.#count * 2);
  }

  #close(fd: number): void {
    const large =
      statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, parentStatAddress) === 0 &&
      scratch.view.getUint32(PARENT_STAT + STX_NLINK, true) === 0 &&
      getU64(scratch.view, PARENT_STAT + STX_BLOCKS) * BLOCK >= LARGE;
    if (!large || !this.pool.submit(Job.CLOSE, fd, 0, 0, 0, nobody, 0)) close(fd);
  }

  #recordOf({ note }: Shelved): { backing: Backing; index: number } {
    const [root = 0, index = 0, generation = 0] = new Uint32Array(note.buffer, 0, 3);
    const backing = this.backings[root] ?? this.backings[0]!;
    return { backing, index: backing.table.fromNodeId(index, generation) };
  }

  /** Gives the directories back what a former process had put there. */
  recover(): void {
    const found: Shelved[] = [];
    for (let next = this.shelf.take(); next !== null; next = this.shelf.take()) {
      found.push(next);
    }
    for (const shelved of found) {
      const fd = shelved.fds[0] ?? -1;
      const { backing, index } = this.#recordOf(shelved);
      if (index === 0 || hasName(fd)) {
        if (fd >= 0) close(fd);
        continue;
      }
      if (this.shelf.put(shelved.note, shelved.fds)) this.#count++;
      backing.table.setFlags(index, backing.table.flags(index) | UNLINKED);
      backing.descriptors.keep(index, fd);
    }
  }
}

/** The process may have died between the shelf and the removal. */
function hasName(fd: number): boolean {
  if (statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, parentStatAddress) < 0) return true;
  return scratch.view.getUint32(PARENT_STAT + STX_NLINK, true) > 0;
}
