/** PRIM looks for what its peer lacks before it copies it, a little in each turn: after a restart the places of what is dirty are hearsay. */
import { errnoName } from "../../../platform/linux/errno.ts";
import type { Marks } from "../../../replication/marks.ts";
import { monotonic } from "../../loop/poll_loop.ts";
import type { BackingTree } from "../../objects/source_tree.ts";

/** Longest time of one turn, ms. */
const SLICE = 4;

/** See the top of the file. */
export class DirtySearch {
  /** Knows the places of all that was found; closed by whoever has it last. */
  readonly tree: BackingTree;
  readonly #steps: Iterator<number>;

  constructor(tree: BackingTree, marks: Marks) {
    this.tree = tree;
    this.#steps = tree.verifying(dirtyThings(marks));
  }

  /** Looks further. True when it is over. */
  step(now: number): boolean {
    while (this.#steps.next().done !== true) if (monotonic() > now + SLICE) return false;
    return true;
  }

  /** Once over: why not everything can be found, as a sentence; null: it can. `paths`: of the replicated directories. */
  failure(paths: readonly { path: string }[]): string | null {
    const { unseen, unseenIn } = this.tree;
    if (unseen === 0) return null;
    const path = this.tree.inWords(unseenIn, paths);
    return `${path}, where something that the peer lacks may be, cannot be listed: ${errnoName(unseen)}; mend, restore or remove it`;
  }
}

function* dirtyThings(marks: Marks): Generator<number> {
  yield* marks.dirtyDirectories();
  yield* marks.dirtyObjects();
}
