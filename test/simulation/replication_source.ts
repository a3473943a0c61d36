/** The source's half of the simulated data path: what the replication process of a primary does with the real cores. */
import { rejoin, relation } from "../../core/replication/generations.ts";
import { BLOCK_BYTES, Level } from "../../core/replication/marks.ts";
import { unionMarks } from "../../core/replication/marks_recovery.ts";
import { DT_DIR, KEEPS_OTHERS, REMOVES_DIRECTORY } from "../../core/replication/names.ts";
import { Frame, FrameType } from "../../core/replication/operation.ts";
import { Decision, type Reintegration } from "../../core/replication/reintegration.ts";
import type { Inode } from "./model_file_system.ts";
import { SourceCopy } from "./replication_copy.ts";
import { type SimNode, Violation } from "./replication_node.ts";
import type { Link } from "./replication_pair.ts";
import { blockBytes, nameBytes, SourceStream } from "./replication_stream.ts";
import { SourceSyncs } from "./replication_syncs.ts";
import type { World } from "./replication_world.ts";

/** A node that serves the application. */
export class SourceRole {
  readonly kind = "source";
  /** alone: durably the only one. held: the peer is gone and nobody has recorded it yet. together: syncs wait for the peer, its copy is complete. */
  phase: "alone" | "held" | "handshake" | "reintegrating" | "together" | "inSync" = "alone";
  /** The target may have recorded itself up to date, unknown to this node. */
  caughtUpSent = false;
  readonly #syncs: SourceSyncs;
  /** The target is blank: everything is copied to it, now or since an earlier connection. */
  #copiesAll = false;
  /** The marks tell all that it lacks. */
  #tellsAll = false;
  #point: {
    number: number;
    began: number;
    localDone: boolean;
    targetDone: boolean;
    final: boolean;
    tellsAll: boolean;
  } | null = null;
  #points = 0;
  readonly #stream: SourceStream;
  #copy: SourceCopy | null = null;

  constructor(
    readonly node: SimNode,
    readonly world: World,
  ) {
    node.marks.peerGone();
    this.#stream = new SourceStream(node);
    this.#syncs = new SourceSyncs(node, world);
  }

  /** The sequence of what was sent last. */
  get last(): number {
    return this.#stream.last;
  }

  /** Everything is copied, and the marks do not tell yet what the target lacks: an interruption begins it anew. */
  get isListing(): boolean {
    return this.#copy !== null && this.#copiesAll && !this.#tellsAll;
  }

  get #frame(): Frame {
    return this.#stream.frame;
  }

  // ---- the connection --------------------------------------------------------------------------------------------------

  connect(link: Link): void {
    this.#stream.connect(link);
    this.phase = "handshake";
  }

  /** The link is cut. In sync, nothing is acknowledged until somebody recorded who goes on. */
  lost(): void {
    const wasTogether = this.phase === "inSync" || (this.phase === "together" && this.caughtUpSent);
    this.#stream.link = null;
    this.#copy = null;
    this.#point = null;
    this.node.fs.fails = null;
    if (this.node.mutant !== "forgetsPeer") this.node.marks.peerGone();
    this.phase = wasTogether ? "held" : "alone";
    if (this.phase === "alone") this.#syncs.alone();
  }

  /** This node is durably the only one. */
  goAlone(): void {
    this.phase = "alone";
    this.caughtUpSent = false;
    this.#syncs.alone();
  }

  receive(bytes: Uint8Array): void {
    const frame = new Frame();
    if (frame.decode(bytes, 0, bytes.length) !== bytes.length)
      throw new Violation("stream: a frame of the target is cut off");
    if (frame.type === FrameType.ACK) {
      if (!this.#stream.acknowledge(frame.applied, frame.inHands))
        throw new Violation("stream: acknowledged what was never sent");
    } else if (frame.type === FrameType.MARKS) {
      if (!unionMarks(this.node.marks, frame.data.copy()))
        throw new Violation("stream: the target's marks are damaged");
    } else if (frame.type === FrameType.MARKS_END) this.#startReintegration();
    else if (frame.type === FrameType.NEED) this.#copy?.needed(frame.id);
    else if (frame.type === FrameType.SYNC_DONE) this.#syncs.settle(frame.ticket);
    else if (frame.type === FrameType.DURABLE_DONE) {
      if (this.#point?.number === frame.ticket) this.#point.targetDone = true;
      this.#confirmPoint();
    } else if (frame.type === FrameType.CAUGHT_UP_DONE) {
      this.node.record = { ...this.node.record, generations: rejoin(this.node.record.generations) };
      this.node.beganFor = null;
      this.phase = "inSync";
      this.caughtUpSent = false;
      this.#copy = null;
      this.#syncs.caughtUp();
      this.world.reintegrated();
    } else throw new Violation(`stream: the target sent frame type ${frame.type}`);
  }

  #startReintegration(): void {
    const { marks, record, beganFor } = this.node;
    const { target, demanded, mayResume } = this.#stream.link!;
    const careless = this.node.mutant === "resumesAnyDisk" && beganFor !== null;
    if (careless) marks.peerTells();
    const began = beganFor === target.copyId || careless;
    const verdict = relation({ ...record, began }, target.record);
    if (verdict.relation !== "equal" && verdict.relation !== "theyAreAncestor")
      throw new Violation(`relation: ${verdict.why}`);
    const full = verdict.full || demanded || marks.owesEverything;
    this.#copiesAll = target.record.consistency === "blank";
    if (verdict.full && (mayResume || !this.#copiesAll))
      throw new Violation(`G6: full copy without need: ${verdict.why}`);
    if (full || this.node.mutant === "copiesTooMuch") this.forgetCopy();
    this.#tellsAll = this.#copiesAll && !full;
    this.world.begins(full, this.#tellsAll);
    this.#copy = new SourceCopy(this.node, this.world, this.#stream, full);
    this.phase = "reintegrating";
  }

  /** Everything is to be copied: durably so, before the target hears of it. */
  forgetCopy(): void {
    this.node.beganFor = null;
    this.node.forgetMarks();
  }

  // ---- steps that the world schedules ----------------------------------------------------------------------------------

  /** Sends the next piece of the reintegration, or goes one step towards its end. False: nothing to do now. */
  advance(): boolean {
    if (this.#copy === null) return false;
    const step = this.#copy.step();
    if (step === "namesDone") this.#tellsAll = this.#copiesAll;
    else if (step === "wait") return this.#finish(this.#copy.reintegration);
    return true;
  }

  beginPoint(final = false): boolean {
    if (this.#stream.link === null || this.phase === "handshake" || !this.node.marks.beginPoint())
      return false;
    const unlisted = this.node.mutant === "resumesUnlisted" && this.#copiesAll;
    this.#point = {
      number: ++this.#points,
      began: this.world.time,
      localDone: false,
      targetDone: false,
      final,
      tellsAll: this.#tellsAll || unlisted,
    };
    this.#frame.ticket = this.#points;
    this.#frame.flags = this.#point.tellsAll ? 1 : 0;
    this.#stream.send(FrameType.DURABLE_POINT);
    return true;
  }

  /** This node's disk holds what the durable point is about. Throws DiskError. */
  syncPoint(): boolean {
    if (this.#point === null || this.#point.localDone) return false;
    const { fs, marks } = this.node;
    for (const { id } of marks.pointObjects()) fs.sync(fs.find(id));
    fs.commit();
    this.#point.localDone = true;
    this.#confirmPoint();
    return true;
  }

  /** The local half of the oldest fsync, or the answers of those that have both. Throws DiskError: that fsync is answered with it. */
  stepSyncs(): boolean {
    return this.#syncs.step();
  }

  #finish(reintegration: Reintegration): boolean {
    if (!reintegration.isComplete || this.#stream.applied < this.#stream.last || this.caughtUpSent)
      return false;
    if (this.phase === "reintegrating") {
      // From here on nothing is acknowledged without the peer: it is about to become as good as this node.
      this.phase = "together";
      this.#syncs.together();
    }
    if (this.node.mutant === "noFinalPoint") this.#sendCaughtUp();
    else if (this.#point === null) return this.beginPoint(true);
    return this.node.mutant === "noFinalPoint";
  }

  #confirmPoint(): void {
    const point = this.#point;
    if (
      point === null ||
      !point.localDone ||
      !(point.targetDone || this.node.mutant === "confirmsWithoutTarget")
    )
      return;
    this.#point = null;
    if (point.tellsAll) this.node.beganFor = this.#stream.link!.target.copyId;
    if (point.tellsAll && this.node.mutant === "resumesUnlisted") this.node.marks.peerTells();
    if (this.node.mutant !== "neverClean") this.node.marks.confirmPoint();
    if (this.phase === "inSync" || point.final) this.world.settledUpTo(point.began);
    if (point.final && this.#copy?.reintegration.isComplete) this.#sendCaughtUp();
  }

  #sendCaughtUp(): void {
    this.caughtUpSent = true;
    this.#frame.ticket = 0;
    this.#frame.data.set(nameBytes(JSON.stringify(this.node.record.generations)));
    this.#stream.send(FrameType.CAUGHT_UP);
  }

  // ---- what the application does: false when it must wait --------------------------------------------------------------

  write(inode: Inode, block: number, count: number, content: number): boolean {
    const { fs, marks } = this.node;
    const [offset, length] = [block * BLOCK_BYTES, count * BLOCK_BYTES];
    if (!this.#admitted(marks.admitData(inode.id, offset, length))) return false;
    fs.write(inode, block, count, content);
    const decision = this.#copy?.reintegration.data(inode.id, offset, length);
    if (decision === undefined && this.node.mutant !== "marksNothing")
      marks.touchData(inode.id, offset, length, this.#level);
    if (!this.#isSent(decision)) return true;
    this.#frame.id = inode.id;
    this.#frame.offset = offset;
    this.#frame.data.set(blockBytes([...Array(count)].map(() => content)));
    this.#stream.send(FrameType.WRITE);
    return true;
  }

  truncate(inode: Inode, size: number): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitTail(inode.id, size * BLOCK_BYTES))) return false;
    fs.truncate(inode, size);
    const decision = this.#copy?.reintegration.attributes(inode.id, size * BLOCK_BYTES);
    if (decision === undefined) marks.touchTail(inode.id, size * BLOCK_BYTES, this.#level);
    if (this.#isSent(decision)) this.#sendAttributes(inode, 8);
    return true;
  }

  setMode(inode: Inode, mode: number): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitAttributes(inode.id))) return false;
    fs.setMode(inode, mode);
    const decision = this.#copy?.reintegration.attributes(inode.id, -1);
    if (decision === undefined) marks.touchAttributes(inode.id, this.#level);
    if (this.#isSent(decision)) this.#sendAttributes(inode, 1);
    return true;
  }

  create(parent: Inode, name: string, type: number): number {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitNames(parent.id))) return 0;
    const id = marks.newIdentity();
    if (id === 0) return 0;
    fs.make(id, type, 0o600, parent.id, name);
    fs.setMtime(parent, this.world.time);
    const directory = type === DT_DIR;
    const decision = this.#copy?.reintegration.create(parent.id, id, directory);
    if (decision === undefined) {
      marks.created(id, directory, this.#level);
      marks.touchNames(parent.id, this.#level);
    }
    this.#sendNameChange(decision, FrameType.CREATE, parent, name, () => {
      this.#frame.id = id;
      this.#frame.mode = type;
      this.#frame.data.set(new Uint8Array(0));
    });
    return id;
  }

  link_(inode: Inode, oldParent: Inode, parent: Inode, name: string): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitNames(parent.id) && marks.admitNames(oldParent.id))) return false;
    fs.link(inode, parent.id, name);
    fs.setMtime(parent, this.world.time);
    const decision = this.#copy?.reintegration.link(inode.id, oldParent.id, parent.id);
    if (decision === undefined) {
      marks.touchNames(parent.id, this.#level);
      marks.touchNames(oldParent.id, this.#level);
    }
    this.#sendNameChange(decision, FrameType.LINK, parent, name, () => {
      this.#frame.id = inode.id;
    });
    return true;
  }

  unlink(parent: Inode, name: string, inode: Inode): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitNames(parent.id))) return false;
    fs.unlink(parent.id, name);
    fs.setMtime(parent, this.world.time);
    const decision = this.#copy?.reintegration.unlink(parent.id, inode.id, inode.type === DT_DIR);
    if (decision === undefined) marks.touchNames(parent.id, this.#level);
    this.#sendNameChange(decision, FrameType.UNLINK, parent, name, () => {
      this.#frame.id = inode.id;
      this.#frame.flags = inode.type === DT_DIR ? REMOVES_DIRECTORY : this.#keeps(inode);
    });
    return true;
  }

  rename(from: Inode, fromName: string, to: Inode, toName: string, exchange: boolean): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitNames(from.id) && marks.admitNames(to.id))) return false;
    const moved = fs.lookup(from.id, fromName);
    const met = exchange ? null : fs.lookup(to.id, toName);
    fs.rename(from.id, fromName, to.id, toName, exchange);
    fs.setMtime(from, this.world.time);
    fs.setMtime(to, this.world.time);
    const decision = this.#copy?.reintegration.rename(from.id, to.id, met?.id ?? 0);
    if (decision === undefined) {
      marks.touchNames(from.id, this.#level);
      marks.touchNames(to.id, this.#level);
    }
    if (met !== null && met !== moved && this.#isSent(decision) && this.#keeps(met) !== 0)
      this.#sendNameChange(decision, FrameType.UNLINK, to, toName, () => {
        this.#frame.id = met.id;
        this.#frame.flags = KEEPS_OTHERS;
      });
    this.#sendNameChange(decision, FrameType.RENAME, from, fromName, () => {
      this.#frame.toParent = to.id;
      this.#frame.toName.set(nameBytes(toName));
      this.#frame.toSeconds = this.world.time;
      this.#frame.flags = exchange ? 2 : 0;
    });
    return true;
  }

  fsync(inode: Inode): void {
    const ticket = this.#syncs.ask(inode);
    if (this.#stream.link === null || this.#syncs.isSettled(ticket)) return;
    this.#frame.id = inode.id;
    this.#frame.flags = 0;
    this.#frame.ticket = ticket;
    this.#stream.send(FrameType.SYNC);
  }

  // ---- sending ---------------------------------------------------------------------------------------------------------

  get #level(): Level {
    return this.phase === "inSync" ? Level.TOUCHED : Level.DIRTY;
  }

  #admitted(admitted: boolean): boolean {
    if (this.node.mutant === "admitsBeforeDurable") return true;
    return admitted;
  }

  /** Flags of UNLINK for a file that has just lost a name. */
  #keeps({ id, type }: Inode): number {
    if (type === DT_DIR || (this.#copy?.reintegration.areAllPlaced ?? true)) return 0;
    return this.node.fs.find(id) === null ? 0 : KEEPS_OTHERS;
  }

  #isSent(decision: Decision | undefined): boolean {
    if (decision === undefined) return this.phase === "inSync";
    return decision === Decision.SEND || this.node.mutant === "sendsUnplaced";
  }

  #sendNameChange(
    decision: Decision | undefined,
    type: FrameType,
    parent: Inode,
    name: string,
    fill: () => void,
  ): void {
    if (this.#isSent(decision)) {
      fill();
      this.#frame.parent = parent.id;
      this.#frame.parentSeconds = this.world.time;
      this.#frame.name.set(nameBytes(name));
      this.#stream.send(type);
    }
    this.#copy?.namesChanged();
  }

  #sendAttributes(inode: Inode, valid: number): void {
    this.#frame.id = inode.id;
    this.#frame.valid = valid;
    this.#frame.mode = inode.mode;
    this.#frame.size = inode.size * BLOCK_BYTES;
    this.#stream.send(FrameType.SETATTR);
  }
}
