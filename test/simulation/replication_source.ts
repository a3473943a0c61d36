/** The source's half of the simulated data path: what the replication process of a primary does with the real cores. */
import { rejoin, relation } from "../../core/replication/generations.ts";
import { BLOCK_BYTES, Level } from "../../core/replication/marks.ts";
import { unionMarks } from "../../core/replication/marks_recovery.ts";
import { type Announced, DT_DIR } from "../../core/replication/names.ts";
import { Frame, FrameType, frameBound } from "../../core/replication/operation.ts";
import { entryBytes, putEntry } from "../../core/replication/packed.ts";
import { Decision, Reintegration } from "../../core/replication/reintegration.ts";
import { SendWindow, SyncTickets } from "../../core/replication/window.ts";
import { type Inode, TOP } from "./model_file_system.ts";
import { type SimNode, Violation } from "./replication_node.ts";
import type { Link, World } from "./replication_world.ts";

/** Blocks that one DATA frame carries at most. */
const MOST_BLOCKS = 700;

/** An fsync of the application that was not answered yet. */
interface OpenSync {
  id: number;
  inode: Inode;
  ticket: number;
  localDone: boolean;
  /** What it promises: the content when it was asked for. */
  time: number;
  blocks: Map<number, number>;
}

export const nameBytes = (name: string): Uint8Array => new TextEncoder().encode(name);

