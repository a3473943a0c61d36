/** What the application of a simulated run changed and was promised: what any node's disk is held against. */
import { type SimNode, Violation } from "./replication_node.ts";

/** One run's history. */
export class History {
  /** What acknowledged fsyncs promise: content of each block, and when it was asked for. */
  readonly #promises = new Map<number, { time: number; blocks: Map<number, number> }>();
  readonly #writes: { time: number; id: number; from: number; to: number; content: number }[] = [];
  readonly #nameLosses: { time: number; id: number }[] = [];
  /** Since when a change may have to be copied, as long as nobody crashed. */
  #settledAt = 0;

  changed(time: number, id: number, from: number, to: number, content: number): void {
    this.#writes.push({ time, id, from, to, content });
  }

  nameLost(time: number, id: number): void {
    this.#nameLosses.push({ time, id });
  }

  promised(id: number, time: number, blocks: Map<number, number>): void {
    if ((this.#promises.get(id)?.time ?? -1) <= time) this.#promises.set(id, { time, blocks });
  }

  /** Both disks hold what was changed before `began`. */
  settledUpTo(began: number): void {
    this.#settledAt = Math.max(this.#settledAt, began);
  }

  /** Only what was changed may be copied: of the object (null), or of this block of it. */
  checkCopied(id: number, block: number | null): void {
    const changed = this.#writes.some(
      (write) =>
        write.id === id &&
        write.time >= this.#settledAt &&
        (block === null || (block >= write.from && block < write.to)),
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
    if (this.#nameLosses.some((loss) => loss.id === id && loss.time > promise.time)) return;
    const inode = node.fs.find(id);
    if (inode === null) throw new Violation(`G1: ${when}, ${node.name} lost the acknowledged file ${id}`);
    for (const [block, content] of promise.blocks) {
      const found = inode.blocks.get(block) ?? 0;
      if (found === content) continue;
      const newer = this.#writes.some(
        (write) =>
          write.id === id &&
          write.time > promise.time &&
          block >= write.from &&
          block < write.to &&
          write.content === found,
      );
      if (!newer)
        throw new Violation(
          `G1: ${when}, ${node.name} has ${found} in block ${block} of ${id}, acknowledged was ${content}`,
        );
    }
  }
}
