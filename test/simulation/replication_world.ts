/**
 * Whatever may be done to two nodes that replicate (replication_pair.ts), one move at a time.
 *
 * Who moves is chance (replication_fate.ts) or a text (replication_scenario.ts). Every guarantee is checked as they move.
 */
import { begin } from "../../core/replication/generations.ts";
import { DiskError, DT_REG } from "./model_file_system.ts";
import { Application } from "./replication_application.ts";
import { type SimNode, Violation } from "./replication_node.ts";
import { type Link, Pair, type PairSettings } from "./replication_pair.ts";
import { SourceRole } from "./replication_source.ts";
import { TargetRole } from "./replication_target.ts";
import { frameInWords, frameName } from "./replication_words.ts";

/** The simulated world. */
export class World extends Pair {
  readonly application: Application;
  #generation = 0;
  /** Who was primary last. */
  #served: SimNode;

  /** n1 is primary and alone; n2 has been outdated by it, and was equal before. */
  constructor(settings: PairSettings) {
    super(settings);
    this.application = new Application(this, this.history);
    const [first, second] = this.nodes;
    first.role = new SourceRole(first, this);
    this.#served = first;
    second.record = { ...second.record, consistency: "outdated" };
    first.record = { ...first.record, generations: begin(first.record.generations, this.#fresh()) };
  }

  // ---- moves: the application and the disks ----------------------------------------------------------------------------

  /** The application has done something that was sent at once: SECOND's tree must be this one when it has applied that far. */
  changed(source: SourceRole): void {
    this.moved = true;
    if (source.phase !== "inSync" || this.link === null) return;
    const { last } = source;
    if (!this.link.expected.has(last)) this.link.expected.set(last, source.node.fs.describe());
  }

  /** The local half of an fsync, or answers that are due. Its disk may fail. */
  stepSyncs(source: SourceRole): boolean {
    try {
      return source.stepSyncs();
    } catch (error) {
      this.#sourceFailed(source, error);
      return true;
    }
  }

  syncPoint(source: SourceRole): boolean {
    try {
      return source.syncPoint();
    } catch (error) {
      this.#sourceFailed(source, error);
      return true;
    }
  }

  /** Lets the target take one frame. False: there is none. */
  toTarget(): boolean {
    const { link } = this;
    const bytes = link?.toTarget.shift();
    if (link === null || bytes === undefined) return false;
    const swaps = this.mutant === "appliesOutOfOrder" && link.toTarget.length > 0;
    if (swaps) this.#apply(link, link.toTarget.shift()!);
    if (this.link === link) this.#apply(link, bytes);
    return true;
  }

  #apply(link: Link, bytes: Uint8Array): void {
    this.moved = true;
    this.cover(`to SECOND: ${frameName(bytes)}`);
    const target = link.target.role as TargetRole;
    try {
      this.tell(() => `${link.target.name} takes ${frameInWords(bytes)}`);
      const sequence = target.receive(bytes);
      const expected = link.expected.get(sequence);
      if (expected === undefined) return;
      link.expected.delete(sequence);
      const found = link.target.fs.describe();
      if (found !== expected)
        throw new Violation(
          `G2: ${link.target.name} is not as the primary was after frame ${sequence}:\n--- primary\n${expected}\n--- ${link.target.name}\n${found}`,
        );
    } catch (error) {
      this.#targetFailed(link, error);
    }
  }

  /** Lets the source take one answer. False: there is none. */
  toSource(): boolean {
    const bytes = this.link?.toSource.shift();
    const source = this.source();
    if (bytes === undefined || source === null) return false;
    this.moved = true;
    this.cover(`from SECOND: ${frameName(bytes)}`);
    source.receive(bytes);
    return true;
  }

  /** The target's disk does one fsync or the durable point that it was asked for. */
  syncTarget(): boolean {
    const { link } = this;
    if (link === null) return false;
    try {
      return (link.target.role as TargetRole).stepSyncs();
    } catch (error) {
      this.#targetFailed(link, error);
      return true;
    }
  }

  /** The next fsync on this node, or the next change, fails. */
  diskFails(node: SimNode, how: "sync" | "full"): void {
    this.cover(
      `${node.role?.kind === "source" ? "PRIM" : "SECOND"}: ${how === "sync" ? "fsync fails" : "disk full"}`,
    );
    this.tell(() =>
      how === "sync" ? `the next fsync on ${node.name} fails` : `the disk of ${node.name} is full`,
    );
    node.fs.fails = how;
  }

  /** What a target does that could not apply or sync: the copy is suspect, the connection is over (trap 8). */
  #targetFailed({ target }: Link, error: unknown): void {
    if (!(error instanceof DiskError)) throw error;
    this.statistics.diskErrors++;
    this.tell(() => `${target.name}: ${error.message}; its copy is suspect`);
    this.#doubt(target);
    this.#drop(0);
  }