/** A node that serves the application. */
export class SourceRole {
  readonly kind = "source";
  /** alone: durably the only one. held: the peer is gone and nobody has recorded it yet. together: syncs wait for the peer, its copy is complete. */
  phase: "alone" | "held" | "handshake" | "reintegrating" | "together" | "inSync" = "alone";
  /** The target may have recorded itself up to date, unknown to this node. */
  caughtUpSent = false;
  link: Link | null = null;
  reintegration: Reintegration | null = null;
  readonly #tickets = new SyncTickets();
  #window = this.#newWindow();
  #connection = 0;
  #rangesSent = false;
  /** The target is blank: everything is copied to it, now or since an earlier connection. */
  #copiesAll = false;
  /** The marks tell all that it lacks. */
  #tellsAll = false;
  #syncs: OpenSync[] = [];
  #point: {
    number: number;
    began: number;
    localDone: boolean;
    targetDone: boolean;
    final: boolean;
    tellsAll: boolean;
  } | null = null;
  #points = 0;
  readonly #frame = new Frame();

  constructor(
    readonly node: SimNode,
    readonly world: World,
  ) {
    node.marks.peerGone();
  }

  // ---- the connection --------------------------------------------------------------------------------------------------

  connect(link: Link): void {
    this.link = link;
    this.#connection = this.#tickets.connected();
    this.#window = this.#newWindow();
    this.phase = "handshake";
  }

  /** The link is cut. In sync, nothing is acknowledged until somebody recorded who goes on. */
  lost(): void {
    const wasTogether = this.phase === "inSync" || (this.phase === "together" && this.caughtUpSent);
    this.link = null;
    this.reintegration = null;
    this.#point = null;
    if (this.node.mutant !== "forgetsPeer") this.node.marks.peerGone();
    this.phase = wasTogether ? "held" : "alone";
    if (this.phase === "alone") this.#tickets.alone();
  }

  /** This node is durably the only one. */
  goAlone(): void {
    this.phase = "alone";
    this.caughtUpSent = false;
    this.#tickets.alone();
  }

  receive(bytes: Uint8Array): void {
    const frame = new Frame();
    if (frame.decode(bytes, 0, bytes.length) !== bytes.length)
      throw new Violation("a frame of the target is cut off");
    if (frame.type === FrameType.ACK) {
      if (!this.#window.acknowledge(frame.applied, frame.inHands))
        throw new Violation("acknowledged what was never sent");
    } else if (frame.type === FrameType.MARKS) {
      if (!unionMarks(this.node.marks, frame.data.copy()))
        throw new Violation("the target's marks are damaged");
    } else if (frame.type === FrameType.MARKS_END) this.#startReintegration();
    else if (frame.type === FrameType.NEED) {
      const inode = this.node.fs.find(frame.id);
      if (inode !== null) this.reintegration?.needed(frame.id, inode.type === DT_DIR);
    } else if (frame.type === FrameType.SYNC_DONE) this.#tickets.settle(frame.ticket, this.#connection);
    else if (frame.type === FrameType.DURABLE_DONE) {
      if (this.#point?.number === frame.ticket) this.#point.targetDone = true;
      this.#confirmPoint();
    } else if (frame.type === FrameType.CAUGHT_UP_DONE) {
      this.node.record = { ...this.node.record, generations: rejoin(this.node.record.generations) };
      this.node.beganFor = null;
      this.phase = "inSync";
      this.caughtUpSent = false;
      this.reintegration = null;
      this.world.reintegrated();
    } else throw new Violation(`the target sent frame type ${frame.type}`);
  }

  #startReintegration(): void {
    const { fs, marks, record, beganFor } = this.node;
    const { target, demanded, mayResume } = this.link!;
    const careless = this.node.mutant === "resumesAnyDisk" && beganFor !== null;
    if (careless) marks.peerTells();
    const began = beganFor === target.copyId || careless;
    const verdict = relation({ ...record, began }, target.record);
    if (verdict.relation !== "equal" && verdict.relation !== "theyAreAncestor")
      throw new Violation(`relation: ${verdict.why}`);
    const full = verdict.full || demanded || marks.owesEverything;
    this.#copiesAll = target.record.consistency === "blank";
    if (verdict.full && (mayResume || !this.#copiesAll))
      throw new Violation(`full copy without need: ${verdict.why}`);
    if (full) this.forgetCopy();
    this.#tellsAll = this.#copiesAll && !full;
    this.world.begins(full, this.#tellsAll);
    const tree = {
      parentOf: (id: number) => fs.placeOf(id).parent,
      nameOf: (id: number) => fs.placeOf(id).name,
    };
    this.reintegration = new Reintegration(marks, tree, [TOP], full);
    this.#rangesSent = false;
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
    const reintegration = this.reintegration;
    if (reintegration === null) return false;
    this.#announce();
    const step = reintegration.next();
    if (step.do === "list") {
      if (this.node.fs.find(step.directory) === null) reintegration.gone(step.directory);
      else reintegration.listed(step.directory, this.node.fs.list(step.directory));
    } else if (step.do === "names") this.#sendNames(step.directory);
    else if (step.do === "object") this.#sendObject(step.id);
    else if (step.do === "data") this.#sendData(step.id);
    else if (step.do === "namesDone") this.#tellsAll = this.#copiesAll;
    else if (step.do === "wait") return this.#finish(reintegration);
    return true;
  }

  beginPoint(final = false): boolean {
    if (this.link === null || this.phase === "handshake" || !this.node.marks.beginPoint()) return false;
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
    this.#send(FrameType.DURABLE_POINT);
    return true;
  }

  /** This node's disk holds what the durable point is about. */
  syncPoint(): boolean {
    if (this.#point === null || this.#point.localDone) return false;
    const { fs, marks } = this.node;
    for (const { id } of marks.pointObjects()) fs.sync(fs.find(id));
    fs.commit();
    this.#point.localDone = true;
    this.#confirmPoint();
    return true;
  }

  /** The local half of the oldest fsync, or the answers of those that have both. */
  stepSyncs(): boolean {
    const waiting = this.#syncs.find((sync) => !sync.localDone);
    if (waiting !== undefined && this.world.random(2) === 0) {
      waiting.localDone = true;
      this.node.fs.sync(waiting.inode);
      return true;
    }
    const lies = this.node.mutant === "acknowledgesAlone";
    const ready = this.#syncs.filter(
      (sync) => sync.localDone && (lies || this.#tickets.isSettled(sync.ticket)),
    );
    for (const sync of ready) this.world.acknowledged(sync.id, sync.time, sync.blocks);
    this.#syncs = this.#syncs.filter((sync) => !ready.includes(sync));
    return ready.length > 0;
  }

  #finish(reintegration: Reintegration): boolean {
    if (!reintegration.isComplete || !this.#window.isApplied(this.#window.last) || this.caughtUpSent)
      return false;
    if (this.phase === "reintegrating") {
      // From here on nothing is acknowledged without the peer: it is about to become as good as this node.
      this.phase = "together";
      this.#tickets.together();
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
    if (point.tellsAll) this.node.beganFor = this.link!.target.copyId;
    if (point.tellsAll && this.node.mutant === "resumesUnlisted") this.node.marks.peerTells();
    this.node.marks.confirmPoint();
    if (this.phase === "inSync" || point.final) this.world.settledUpTo(point.began);
    if (point.final && this.reintegration?.isComplete) this.#sendCaughtUp();
  }

  #sendCaughtUp(): void {
    this.caughtUpSent = true;
    this.#frame.ticket = 0;
    this.#frame.data.set(nameBytes(JSON.stringify(this.node.record.generations)));
    this.#send(FrameType.CAUGHT_UP);
  }

  // ---- what the application does: false when it must wait --------------------------------------------------------------

  write(inode: Inode, block: number, count: number, content: number): boolean {
    const { fs, marks } = this.node;
    const [offset, length] = [block * BLOCK_BYTES, count * BLOCK_BYTES];
    if (!this.#admitted(marks.admitData(inode.id, offset, length))) return false;
    fs.write(inode, block, count, content);
    const decision = this.reintegration?.data(inode.id, offset, length);
    if (decision === undefined && this.node.mutant !== "marksNothing")
      marks.touchData(inode.id, offset, length, this.#level);
    if (!this.#isSent(decision)) return true;
    this.#frame.id = inode.id;
    this.#frame.offset = offset;
    this.#frame.data.set(this.#content([...Array(count)].map(() => content)));
    this.#send(FrameType.WRITE);
    return true;
  }

  truncate(inode: Inode, size: number): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitTail(inode.id, size * BLOCK_BYTES))) return false;
    fs.truncate(inode, size);
    const decision = this.reintegration?.attributes(inode.id, size * BLOCK_BYTES);
    if (decision === undefined) marks.touchTail(inode.id, size * BLOCK_BYTES, this.#level);
    if (this.#isSent(decision)) this.#sendAttributes(inode, 8);
    return true;
  }

  setMode(inode: Inode, mode: number): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitAttributes(inode.id))) return false;
    fs.setMode(inode, mode);
    const decision = this.reintegration?.attributes(inode.id, -1);
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
    const decision = this.reintegration?.create(parent.id, id, directory);
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
    const decision = this.reintegration?.link(inode.id, oldParent.id, parent.id);
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
    const decision = this.reintegration?.unlink(parent.id, inode.id, inode.type === DT_DIR);
    if (decision === undefined) marks.touchNames(parent.id, this.#level);
    this.#sendNameChange(decision, FrameType.UNLINK, parent, name, () => {
      this.#frame.id = inode.id;
      this.#frame.flags = inode.type === DT_DIR ? 1 : 0;
    });
    return true;
  }

  rename(from: Inode, fromName: string, to: Inode, toName: string, exchange: boolean): boolean {
    const { fs, marks } = this.node;
    if (!this.#admitted(marks.admitNames(from.id) && marks.admitNames(to.id))) return false;
    const met = exchange ? null : fs.lookup(to.id, toName);
    fs.rename(from.id, fromName, to.id, toName, exchange);
    fs.setMtime(from, this.world.time);
    fs.setMtime(to, this.world.time);
    const decision = this.reintegration?.rename(from.id, to.id, met?.id ?? 0);
    if (decision === undefined) {
      marks.touchNames(from.id, this.#level);
      marks.touchNames(to.id, this.#level);
    }
    this.#sendNameChange(decision, FrameType.RENAME, from, fromName, () => {
      this.#frame.toParent = to.id;
      this.#frame.toName.set(nameBytes(toName));
      this.#frame.toSeconds = this.world.time;
      this.#frame.flags = exchange ? 2 : 0;
    });
    return true;
  }

  fsync(inode: Inode): void {
    const ticket = this.#tickets.take(0);
    if (this.link !== null && !this.#tickets.isSettled(ticket)) {
      this.#frame.id = inode.id;
      this.#frame.flags = 0;
      this.#frame.ticket = ticket;
      this.#send(FrameType.SYNC);
    }
    const blocks = new Map(
      [...Array(inode.size).keys()].map((block) => [block, inode.blocks.get(block) ?? 0]),
    );
    this.#syncs.push({ id: inode.id, inode, ticket, localDone: false, time: this.world.time, blocks });
  }

  // ---- sending ---------------------------------------------------------------------------------------------------------

  get #level(): Level {
    return this.phase === "inSync" ? Level.TOUCHED : Level.DIRTY;
  }

  #admitted(admitted: boolean): boolean {
    if (this.node.mutant === "admitsBeforeDurable") return true;
    return admitted;
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
      this.#send(type);
    }
    this.#announce();
    for (const directory of this.reintegration?.resend.splice(0) ?? []) this.#sendNames(directory);
  }

  #announce(): void {
    const announced: Announced[] = this.reintegration?.takeAnnounced() ?? [];
    if (announced.length > 0 && !this.#rangesSent) {
      this.#rangesSent = true;
      for (const { from, to } of this.reintegration!.ranges) {
        this.#frame.id = from;
        this.#frame.parent = to;
        this.#send(FrameType.PLACE_RANGE);
      }
    }
    for (const { id, parent, name, dirty } of announced) {
      this.#frame.id = id;
      this.#frame.parent = parent;
      this.#frame.name.set(nameBytes(parent === 0 ? "-" : name));
      this.#frame.flags = dirty ? 1 : 0;
      this.#send(FrameType.PLACE);
    }
    if (announced.length > 0) this.#send(FrameType.PLACES_END);
  }

  #sendNames(directory: number): void {
    const entries = this.node.fs.list(directory);
    const packed = new Uint8Array(entries.reduce((sum, { name }) => sum + entryBytes(name.length), 0));
    let at = 0;
    for (const { id, type, name, hasOthers } of entries)
      at = putEntry(packed, at, id, type, nameBytes(name), hasOthers);
    this.#frame.id = directory;
    this.#frame.data.set(packed);
    this.#send(FrameType.DIR_NAMES);
    this.#frame.parentSeconds = this.node.fs.directory(directory).mtime;
    this.#send(FrameType.DIR_END);
    this.reintegration!.namesSent(directory, entries);
  }

  #sendObject(id: number): void {
    const inode = this.node.fs.find(id);
    if (inode === null) {
      this.reintegration!.gone(id);
      return;
    }
    this.#frame.id = id;
    this.#frame.mode = inode.mode;
    this.#frame.size = inode.size * BLOCK_BYTES;
    this.#frame.offset = this.node.marks.worthlessFrom(id);
    this.#frame.data.set(new Uint8Array(0));
    this.#send(FrameType.OBJECT);
    this.reintegration!.objectSent(id);
    this.world.copiedObject(id);
  }

  #sendData(id: number): void {
    const { fs, marks } = this.node;
    const inode = fs.find(id);
    if (inode === null) {
      this.reintegration!.gone(id);
      return;
    }
    const size = inode.size * BLOCK_BYTES;
    const range = marks.nextDirty(id, size, MOST_BLOCKS * BLOCK_BYTES);
    if (range === null) {
      this.#frame.id = id;
      this.#send(FrameType.OBJECT_END);
      this.reintegration!.objectDone(id);
      return;
    }
    const first = range.offset / BLOCK_BYTES;
    const blocks = [...Array(range.length / BLOCK_BYTES).keys()].map((index) => first + index);
    this.world.copiedBlocks(id, blocks);
    this.#frame.id = id;
    this.#frame.offset = range.offset;
    this.#frame.data.set(this.#content(blocks.map((block) => inode.blocks.get(block) ?? 0)));
    this.#send(FrameType.DATA);
    marks.copiedData(id, range, size);
  }

  #sendAttributes(inode: Inode, valid: number): void {
    this.#frame.id = inode.id;
    this.#frame.valid = valid;
    this.#frame.mode = inode.mode;
    this.#frame.size = inode.size * BLOCK_BYTES;
    this.#send(FrameType.SETATTR);
  }

  /** In the model a block's content is one number: it travels as such. */
  #content(values: number[]): Uint8Array {
    return new Uint8Array(Float64Array.from(values).buffer);
  }

  #send(type: FrameType): void {
    if (this.link === null) return;
    this.#frame.type = type;
    const bytes = new Uint8Array(
      frameBound(this.#frame.name.length + this.#frame.toName.length + this.#frame.data.length),
    );
    this.#frame.sequence = this.#window.send(bytes.length, 0);
    const end = this.#frame.encode(bytes, 0);
    this.link.toTarget.push(bytes.subarray(0, end));
    if (this.node.mutant === "clearsAtSend") {
      this.node.marks.beginPoint();
      this.node.marks.confirmPoint();
    }
  }

  #newWindow(): SendWindow {
    return new SendWindow({ bytes: 1 << 20, ageMs: 1000, timeoutMs: 5000 });
  }
}
