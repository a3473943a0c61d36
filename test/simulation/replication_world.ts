/**
 * Two nodes, an application, and misfortune: everything that happens is drawn from one seed, and every guarantee is checked
 * as it goes. The same seed replays the same run.
 */
import { begin } from "../../core/replication/generations.ts";
import { DT_REG } from "./model_file_system.ts";
import { Application } from "./replication_application.ts";
import { History } from "./replication_history.ts";
import { type Mutant, type Random, SimNode, Violation } from "./replication_node.ts";
import { SourceRole } from "./replication_source.ts";
import { TargetRole } from "./replication_target.ts";

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
}

/** What a run saw, to know that it saw something. */
export interface Statistics {
  acknowledged: number;
  reintegrations: number;
  interrupted: number;
  promotions: number;
  crashes: number;
  operations: number;
  copiedBlocks: number;
  fullCopies: number;
  resumedCopies: number;
}

/** xorshift32: all randomness of a run. */
export function seeded(seed: number): Random {
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** One run. */
export class World {
  time = 0;
  readonly random: Random;
  readonly nodes: readonly [SimNode, SimNode];
  readonly statistics: Statistics = {
    acknowledged: 0,
    reintegrations: 0,
    interrupted: 0,
    promotions: 0,
    crashes: 0,
    operations: 0,
    copiedBlocks: 0,
    fullCopies: 0,
    resumedCopies: 0,
  };
  #link: Link | null = null;
  #generation = 0;
  readonly #history = new History();
  readonly #application: Application;
  #crashedSince = true;
  /** How busy the application is, and how quickly the marks reach the disk: one pace for each run. */
  readonly #pace: { application: number; marks: number };

  constructor(
    readonly seed: number,
    readonly mutant: Mutant | null = null,
  ) {
    this.random = seeded(seed);
    this.nodes = [new SimNode("n1", 1, this.random, mutant), new SimNode("n2", 2, this.random, mutant)];
    const application = 150 + this.random(150);
    this.#pace = { application, marks: application + 15 + this.random(85) };
    this.#application = new Application(this, this.#history);
    const [first, second] = this.nodes;
    first.role = new SourceRole(first, this);
    if (this.random(4) === 0) {
      // The first copy ever: the peer holds something else, or nothing.
      this.#replaceDisk(second);
    } else second.record = { ...second.record, consistency: "outdated" };
    first.record = { ...first.record, generations: begin(first.record.generations, this.#fresh()) };
  }

  /** Runs so many steps, then lets both nodes come together and compares them. Throws Violation. */
  run(steps: number): Statistics {
    for (let step = 0; step < steps; step++) this.#step();
    this.#settle();
    return this.statistics;
  }

  // ---- what the nodes tell ---------------------------------------------------------------------------------------------

  acknowledged(id: number, time: number, blocks: Map<number, number>): void {
    this.statistics.acknowledged++;
    this.#history.promised(id, time, blocks);
    for (const node of this.nodes)
      if (this.#mayBePromoted(node)) this.#history.check(node, id, "just acknowledged");
  }

  reintegrated(): void {
    this.statistics.reintegrations++;
    this.#crashedSince = false;
  }

  /** A reintegration begins: of everything, or of what an interrupted copy of everything left. */
  begins(full: boolean, resumed: boolean): void {
    if (full) this.statistics.fullCopies++;
    if (resumed) this.statistics.resumedCopies++;
  }

  /** Both disks hold what was changed before `began`, and nothing was left to copy. */
  settledUpTo(began: number): void {
    this.#history.settledUpTo(began);
  }

  copiedObject(id: number): void {
    if (this.#link?.bounded) this.#history.checkCopied(id, null);
  }

  copiedBlocks(id: number, blocks: number[]): void {
    this.statistics.copiedBlocks += blocks.length;
    if (!this.#link?.bounded) return;
    for (const block of blocks) this.#history.checkCopied(id, block);
  }

  // ---- the steps -------------------------------------------------------------------------------------------------------

  #step(): void {
    this.time++;
    const draw = this.random(1000);
    const source = this.#source();
    const inSync = source?.phase === "inSync";
    if (draw < (inSync ? 10 : 2)) this.#misfortune(inSync);
    else if (source === null || source.phase === "held") this.#recover();
    else if (draw < this.#pace.application) this.#application.act(source);
    else if (draw < this.#pace.marks) source.node.stepMarks();
    else if (draw < 420) source.beginPoint();
    else if (draw < 450) source.syncPoint();
    else if (draw < 550) source.stepSyncs();
    else if (draw < 580) this.#recover();
    else this.#stepLink(source);
    this.#checkEqual();
  }

  #stepLink(source: SourceRole): void {
    const link = this.#link;
    if (link === null) {
      if (source.node.marks.wantsPoint && source.phase === "alone")
        throw new Violation("alone, and waits for a durable point");
      return;
    }
    const draw = this.random(10);
    const target = link.target.role as TargetRole;
    if (draw < 4 && link.toTarget.length > 0) target.receive(link.toTarget.shift()!);
    else if (draw < 7 && link.toSource.length > 0) source.receive(link.toSource.shift()!);
    else if (draw < 8) target.stepSyncs();
    else if (draw < 9 && source.node.marks.wantsPoint) source.beginPoint();
    else if (link.toTarget.length < 40) source.advance();
    if (this.random(3) === 0) link.target.stepMarks();
  }

  #misfortune(inSync: boolean): void {
    const draw = this.random(8);
    if (draw < (inSync ? 1 : 4)) this.#cut();
    else if (draw < 5) this.#crash(this.#source()?.node ?? this.nodes[0]);
    else if (draw < 6) this.#crash(this.nodes[this.random(2)]!);
    else for (const node of this.nodes) this.#crash(node);
  }

  #cut(): void {
    const link = this.#link;
    if (link === null) return;
    this.#link = null;
    const source = this.#source();
    if (source !== null && source.phase !== "inSync") this.statistics.interrupted++;
    source?.lost();
    // What had arrived is applied; what was under way is lost.
    if (link.target.up) {
      for (let count = this.random(link.toTarget.length + 1); count > 0; count--)
        (link.target.role as TargetRole).receive(link.toTarget.shift()!);
      link.target.role = null;
    }
  }

  #crash(node: SimNode): void {
    if (!node.up) return;
    this.statistics.crashes++;
    this.#crashedSince = true;
    const wasSource = node.role?.kind === "source";
    if (wasSource && this.#link !== null) {
      const link = this.#link;
      this.#link = null;
      for (let count = this.random(link.toTarget.length + 1); count > 0; count--)
        (link.target.role as TargetRole).receive(link.toTarget.shift()!);
      link.target.role = null;
    }
    const { up } = node;
    node.crash();
    if (up && !wasSource) this.#cut();
  }

  /** Somebody goes on, or comes back: what the failover core decides, seen from here. */
  #recover(): void {
    const source = this.#source();
    for (const node of this.nodes) if (!node.up && this.random(3) === 0) node.restart();
    if (source?.phase === "held" && this.random(2) === 0) {
      this.#goAlone(source);
      return;
    }
    if (source !== null && source.phase !== "held") {
      const peer = this.#peerOf(source.node);
      if (source.phase === "alone" && peer.up && this.random(2) === 0) this.#connect(source, peer);
      return;
    }
    const candidate = this.nodes[this.random(2)]!;
    if (candidate.up && candidate.role === null && candidate.record.consistency === "uptodate")
      this.#promote(candidate, source);
  }

  /** The primary goes on without its peer: that the peer is outdated is durable first. */
  #goAlone(source: SourceRole): void {
    const peer = this.#peerOf(source.node);
    this.#outdate(peer);
    source.node.record = {
      ...source.node.record,
      generations: begin(source.node.record.generations, this.#fresh()),
    };
    source.goAlone();
  }

  #promote(node: SimNode, old: SourceRole | null): void {
    this.statistics.promotions++;
    if (old !== null) old.node.role = null;
    this.#history.checkAll(node, "at a promotion");
    const peer = this.#peerOf(node);
    this.#outdate(peer);
    node.record = { ...node.record, generations: begin(node.record.generations, this.#fresh()) };
    node.role = new SourceRole(node, this);
    this.#crashedSince = true;
  }

  /** A copy that is worth less stays what it is. */
  #outdate(node: SimNode): void {
    if (node.record.consistency === "uptodate") node.record = { ...node.record, consistency: "outdated" };
  }

  #connect(source: SourceRole, target: SimNode): void {
    if (target.record.consistency !== "uptodate" && this.random(16) === 0) this.#replaceDisk(target);
    const demanded = this.random(16) === 0;
    if (demanded) source.forgetCopy();
    const blank = demanded || target.record.consistency === "blank";
    const mayResume = blank && source.node.beganFor === target.copyId;
    const bounded = !(this.#crashedSince || blank);
    this.#link = { target, toTarget: [], toSource: [], demanded, mayResume, bounded };
    source.connect(this.#link);
    target.role = new TargetRole(target, this.#link);
    // A blank copy stays blank until it has caught up.
    if (blank) target.record = { ...target.record, consistency: "blank" };
  }

  #replaceDisk(node: SimNode): void {
    node.replaceDisk();
    node.fs.make(2 ** 46 + 7, DT_REG, 0o600, node.fs.directory(2 ** 45 + 2).id, "alien");
  }

  #settle(): void {
    for (let round = 0; round < 20_000; round++) {
      this.time++;
      for (const node of this.nodes) if (!node.up) node.restart();
      let source = this.#source();
      if (source === null || source.phase === "held") {
        this.#recover();
        source = this.#source();
      }
      if (source === null || source.phase === "held") continue;
      if (source.phase === "alone") this.#connect(source, this.#peerOf(source.node));
      source.node.stepMarks();
      source.syncPoint();
      source.stepSyncs();
      this.#stepLink(source);
      if (source.phase === "inSync" && this.#checkEqual()) return;
    }
    throw new Violation("the copies never came together");
  }

  // ---- the guarantees --------------------------------------------------------------------------------------------------

  /** G2, G5, G6: whenever the copies are in sync and nothing is under way, they are equal. */
  #checkEqual(): boolean {
    const source = this.#source();
    if (source?.phase !== "inSync" || this.#link === null || this.#link.toTarget.length > 0) return false;
    const [mine, theirs] = [source.node.fs.describe(), this.#link.target.fs.describe()];
    if (mine !== theirs)
      throw new Violation(
        `in sync and not equal:\n--- ${source.node.name}\n${mine}\n--- ${this.#link.target.name}\n${theirs}`,
      );
    return true;
  }

  #mayBePromoted(node: SimNode): boolean {
    return (
      node.up && node.role === null && node.record.consistency === "uptodate" && this.#source()?.node !== node
    );
  }

  #source(): SourceRole | null {
    for (const node of this.nodes) if (node.role?.kind === "source") return node.role;
    return null;
  }

  #peerOf(node: SimNode): SimNode {
    return node === this.nodes[0] ? this.nodes[1] : this.nodes[0];
  }

  #fresh(): string {
    return `g${++this.#generation}`;
  }
}
