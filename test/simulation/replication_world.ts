/**
 * Two nodes, an application, and misfortune: everything that happens is drawn from one seed, and every guarantee is checked
 * as it goes. The same seed replays the same run.
 */
import { begin } from "../../core/replication/generations.ts";
import { BLOCK_BYTES } from "../../core/replication/marks.ts";
import { DT_DIR } from "../../core/replication/names.ts";
import { DT_REG, type Inode, type ModelFileSystem } from "./model_file_system.ts";
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

const BLOCKS = [0, 1, 2, 3, 5, 1022, 1023, 1024, 2047, 2050];
const NAMES = ["a", "b", "c", "d", "e"];

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
  /** What acknowledged fsyncs promise: content of each block, and when it was asked for. */
  readonly #promises = new Map<number, { time: number; blocks: Map<number, number> }>();
  readonly #writes: { time: number; id: number; from: number; to: number; content: number }[] = [];
  readonly #nameLosses: { time: number; id: number }[] = [];
  /** Since when a change may have to be copied, as long as nobody crashed. */
  #settledAt = 0;
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
    if ((this.#promises.get(id)?.time ?? -1) <= time) this.#promises.set(id, { time, blocks });
    for (const node of this.nodes)
      if (this.#mayBePromoted(node)) this.#checkPromise(node, id, "just acknowledged");
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
    this.#settledAt = Math.max(this.#settledAt, began);
  }

  copiedObject(id: number): void {
    if (
      !this.#link?.bounded ||
      this.#writes.some((write) => write.id === id && write.time >= this.#settledAt)
    )
      return;
    throw new Violation(`copied object ${id}, unchanged since ${this.#settledAt}`);
  }

  copiedBlocks(id: number, blocks: number[]): void {
    this.statistics.copiedBlocks += blocks.length;
    if (!this.#link?.bounded) return;
    for (const block of blocks) {
      const changed = this.#writes.some(
        (write) =>
          write.id === id && write.time >= this.#settledAt && block >= write.from && block < write.to,
      );
      if (!changed) throw new Violation(`copied block ${block} of ${id}, unchanged since ${this.#settledAt}`);
    }
  }

  // ---- the steps -------------------------------------------------------------------------------------------------------

  #step(): void {
    this.time++;
    const draw = this.random(1000);
    const source = this.#source();
    const inSync = source?.phase === "inSync";
    if (draw < (inSync ? 10 : 2)) this.#misfortune(inSync);
    else if (source === null || source.phase === "held") this.#recover();
    else if (draw < this.#pace.application) this.#application(source);
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
    for (const id of this.#promises.keys()) this.#checkPromise(node, id, "at a promotion");
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

  // ---- the application -------------------------------------------------------------------------------------------------

  #application(source: SourceRole): void {
    this.statistics.operations++;
    const objects = [...source.node.fs.walk()];
    const directories = objects.filter(({ inode }) => inode.type === DT_DIR).map(({ inode }) => inode);
    const named = objects.filter(({ parent }) => parent !== null);
    const files = named.filter(({ inode }) => inode.type === DT_REG);
    const any = <T>(list: T[]): T | undefined => list[this.random(Math.max(1, list.length))];
    const parent = any(directories)!;
    const name = any(NAMES)!;
    const file = any(files);
    const draw = this.random(20);
    if (draw < 5 && !parent.names.has(name) && objects.length < 16) this.#create(source, parent, name);
    else if (draw < 10 && file) this.#write(source, file.inode);
    else if (draw === 10 && file) {
      const size = any(BLOCKS)!;
      if (source.truncate(file.inode, size)) this.#note(file.inode.id, size, Number.POSITIVE_INFINITY, 0);
    } else if (draw === 11) {
      const inode = any(objects)!.inode;
      if (source.setMode(inode, this.random(0o777))) this.#note(inode.id, 0, 0, 0);
    } else if (draw < 14 && file) source.fsync(file.inode);
    else if (draw === 14 && file && !parent.names.has(name))
      source.link_(file.inode, file.parent!, parent, name);
    else if (draw === 15) this.#unlink(source, any(named));
    else if (draw < 20) this.#rename(source, any(named), parent, name);
  }

  #create(source: SourceRole, parent: Inode, name: string): void {
    const id = source.create(parent, name, this.random(3) === 0 ? DT_DIR : DT_REG);
    if (id !== 0) this.#note(id, 0, Number.POSITIVE_INFINITY, 0);
  }

  #write(source: SourceRole, inode: Inode): void {
    const block = BLOCKS[this.random(BLOCKS.length)]!;
    const count = 1 + this.random(3);
    if (source.write(inode, block, count, this.time)) this.#note(inode.id, block, block + count, this.time);
  }

  #unlink(
    source: SourceRole,
    victim: { inode: Inode; parent: Inode | null; name: string } | undefined,
  ): void {
    if (victim === undefined || victim.inode.names.size > 0) return;
    if (source.unlink(victim.parent!, victim.name, victim.inode))
      this.#nameLosses.push({ time: this.time, id: victim.inode.id });
  }

  #rename(
    source: SourceRole,
    moved: { inode: Inode; parent: Inode | null; name: string } | undefined,
    to: Inode,
    name: string,
  ): void {
    if (moved === undefined) return;
    const { fs } = source.node;
    const from = moved.parent!;
    const met = fs.lookup(to.id, name);
    const exchange = met !== null && this.random(3) === 0;
    if (met === moved.inode || this.#isBelow(fs, to, moved.inode)) return;
    if (exchange && this.#isBelow(fs, from, met)) return;
    if (met !== null && !exchange && (met.type !== moved.inode.type || met.names.size > 0)) return;
    if (!source.rename(from, moved.name, to, name, exchange)) return;
    if (met !== null && !exchange) this.#nameLosses.push({ time: this.time, id: met.id });
  }

  #isBelow(fs: ModelFileSystem, directory: Inode, above: Inode): boolean {
    for (let id = directory.id; id > 0; id = fs.placeOf(id).parent) if (id === above.id) return true;
    return false;
  }

  #note(id: number, from: number, to: number, content: number): void {
    this.#writes.push({ time: this.time, id, from, to, content });
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

  /** G1, of a node that could be asked to go on: what was acknowledged is there, or something newer. */
  #checkPromise(node: SimNode, id: number, when: string): void {
    const promise = this.#promises.get(id)!;
    if (this.#nameLosses.some((loss) => loss.id === id && loss.time > promise.time)) return;
    const inode = node.fs.find(id);
    if (inode === null) throw new Violation(`G1 ${when}: ${node.name} lost the acknowledged file ${id}`);
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
          `G1 ${when}: ${node.name} has ${found} in block ${block} of ${id}, acknowledged was ${content}`,
        );
    }
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

/** Bytes that a statistics' blocks are. */
export const bytesOf = (blocks: number): number => blocks * BLOCK_BYTES;
