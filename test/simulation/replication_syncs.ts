/** The application's fsyncs of a simulated run, until each is on the disks that it promises: what the peer's word settles, the real `Settlement` says. */
import { Settlement } from "../../core/filesystem/primary/settlement.ts";
import type { Inode } from "./model_file_system.ts";
import type { Content } from "./replication_history.ts";
import type { SimNode } from "./replication_node.ts";
import type { World } from "./replication_world.ts";

/** An fsync that was not answered yet. */
interface OpenSync {
  inode: Inode;
  ticket: number;
  localDone: boolean;
  /** What it promises: the content when it was asked for. */
  time: number;
  content: Content;
}

/** Those of a node that serves. */
export class SourceSyncs {
  readonly #settlement = new Settlement();
  #isAlone = true;
  /** The last that was asked for before syncs waited for the peer again. */
  #before = 0;
  #open: OpenSync[] = [];

  constructor(
    private readonly node: SimNode,
    private readonly world: World,
  ) {}

  /** The application asks for one. Returns its ticket. */
  ask(inode: Inode): number {
    const ticket = this.#isAlone ? 0 : ++this.#settlement.tickets;
    const content = { size: inode.size, blocks: new Map(inode.blocks) };
    this.#open.push({ inode, ticket, localDone: false, time: this.world.time, content });
    return ticket;
  }

  isSettled(ticket: number): boolean {
    return this.#isAlone || this.#settlement.isSettled(ticket);
  }

  /** The peer's disk has what this one asked for. */
  settle(ticket: number): void {
    this.#settlement.settle(ticket);
  }

  /** This node is durably alone: nobody waits for the peer. */
  alone(): void {
    this.#isAlone = true;
    this.#settlement.settleAll();
  }

  /** From here on syncs wait for the peer again. */
  together(): void {
    this.#isAlone = false;
    this.#before = this.#settlement.tickets;
  }

  /** Both disks hold what came before `together`. */
  caughtUp(): void {
    this.#settlement.settleTo(this.#before);
  }

  /** The local half of the oldest, or the answers of those that have both. Throws DiskError: that fsync is answered with it. */
  step(): boolean {
    const waiting = this.#open.find((sync) => !sync.localDone);
    if (waiting !== undefined && this.world.random(2) === 0) {
      this.#open = this.#open.filter((sync) => sync !== waiting);
      this.node.fs.sync(waiting.inode);
      this.#open.unshift({ ...waiting, localDone: true });
      return true;
    }
    const lies = this.node.mutant === "acknowledgesAlone";
    const ready = this.#open.filter((sync) => sync.localDone && (lies || this.isSettled(sync.ticket)));
    for (const { inode, time, content } of ready) this.world.acknowledged(inode.id, time, content);
    this.#open = this.#open.filter((sync) => !ready.includes(sync));
    return ready.length > 0;
  }
}
