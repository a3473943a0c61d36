/** The application of the model test: several workers on the primary of a mirror, and what became of their work. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Mirror } from "../cluster/mirror.ts";
import type { MachineProcess, Node } from "../cluster/testbed.ts";
import { scanTree } from "./disk.ts";
import { judge, type Survived, type Verdict } from "./judge.ts";
import { recordOf } from "./record.ts";
import type { Inode } from "./tree.ts";

const WORKER = `${import.meta.dir}/worker.ts`;

/** Workers that run again and again on the tree that their last run left. */
export class Application {
  #run = 0;
  #initial: Inode[] = [];
  #processes: MachineProcess[] = [];
  /** Operations that returned, and those of them that a power cut undid, since nothing had synced them. */
  operations = 0;
  undone = 0;

  constructor(
    readonly mirror: Mirror,
    readonly seed: number,
    readonly durability: "fsync" | "write",
    readonly workers: number,
  ) {}

  /** Starts all workers on `prim`. What `nodes` hold by then is made durable behind the back of the product: the judge takes it for granted. */
  async start(prim: Node, nodes: readonly Node[]): Promise<void> {
    const { bed, data } = this.mirror;
    const numbers = Array.from({ length: this.workers }, (_, worker) => worker);
    await prim.exec([
      "mkdir",
      "-p",
      ...["all", ...numbers.map((worker) => `w${worker}`)].map((name) => `${data}/${name}`),
    ]);
    await Promise.all(nodes.map((node) => node.exec(["sync", "-f", bed.diskDir])));
    this.#run++;
    this.#initial = numbers.map((worker) => scanTree(prim.on.path(data), worker));
    const log = `${bed.dir}/workers.log`;
    this.#processes = await Promise.all(
      numbers.map((worker) =>
        prim.spawn([process.execPath, WORKER, data, bed.dir, ...[this.seed, this.#run, worker].map(String)], {
          log,
        }),
      ),
    );
  }

  /** Ends all workers where they are. */
  async stop(): Promise<void> {
    writeFileSync(recordOf(this.mirror.bed.dir, this.#run, 0).stop, "");
    await Promise.all(this.#processes.map(({ exited }) => exited));
  }

  /**
   * Throws when what the node holds is not what `survived` promises, or when a call did not return what it should have, before the power
   * was cut (`cutAt`, ms since 1970). Returns a few words.
   */
  examine(node: Node, survived: Survived, cutAt = Number.POSITIVE_INFINITY): string {
    const words = this.#initial.map((initial, worker) => {
      const files = recordOf(this.mirror.bed.dir, this.#run, worker);
      if (existsSync(files.failed)) {
        const { at, what } = JSON.parse(readFileSync(files.failed, "utf8")) as { at: number; what: string };
        if (at < cutAt) throw new Error(`run ${this.#run}, worker ${worker}: ${what}`);
      }
      const done = existsSync(files.done) ? Number.parseInt(readFileSync(files.done, "utf8"), 10) || 0 : 0;
      const work = { seed: this.seed, run: this.#run, worker, done, initial, durability: this.durability };
      const verdict = judge(work, scanTree(node.on.path(this.mirror.data), worker), survived);
      if (verdict.differences.length > 0) throw new Error(inWords(work, verdict, survived, node.name));
      this.operations += done;
      this.undone += Math.max(0, done - verdict.found);
      return `${verdict.found}/${done}`;
    });
    return words.join(" ");
  }
}

function inWords(
  { run, worker, done }: { run: number; worker: number; done: number },
  { found, differences }: Verdict,
  survived: Survived,
  name: string,
): string {
  return `run ${run}, worker ${worker}: of ${done} operations ${name} has no moment (${survived}); nearest are ${found}, where ${differences.length} differ:\n${differences.slice(0, 10).join("\n")}`;
}