  /** A source whose disk failed answers the application with an error, and hands over to a peer that is in sync. */
  #sourceFailed(source: SourceRole, error: unknown): void {
    if (!(error instanceof DiskError)) throw error;
    this.statistics.diskErrors++;
    this.tell(() => `${source.node.name}: ${error.message}; the application is told so`);
    if (source.phase !== "inSync" || source.caughtUpSent) return;
    this.#doubt(source.node);
    this.swap();
  }

  #doubt(node: SimNode): void {
    const { consistency } = node.record;
    if (consistency === "uptodate" || consistency === "outdated")
      node.record = { ...node.record, consistency: "suspect" };
  }

  // ---- moves: the link and the nodes -----------------------------------------------------------------------------------

  /** The link is cut. What had arrived is applied; what was under way is lost. */
  cut(): void {
    if (this.link === null) return;
    this.cover("the link is cut");
    this.tell(() => "the link is cut");
    this.#drop(this.random(this.link.toTarget.length + 1));
  }

  #drop(arrived: number): void {
    const { link } = this;
    if (link === null) return;
    const source = this.source();
    for (let count = arrived; count > 0 && this.link === link; count--) this.toTarget();
    // What arrived may have ended the connection itself.
    if (this.link !== link) return;
    this.link = null;
    this.moved = true;
    if (source !== null && source.phase !== "inSync") this.statistics.interrupted++;
    source?.lost();
    if (link.target.up) link.target.role = null;
  }

  /** Power cut of these nodes, at once. */
  crash(...nodes: readonly SimNode[]): void {
    const down = nodes.filter(({ up }) => up);
    if (down.length === 0) return;
    const which =
      down.length === 2
        ? "both nodes lose"
        : down[0]!.role?.kind === "source"
          ? "PRIM loses"
          : "SECOND loses";
    this.cover(`${which} power`);
    this.tell(() => `${down.map(({ name }) => name).join(" and ")}: power cut`);
    this.statistics.crashes += down.length;
    this.crashedSince = true;
    this.moved = true;
    const { link } = this;
    const source = this.source();
    const arrived = link === null ? 0 : this.random(link.toTarget.length + 1);
    for (let count = arrived; count > 0 && this.link === link; count--) this.toTarget();
    const wasLinked = link !== null && this.link === link;
    this.link = null;
    for (const node of down) node.crash();
    if (!wasLinked) return;
    if (link.target.up) link.target.role = null;
    if (source?.node.up !== true) return;
    if (source.phase !== "inSync") this.statistics.interrupted++;
    source.lost();
  }

  restart(node: SimNode): void {
    if (node.up) return;
    this.tell(() => `${node.name} boots`);
    node.restart();
  }

  /** The primary goes on without its peer: that the peer is outdated is durable first. */
  goAlone(): void {
    const source = this.source();
    if (source?.phase !== "held") return;
    this.cover("goes on alone");
    this.tell(() => `${source.node.name} goes on alone`);
    this.#outdate(this.peerOf(source.node));
    source.node.record = {
      ...source.node.record,
      generations: begin(source.node.record.generations, this.#fresh()),
    };
    source.goAlone();
  }

  /** May this node be told to serve now? A copy that is up to date, while nobody serves or the primary waits for a word. */
  canPromote(node: SimNode): boolean {
    const source = this.source();
    const isFree = source === null || source.phase === "held";
    return isFree && node.up && node.role === null && node.record.consistency === "uptodate";
  }

  promote(node: SimNode): void {
    this.cover("the other is promoted");
    this.tell(() => `${node.name} becomes primary, alone`);
    this.statistics.promotions++;
    const old = this.source();
    if (old !== null) old.node.role = null;
    this.history.checkAll(node, "at a promotion");
    this.#outdate(this.peerOf(node));
    node.record = { ...node.record, generations: begin(node.record.generations, this.#fresh()) };
    node.role = new SourceRole(node, this);
    this.#served = node;
    this.crashedSince = true;
  }

  /** The disks of both failed, and neither serves: a person says that the copy of the last primary counts. */
  force(): void {
    if (this.nodes.some(({ up, record }) => !up || record.consistency !== "suspect")) return;
    const node = this.#served;
    this.tell(() => `a person forces ${node.name}`);
    node.record = { ...node.record, consistency: "uptodate" };
    this.promote(node);
  }

  /** Exchange of roles: the primary drains what it sent, then the other serves. */
  swap(): void {
    const source = this.source();
    const { link } = this;
    if (source?.phase !== "inSync" || link === null) return;
    this.cover("swap");
    while (this.link === link && this.toTarget());
    if (this.link !== link) return;
    this.tell(() => `${source.node.name} has drained, and steps down`);
    this.statistics.swaps++;
    this.link = null;
    source.lost();
    source.node.role = null;
    link.target.role = null;
    this.promote(link.target);
  }

  connect(demanded: boolean): void {
    const source = this.source();
    if (source?.phase !== "alone") return;
    const target = this.peerOf(source.node);
    if (!target.up) return;
    this.cover(demanded ? "SECOND connects, full copy demanded" : "SECOND connects");
    this.tell(() => `${target.name} connects${demanded ? ", and a person asked for a full copy" : ""}`);
    if (demanded) source.forgetCopy();
    const blank = demanded || target.record.consistency === "blank";
    const mayResume = blank && source.node.beganFor === target.copyId;
    const bounded = !(this.crashedSince || blank);
    this.link = { target, toTarget: [], toSource: [], demanded, mayResume, bounded, expected: new Map() };
    source.connect(this.link);
    target.role = new TargetRole(target, this.link);
    // A blank copy stays blank until it has caught up.
    if (blank) target.record = { ...target.record, consistency: "blank" };
  }

  /** Both copies hold a small tree from before, and are equal. */
  populate(): void {
    for (const node of this.nodes) node.populate();
  }

  /** Another disk, with something on it that nobody knows; `stale`: with an old copy. */
  replaceDisk(node: SimNode, stale = false): void {
    this.tell(() => `${node.name} gets another disk${stale ? " with an old copy on it" : ""}`);
    node.replaceDisk(stale);
    if (!stale) node.fs.make(2 ** 46 + 7, DT_REG, 0o600, node.fs.directory(2 ** 45 + 2).id, "alien");
  }

  /** A disk that loses what was written to it, and says nothing: why a person asks for a full copy. */
  rot(node: SimNode): void {
    this.tell(() => `${node.name} has blocks that nobody wrote`);
    node.fs.rot();
  }

  /** A copy that is worth less stays what it is. */
  #outdate(node: SimNode): void {
    if (node.record.consistency === "uptodate") node.record = { ...node.record, consistency: "outdated" };
  }

  #fresh(): string {
    return `g${++this.#generation}`;
  }
}
