/** The target's half of the simulated data path: applies the stream in order, reconciles names, answers. */
import type { Generations } from "../../core/failover/types.ts";
import { adopt } from "../../core/replication/generations.ts";
import { BLOCK_BYTES } from "../../core/replication/marks.ts";
import { exportMarks } from "../../core/replication/marks_export.ts";
import {
  type Announced,
  DT_DIR,
  type Entry,
  KEEPS_OTHERS,
  LIMBO,
  Locations,
  limboName,
  type NameAction,
  reconcile,
} from "../../core/replication/names.ts";
import { Frame, FrameType, frameBound } from "../../core/replication/operation.ts";
import { EntryReader } from "../../core/replication/packed.ts";
import { DT_REG, type Inode, type ModelFileSystem, TOP } from "./model_file_system.ts";
import { type SimNode, Violation } from "./replication_node.ts";
import type { Link } from "./replication_pair.ts";

/** A node that follows. */
export class TargetRole {
  readonly kind = "target";
  readonly #out = new Frame();
  readonly #entries = new EntryReader();
  #locations: Locations | null = null;
  #announced: Announced[] = [];
  #wanted: Entry[] = [];
  #syncs: { id: number; ticket: number }[] = [];
  #point = 0;
  #applied = 0;

  constructor(
    readonly node: SimNode,
    readonly link: Link,
  ) {
    node.record = { ...node.record, consistency: "inconsistent" };
    if (node.mutant !== "noUnion") {
      for (const chunk of exportMarks(node.marks)) {
        this.#out.data.set(chunk);
        this.#send(FrameType.MARKS);
      }
    }
    this.#send(FrameType.MARKS_END);
  }

