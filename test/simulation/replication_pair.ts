/**
 * Two nodes with the real marks, codec and reintegration, and a link between them: what they tell of themselves as they are moved, held
 * against the guarantees.
 */
import { Account, type AccountSettings } from "./replication_account.ts";
import { type Content, History } from "./replication_history.ts";
import { type Mutant, type Random, SimNode, Violation } from "./replication_node.ts";
import type { SourceRole } from "./replication_source.ts";

/** A connection: frames under way in both directions. */
export interface Link {
  target: SimNode;
  toTarget: Uint8Array[];
  toSource: Uint8Array[];
  /** A person asked for a full copy. */
  demanded: boolean;
  /** A full copy was interrupted that goes on where it was. */
  mayResume: boolean;
  /** Nobody crashed since the copies were in sync: exactly what changed must move. */
  bounded: boolean;
  /** By sequence: the source's tree as it was when that frame was all it had sent. */
  expected: Map<number, string>;
}

/** How they are set up. */
export interface PairSettings extends AccountSettings {
  random: Random;
  mutant?: Mutant | null;
}

/** See the top of the file. A base class: the world moves them. */
export abstract class Pair extends Account {
  readonly random: Random;
  readonly mutant: Mutant | null;
  readonly nodes: readonly [SimNode, SimNode];
  link: Link | null = null;
  readonly history = new History();
  protected crashedSince = true;
  /** Something moved since the copies were last found equal. */
  protected moved = true;

  constructor(settings: PairSettings) {
    super(settings);
    this.random = settings.random;
    this.mutant = settings.mutant ?? null;
    this.nodes = [
      new SimNode("n1", 1, this.random, this.mutant),
      new SimNode("n2", 2, this.random, this.mutant),
    ];
  }

  /** In which phase the primary is. */
  protected phase(): string {
    return this.source()?.phase ?? "no primary";
  }

  acknowledged(id: number, time: number, content: Content): void {
    this.statistics.acknowledged++;
    this.tell(() => `the application is told: ${this.source()!.node.nameOf(id)} is durable as of ${time}`);
    this.history.promised(id, time, content);
    for (const node of this.nodes)
      if (this.mayBePromoted(node)) this.history.check(node, id, "just acknowledged");
  }

  reintegrated(): void {
    this.tell(() => "the reintegration is over: the copies are in sync");
    this.statistics.reintegrations++;
    this.crashedSince = false;
  }

  /** A reintegration begins: of everything, or of what an interrupted copy of everything left. */
  begins(full: boolean, resumed: boolean): void {
    this.tell(
      () =>
        `a reintegration begins: ${full ? "of everything" : resumed ? "the full copy goes on" : "of what changed"}`,
    );
    if (full) this.statistics.fullCopies++;
    if (resumed) this.statistics.resumedCopies++;
  }

  /** Both disks hold what was changed before `began`, and nothing was left to copy. */
  settledUpTo(began: number): void {
    this.history.settledUpTo(began);
  }

  copiedObject(id: number): void {
    this.tell(() => `the attributes of ${this.source()!.node.nameOf(id)} are copied`);
    if (this.link?.bounded) this.history.checkCopied(id, null);
  }

  copiedBlocks(id: number, blocks: number[]): void {
    this.tell(
      () => `blocks ${blocks[0]} to ${blocks.at(-1)} of ${this.source()!.node.nameOf(id)} are copied`,
    );
    this.statistics.copiedBlocks += blocks.length;
    if (!this.link?.bounded) return;
    for (const block of blocks) this.history.checkCopied(id, block);
  }

  /** Whenever the copies are in sync and nothing is under way, they are equal. True: they are. */
  checkEqual(): boolean {
    const source = this.source();
    if (source?.phase !== "inSync" || this.link === null || this.link.toTarget.length > 0) return false;
    if (!this.moved) return true;
    const [mine, theirs] = [source.node.fs.describe(), this.link.target.fs.describe()];
    if (mine !== theirs)
      throw new Violation(
        `G7: in sync and not equal:\n--- ${source.node.name}\n${mine}\n--- ${this.link.target.name}\n${theirs}`,
      );
    this.moved = false;
    return true;
  }

  protected mayBePromoted(node: SimNode): boolean {
    return (
      node.up && node.role === null && node.record.consistency === "uptodate" && this.source()?.node !== node
    );
  }

  source(): SourceRole | null {
    for (const node of this.nodes) if (node.role?.kind === "source") return node.role;
    return null;
  }

  peerOf(node: SimNode): SimNode {
    return node === this.nodes[0] ? this.nodes[1] : this.nodes[0];
  }
}
