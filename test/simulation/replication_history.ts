/** What the application of a simulated run changed and was promised: what any node's disk is held against. */
import { type SimNode, Violation } from "./replication_node.ts";

/** A file's length in blocks, and its blocks that are no hole. */
export interface Content {
  size: number;
  blocks: ReadonlyMap<number, number>;
}

/** One run's history. */
export class History {
  /** What acknowledged fsyncs promise, and when it was asked for. */
  readonly #promises = new Map<number, { time: number; content: Content }>();
  /** By object. */
  readonly #writes = new Map<number, { time: number; from: number; to: number; content: number }[]>();
  /** By object, when it last lost a name. */
  readonly #nameLosses = new Map<number, number>();
  /** Since when a change may have to be copied, as long as nobody crashed. */
  #settledAt = 0;

  changed(time: number, id: number, from: number, to: number, content: number): void {
    const known = this.#writes.get(id);
    if (known === undefined) this.#writes.set(id, [{ time, from, to, content }]);
    else known.push({ time, from, to, content });
  }

  nameLost(time: number, id: number): void {
    this.#nameLosses.set(id, time);
  }

  promised(id: number, time: number, content: Content): void {
    if ((this.#promises.get(id)?.time ?? -1) <= time) this.#promises.set(id, { time, content });
  }

  /** Both disks hold what was changed before `began`. */
  settledUpTo(began: number): void {
    this.#settledAt = Math.max(this.#settledAt, began);
  }

  /** Only what was changed may be copied: of the object (null), or of this block of it. */
  checkCopied(id: number, block: number | null): void {
    const changed = this.#writes
      .get(id)
      ?.some(
        ({ time, from, to }) => time >= this.#settledAt && (block === null || (block >= from && block < to)),
      );
    if (changed) return;
    const what = block === null ? `object ${id}` : `block ${block} of ${id}`;
    throw new Violation(`G6: copied ${what}, unchanged since ${this.#settledAt}`);
  }

  /** How many files have an acknowledged fsync, and how many of them this node's copy lacks or holds older. */
  told(node: SimNode): { files: number; lacking: number } {
    let lacking = 0;
    for (const id of this.#promises.keys()) {
      try {
        this.check(node, id, "now");
      } catch {
        lacking++;
      }
    }
    return { files: this.#promises.size, lacking };
  }

  /** All promises, at a moment when they bind this node. */
  checkAll(node: SimNode, when: string): void {
    for (const id of this.#promises.keys()) this.check(node, id, when);
  }

  /** G1, of a node that could be asked to go on: what was acknowledged is there, or something newer. */
  check(node: SimNode, id: number, when: string): void {
    const promise = this.#promises.get(id)!;
    if ((this.#nameLosses.get(id) ?? -1) > promise.time) return;
    const inode = node.fs.find(id);
    if (inode === null) throw new Violation(`G1: ${when}, ${node.name} lost the acknowledged file ${id}`);
    const { size, blocks } = promise.content;
    // Where neither has anything, both have a hole.
    for (const block of new Set([...blocks.keys(), ...inode.blocks.keys()])) {
      const found = inode.blocks.get(block) ?? 0;
      const content = blocks.get(block) ?? 0;
      if (block >= size || found === content) continue;
      const newer = this.#writes
        .get(id)
        ?.some(
          (write) =>
            write.time > promise.time && block >= write.from && block < write.to && write.content === found,
        );
      if (!newer)
        throw new Violation(
          `G1: ${when}, ${node.name} has ${found} in block ${block} of ${id}, acknowledged was ${content}`,
        );
    }
  }
}