  get #fs(): ModelFileSystem {
    return this.node.fs;
  }

  /** Applies one frame, and returns its sequence. Throws DiskError. */
  receive(bytes: Uint8Array): number {
    const frame = new Frame();
    if (frame.decode(bytes, 0, bytes.length) !== bytes.length)
      throw new Violation("stream: a frame of the source is cut off");
    if (frame.sequence !== this.#applied + 1 && this.node.mutant !== "appliesOutOfOrder")
      throw new Violation(`G2: frame ${frame.sequence} after ${this.#applied}`);
    this.#apply(frame);
    this.#applied = this.#out.applied = this.#out.inHands = frame.sequence;
    this.#send(FrameType.ACK);
    return frame.sequence;
  }

  /** One fsync, or the durable point, reaches this disk. Throws DiskError. */
  stepSyncs(): boolean {
    const lies = this.node.mutant === "targetSyncLies";
    const sync = this.#syncs.shift();
    if (sync !== undefined) {
      if (!lies) this.#trySync(() => this.#fs.sync(this.#fs.find(sync.id, true)));
      this.#out.ticket = sync.ticket;
      this.#send(FrameType.SYNC_DONE);
      return true;
    }
    if (this.#point === 0) return false;
    if (!lies) this.#trySync(() => this.#fs.syncAll());
    this.#out.ticket = this.#point;
    this.#point = 0;
    this.#send(FrameType.DURABLE_DONE);
    return true;
  }

  #trySync(sync: () => void): void {
    try {
      sync();
    } catch (error) {
      if (this.node.mutant !== "ignoresDiskErrors") throw error;
    }
  }

  #apply(frame: Frame): void {
    const name = frame.name.key();
    const place = { parent: frame.parent, name };
    switch (frame.type) {
      case FrameType.CREATE:
        this.#fs.make(frame.id, frame.mode, 0o600, frame.parent, name);
        this.#locations?.added(frame.id, frame.mode, place);
        this.#touchDirectory(frame.parent, frame.parentSeconds);
        return;
      case FrameType.LINK: {
        const inode = this.#object(frame.id);
        this.#fs.link(inode, frame.parent, name);
        this.#locations?.added(frame.id, inode.type, place);
        this.#touchDirectory(frame.parent, frame.parentSeconds);
        return;
      }
      case FrameType.UNLINK:
        if (this.#fs.lookup(frame.parent, name)?.id !== frame.id)
          throw new Violation(`G2: UNLINK: ${name} is not ${frame.id}`);
        if (frame.flags === KEEPS_OTHERS) this.#keep(frame.id);
        this.#fs.unlink(frame.parent, name);
        this.#locations?.removed(place);
        this.#touchDirectory(frame.parent, frame.parentSeconds);
        return;
      case FrameType.RENAME: {
        if (this.#fs.lookup(frame.parent, name) === null)
          throw new Violation(`G2: RENAME: ${name} is not there`);
        const to = { parent: frame.toParent, name: frame.toName.key() };
        this.#fs.rename(frame.parent, name, to.parent, to.name, frame.flags === 2);
        this.#locations?.renamed(place, to, frame.flags === 2);
        this.#touchDirectory(frame.parent, frame.parentSeconds);
        this.#touchDirectory(to.parent, frame.toSeconds);
        return;
      }
      case FrameType.SETATTR:
        if (frame.valid & 1) this.#fs.setMode(this.#object(frame.id), frame.mode);
        if (frame.valid & 8) this.#fs.truncate(this.#object(frame.id), frame.size / BLOCK_BYTES);
        return;
      case FrameType.WRITE:
      case FrameType.DATA:
        this.#write(frame);
        return;
      case FrameType.SYNC:
        this.#syncs.push({ id: frame.id, ticket: frame.ticket });
        return;
      case FrameType.DURABLE_POINT:
        this.#point = frame.ticket;
        if (frame.flags === 1) {
          this.node.marks.peerTells();
          this.node.flushMarks();
        }
        return;
      case FrameType.PLACE:
        this.#announced.push({
          id: frame.id,
          parent: frame.parent,
          name,
          dirty: frame.flags === 1,
        });
        return;
      case FrameType.PLACE_RANGE:
        this.#located().announceRange(frame.id, frame.parent);
        return;
      case FrameType.PLACES_END:
        this.#announce();
        return;
      case FrameType.DIR_NAMES:
        this.#entries.open(frame.data);
        while (this.#entries.next()) {
          this.#wanted.push({
            id: this.#entries.id,
            type: this.#entries.type,
            name: this.#entries.name.key(),
            hasOthers: this.#entries.hasOthers,
          });
        }
        return;
      case FrameType.DIR_END:
        this.#reconcile(frame.id);
        this.#touchDirectory(frame.id, frame.parentSeconds);
        return;
      case FrameType.OBJECT: {
        const inode = this.#object(frame.id);
        this.#fs.setMode(inode, frame.mode);
        if (inode.type !== DT_REG) return;
        if (frame.offset / BLOCK_BYTES < inode.size) this.#fs.truncate(inode, frame.offset / BLOCK_BYTES);
        this.#fs.truncate(inode, frame.size / BLOCK_BYTES);
        return;
      }
      case FrameType.OBJECT_END:
        return;
      case FrameType.CAUGHT_UP:
        this.#caughtUp(JSON.parse(frame.data.key()) as Generations);
        return;
      default:
        throw new Violation(`stream: the source sent frame type ${frame.type}`);
    }
  }

  #caughtUp(generations: Generations): void {
    this.node.record = { ...this.node.record, consistency: "uptodate", generations: adopt(generations) };
    this.node.beganFor = null;
    this.node.marks.clear();
    this.#fs.emptyLimbo();
    this.#locations = null;
    this.#send(FrameType.CAUGHT_UP_DONE);
  }

  #announce(): void {
    this.#located().announce(this.#announced);
    this.#announced = [];
  }

  #located(): Locations {
    this.#locations ??= new Locations([TOP], {
      list: (directory) => this.#fs.list(directory),
      lookup: (directory, name) => this.#fs.lookup(directory, name)?.id ?? 0,
      walk: () => this.#fs.allNames(),
    });
    return this.#locations;
  }

  /** It is about to lose a name and has others, which this copy may not have yet. */
  #keep(id: number): void {
    const locations = this.#locations;
    if (locations === null || locations.isInLimbo(id)) return;
    const inode = this.#object(id);
    const place = { parent: LIMBO, name: limboName(id) };
    this.#fs.link(inode, place.parent, place.name);
    locations.added(id, inode.type, place);
  }

  #reconcile(directory: number): void {
    const actions = reconcile(directory, this.#wanted, this.#fs.list(directory), this.#locations!);
    this.#wanted = [];
    const made = actions.filter((action) => action.do === "make");
    for (const { id, type } of made) this.node.marks.markWhole(id, type === DT_DIR, true);
    if (made.length > 0) this.node.flushMarks();
    for (const action of actions) this.#act(directory, action);
    for (const { id } of made) {
      this.#out.id = id;
      this.#send(FrameType.NEED);
    }
  }

  #act(directory: number, action: NameAction): void {
    if (action.do === "toLimbo") this.#fs.rename(directory, action.name, LIMBO, action.limboName, false);
    else if (action.do === "remove") this.#fs.unlink(directory, action.name);
    else if (action.do === "link") this.#fs.link(this.#at(action.from, action.id), directory, action.name);
    else if (action.do === "take") {
      this.#at(action.from, action.id);
      this.#fs.rename(action.from.parent, action.from.name, directory, action.name, false);
    } else {
      if (this.#fs.find(action.id, true) !== null)
        throw new Violation(`G2: the target makes ${action.id}, which it has`);
      this.#fs.make(action.id, action.type, 0o600, directory, action.name);
    }
  }

  #at(place: { parent: number; name: string }, id: number): Inode {
    const inode = this.#fs.lookup(place.parent, place.name);
    if (inode?.id !== id) throw new Violation(`G2: ${id} is not where it was located`);
    return inode;
  }

  #write(frame: Frame): void {
    const values = new Float64Array(frame.data.copy().buffer);
    const inode = this.#object(frame.id);
    for (const [index, content] of values.entries())
      this.#fs.write(inode, frame.offset / BLOCK_BYTES + index, 1, content);
  }

  #object(id: number): Inode {
    const inode = this.#fs.find(id, true);
    if (inode === null) throw new Violation(`G2: the target has no object ${id}`);
    return inode;
  }

  #touchDirectory(id: number, mtime: number): void {
    this.#fs.setMtime(this.#fs.directory(id), mtime);
  }

  #send(type: FrameType): void {
    this.#out.type = type;
    const bytes = new Uint8Array(frameBound(this.#out.data.length));
    this.link.toSource.push(bytes.subarray(0, this.#out.encode(bytes, 0)));
  }
}
