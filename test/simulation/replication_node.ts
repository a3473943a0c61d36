/**
 * A node of the simulator: the real marks, wire codec and reintegration around a file system in memory.
 *
 * What a real node does through system calls happens here at once or, where a crash may come between, in steps of its own
 * that the world schedules.
 */
import type { DurableRecord } from "../../core/failover/types.ts";
import { Marks, type MarksOptions } from "../../core/replication/marks.ts";
import { recoverMarks } from "../../core/replication/marks_recovery.ts";
import { DT_DIR } from "../../core/replication/names.ts";
import { DT_REG, ModelFileSystem } from "./model_file_system.ts";
import type { SourceRole } from "./replication_source.ts";
import type { TargetRole } from "./replication_target.ts";

/** A guarantee broken on purpose, to see that the simulator notices. */
export type Mutant =
  | "marksNothing"
  | "admitsBeforeDurable"
  | "clearsAtSend"
  | "confirmsWithoutTarget"
  | "targetSyncLies"
  | "acknowledgesAlone"
  | "noUnion"
  | "sendsUnplaced"
  | "noFinalPoint"
  | "forgetsPeer"
  | "resumesUnlisted"
  | "resumesAnyDisk"
  | "appliesOutOfOrder"
  | "copiesTooMuch"
  | "neverClean"
  | "ignoresDiskErrors";

/** A broken guarantee. The world adds the seed. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** A uniform number below `below`, from the seed. */
export type Random = (below: number) => number;

export type Lineage = Pick<DurableRecord, "generations" | "consistency" | "counter" | "peerCounter">;

/** Identities that a new disk's marks may not know to be given out. */
const SKIPPED = 2 ** 20;
let disks = 0;

/** One node: its disk, and what it is doing. */
export class SimNode {
  fs: ModelFileSystem;
  /** Which disk this is. */
  copyId = ++disks;
  record: Lineage;
  /** The copy of which a full copy was begun, once the marks tell all that it lacks. Durable, as the record is. */
  beganFor: number | null = null;
  marks: Marks;
  role: SourceRole | TargetRole | null = null;
  up = true;
  #map: Uint8Array | null = null;
  #log = new Uint8Array(0);
  #writing: { bytes: Uint8Array; at: number; upTo: number } | null = null;
  #rewriting: Uint8Array | null = null;
  readonly #options: MarksOptions;

  constructor(
    readonly name: string,
    nodeNumber: 1 | 2,
    readonly random: Random,
    readonly mutant: Mutant | null,
  ) {
    this.fs = new ModelFileSystem(random);
    const placeOf = (id: number) => {
      const place = this.fs.placeOf(id);
      return place.parent === -1 ? null : place;
    };
    // Few objects, or hardly any, have marks of their own: the rest is marked in pages, as in a very large tree.
    const mostObjects = [1000, 4, 0][random(3)]!;
    this.#options = { nodeNumber, placeOf, activeExtents: 6, activeItems: 7, mostObjects };
    this.record = {
      generations: { current: "g0", parted: null, history: [] },
      consistency: "uptodate",
      counter: 0,
      peerCounter: 0,
    };
    this.marks = new Marks(this.#options);
    this.flushMarks();
  }

  /** What people call the object. */
  nameOf(id: number): string {
    for (const { inode, path } of this.fs.paths()) if (inode.id === id) return path;
    return "a removed file";
  }

  /** One step of writing the marks: something is taken to be written, or what was taken is durable. False: nothing to do. */
  stepMarks(): boolean {
    if (this.#rewriting !== null) {
      this.#map = this.#rewriting;
      this.#rewriting = null;
      const header = this.marks.rewritten();
      // A crash may come between the new map and the new log.
      if (this.random(4) !== 0) this.#log = header.slice() as Uint8Array<ArrayBuffer>;
      else this.#writing = { bytes: header, at: 0, upTo: -1 };
      return true;
    }
    if (this.#writing !== null) {
      const { bytes, at, upTo } = this.#writing;
      this.#writing = null;
      this.#log = joined(at === 0 ? new Uint8Array(0) : this.#log, at, bytes);
      if (upTo >= 0) this.marks.logged(upTo);
      return true;
    }
    if (this.marks.wantsRewrite || this.random(40) === 0) {
      this.#rewriting = this.marks.startRewrite();
      return true;
    }
    this.#writing = this.marks.takeLog();
    return this.#writing !== null;
  }

  /** Writes the marks until there is nothing left to write. */
  flushMarks(): void {
    while (this.stepMarks());
  }

  /** Power cut: of the log record in flight a part may be on disk. */
  crash(): void {
    this.up = false;
    this.role = null;
    this.fs.crash();
    if (this.#writing !== null && this.#writing.at > 0) {
      const { bytes, at } = this.#writing;
      this.#log = joined(this.#log, at, bytes.subarray(0, this.random(bytes.length + 1)));
    }
    this.#writing = this.#rewriting = null;
  }

  /** Holds a small tree from before, as the other node does. */
  populate(): void {
    const { fs } = this;
    let id = 2 ** 45 + 2;
    let parent = id;
    for (const name of ["b", "c", "d"]) {
      fs.make(++id, DT_DIR, 0o600, parent, name);
      parent = id;
      fs.make(++id, DT_REG, 0o600, parent, "a");
      fs.write(fs.find(id)!, 0, 3, id);
    }
    fs.syncAll();
  }

  /** Another disk: with nothing on it that anybody knows, or once a copy of this (`stale`), and nobody knows which blocks are right. */
  replaceDisk(stale: boolean): void {
    if (stale) this.fs.rot();
    else this.fs = new ModelFileSystem(this.random);
    this.copyId = ++disks;
    this.beganFor = null;
    this.record = { ...this.record, generations: NO_GENERATIONS, consistency: "blank" };
    const { reservedTo } = this.marks.made;
    this.marks = new Marks(this.#options);
    this.marks.made.reservedTo = this.marks.made.newFrom = this.marks.made.next = reservedTo + SKIPPED;
    this.#map = this.#writing = this.#rewriting = null;
    this.#log = new Uint8Array(0);
    this.forgetMarks();
  }

  /** Nothing is known of what differs, and that is durable. */
  forgetMarks(): void {
    this.marks.everything = true;
    this.flushMarks();
    this.#rewriting = this.marks.startRewrite();
    this.flushMarks();
  }

  /** Boot after a power cut. */
  restart(): void {
    this.up = true;
    const { marks, fault } = recoverMarks(this.#options, this.#map, this.#log);
    if (fault !== null) throw new Violation(`G1: ${this.name}: marks lost after a crash: ${fault}`);
    this.marks = marks;
  }
}

const NO_GENERATIONS = { current: "", parted: null, history: [] };

function joined(log: Uint8Array, at: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (at !== log.length) throw new Violation(`marks: the log has ${log.length} bytes and goes on at ${at}`);
  const longer = new Uint8Array(at + bytes.length);
  longer.set(log);
  longer.set(bytes, at);
  return longer;
}
