/**
 * Reintegration, on the source: what to send next, and what becomes of live operations meanwhile.
 *
 * It runs inside the stream. A directory is *placed* when neither it nor one above it waits to be sent: then the target has
 * it in the same place with the same names. Live operations on what is placed are sent, others only marked; the mark is
 * what is copied later, so marking too much costs time and never data. Invariant: the target's placed objects differ from
 * the source's in dirty blocks and dirty attributes only.
 */
import { CopyingOrder } from "./copying_order.ts";
import { IdentitySet } from "./identity_set.ts";
import { type IdentityRange, Level, type Marks } from "./marks.ts";
import { type Announced, DT_DIR, type Entry } from "./names.ts";

/** What to do with a live operation, after it was applied here. The marks are already made. */
export const Decision = {
  /** Put it into the stream. */
  SEND: 0,
  /** Do not: what it changed is dirty. */
  MARK: 1,
  /** Instead of it, send the names of the directories in `resend`, as they are now, before anything else. */
  RESEND: 2,
} as const;
/** One of them. */
export type Decision = (typeof Decision)[keyof typeof Decision];

/** The source's own tree, as far as its caller knows it. */
export interface SourceTree {
  /** The directory that holds the object (by any of its names); 0 for a replicated directory itself; -1 if it has no name. */
  parentOf(id: number): number;
  /** The name by which that directory holds it. */
  nameOf(id: number): string;
}

/** What the source does next. */
export type Step =
  /** List this directory for `listed`, nothing is sent yet; if it is gone: `gone`. Which directories are dirty is known only after all of these. */
  | { do: "list"; directory: number }
  /** List this directory and send its names, in one go; then `namesSent`. */
  | { do: "names"; directory: number }
  /** Send OBJECT with all attributes; then `objectSent`. If the object is gone: `gone`. */
  | { do: "object"; id: number }
  /** Read `marks.nextDirty`, send it, `marks.copiedData`; when there is none left: OBJECT_END, `objectDone`. */
  | { do: "data"; id: number }
  /** Everything is sent. What the target still asks for (NEED) comes before its acknowledgement of this point: wait for that. */
  | { do: "wait" }
  /** All names are equal (once): everything is placed. Reported before any data, for progress. */
  | { do: "namesDone" };

/** Identities are below 2^48. */
const EVERYTHING: IdentityRange = { from: 1, to: 2 ** 48 - 1 };

/** One reintegration, from the connection to the end of it. */
export class Reintegration {
  readonly #marks: Marks;
  readonly #tree: SourceTree;
  readonly #full: boolean;
  /** Directories whose names wait to be sent. */
  readonly #unsent = new Set<number>();
  /** Directories to look through for objects that were made without a peer and have no marks of their own. */
  readonly #toList = new Set<number>();
  /** True until all are looked through: nothing is placed before. */
  #listing = true;
  /** Directories that the target must look for: taken by `takeAnnounced`. */
  readonly #toAnnounce = new Set<number>();
  /** Directories that are removed here; the target may have to look into its own for what they held, until all names are sent. */
  readonly #removed = new Set<number>();
  /** Objects that were wholly dirty without a mark of their own, and have one now. */
  readonly #expanded = new IdentitySet();
  /** Objects without a name that the target has. */
  readonly #introduced = new Set<number>();
  readonly #order: CopyingOrder;
  #copying = 0;
  #copyingSent = false;
  #namesReported = false;
  /**
   * Identities of objects made without a peer: to be announced (PLACE_RANGE) before any directory. All of them for a full copy: another disk may hold
   * objects in directories that were never heard of here.
   */
  readonly ranges: readonly IdentityRange[];
  /** The directory that is being listed, and whether its names changed since that began. */
  #watched = 0;
  #hasChanged = false;
  /** Directories to send again, after a RESEND. */
  readonly resend: number[] = [];

  /** `full`: copy everything, whatever the marks say. */
  constructor(marks: Marks, tree: SourceTree, tops: Iterable<number>, full: boolean) {
    this.#marks = marks;
    this.#tree = tree;
    this.#order = new CopyingOrder(marks);
    this.#full = full || marks.everything;
    marks.peerBack();
    this.ranges = this.#full ? [EVERYTHING] : marks.made.rangesOnDisk;
    for (const directory of marks.dirtyDirectories()) this.#mustSend(directory);
    if (this.#full) for (const top of tops) this.#expand(top, true);
    this.#endListing(0);
  }

  get isFull(): boolean {
    return this.#full;
  }

  /**
   * Directories to announce (PLACE …, PLACES_END), ancestors first. Ask before sending any names, and after the frame of an
   * operation that was to be sent: what is announced is the tree as it is after everything sent. Empty most of the time.
   */
  takeAnnounced(): Announced[] {
    if (this.#listing || this.#toAnnounce.size === 0) return [];
    const announced = new Map<number, Announced>();
    for (const directory of this.#toAnnounce) this.#announceChain(directory, announced);
    this.#toAnnounce.clear();
    return [...announced.values()];
  }

  /** What to do next. */
  next(): Step {
    for (const unlisted of this.#toList) return { do: "list", directory: unlisted };
    const directory = this.#nextDirectory();
    if (directory !== 0) return { do: "names", directory };
    for (const removed of this.#removed) this.#marks.copiedNames(removed);
    this.#removed.clear();
    if (!this.#namesReported) {
      this.#namesReported = true;
      this.#marks.allNamesSent();
      return { do: "namesDone" };
    }
    if (this.#copying !== 0) return { do: this.#copyingSent ? "data" : "object", id: this.#copying };
    const id = this.#order.next();
    if (id === 0) return { do: "wait" };
    this.#copying = id;
    this.#copyingSent = false;
    return { do: "object", id };
  }

  /** Is nothing dirty any more? True together with the target's acknowledgement of everything sent: caught up. */
  get isComplete(): boolean {
    return (
      this.#unsent.size === 0 &&
      this.#namesReported &&
      this.#copying === 0 &&
      this.#marks.dirtyObjects().next().done === true
    );
  }

  /** Has the target all names where the source has them? */
  get areAllPlaced(): boolean {
    return !this.#listing && this.#unsent.size === 0;
  }

  /** The listing of a directory begins, and goes on while live operations are told. */
  watch(directory: number): void {
    this.#watched = directory;
    this.#hasChanged = false;
  }

  /** Did its names change since? Then what was listed is the names of no moment. */
  get watchedChanged(): boolean {
    return this.#hasChanged;
  }

  /** A directory's names, for a step "list". */
  listed(directory: number, entries: Iterable<Entry>): void {
    this.found(entries);
    this.#endListing(directory);
  }

  /** Some of them: more follow. */
  found(entries: Iterable<Entry>): void {
    for (const { id, type } of entries) {
      if (this.#full || this.#marks.isInDirtyRange(id)) this.#expand(id, type === DT_DIR);
    }
  }

  /** The names of a directory were sent, as they are at this point of the stream. */
  namesSent(directory: number, entries: Iterable<Entry>): void {
    this.#unsent.delete(directory);
    this.#marks.copiedNames(directory);
    this.placed(directory, entries);
  }

  /** Some of them were sent: more follow. */
  placed(directory: number, entries: Iterable<Entry>): void {
    for (const { id, name } of entries) {
      const object = this.#marks.objects.get(id);
      if (object !== undefined) object.place = { parent: directory, name };
    }
  }

  /** OBJECT was sent. */
  objectSent(id: number): void {
    this.#marks.copiedAttributes(id);
    this.#copyingSent = true;
  }

  /** OBJECT_END was sent. */
  objectDone(id: number): void {
    if (this.#copying === id) this.#copying = 0;
  }

  /** The object exists no more. */
  gone(id: number): void {
    this.#marks.lapsed(id);
    this.#unsent.delete(id);
    if (this.#marks.areNamesDirty(id)) this.#removed.add(id);
    this.#endListing(id);
    this.#introduced.delete(id);
    this.objectDone(id);
  }

  /** The target does not have this object, or could not apply something to it. */
  needed(id: number, directory: boolean): void {
    this.#marks.markWhole(id, directory, true);
    if (directory) this.#mustSend(id);
  }

  /** The object that is copied now, and those after it, as far as can be told: what to read ahead. */
  upcoming(most: number): readonly number[] {
    return [this.#copying, ...this.#order.upcoming(most - 1)];
  }

  // ---- live operations -------------------------------------------------------------------------------------------------

  /** WRITE, ALLOCATE. */
  data(id: number, offset: number, length: number): Decision {
    const send = this.#isPlaced(id) && !this.#marks.isRangeDirty(id, offset, length);
    this.#marks.touchData(id, offset, length, send ? Level.TOUCHED : Level.DIRTY);
    return send ? Decision.SEND : Decision.MARK;
  }

  /** SETATTR, SETXATTR, REMOVEXATTR, SETFLAGS. `size`: the new one, if SETATTR sets it, else -1. */
  attributes(id: number, size: number): Decision {
    const send = this.#isPlaced(id);
    const level = send ? Level.TOUCHED : Level.DIRTY;
    if (size >= 0) this.#marks.touchTail(id, size, level);
    else this.#marks.touchAttributes(id, level);
    return send ? Decision.SEND : Decision.MARK;
  }

  /** CREATE. */
  create(parent: number, id: number, directory: boolean): Decision {
    const send = this.#areNamesPlaced(parent);
    this.#marks.created(id, directory, send ? Level.TOUCHED : Level.DIRTY);
    if (!send && directory) this.#mustSend(id);
    return this.#names(parent, send);
  }

  /** CREATE_UNNAMED: nothing stands in its way. */
  createUnnamed(id: number): Decision {
    this.#introduced.add(id);
    this.#marks.created(id, false, Level.TOUCHED);
    return Decision.SEND;
  }

  /** UNLINK. `id` may live on, open or by another name. */
  unlink(parent: number, id: number, directory: boolean): Decision {
    const send = this.#areNamesPlaced(parent);
    if (send && !directory) this.#introduced.add(id);
    const isEmptyThere = !this.#unsent.has(id);
    if (directory) this.gone(id);
    // The target cannot remove a directory that still holds what belongs elsewhere: sent again, it goes to limbo.
    return send && !isEmptyThere ? this.#sendAgain(parent, true) : this.#names(parent, send);
  }

  /** LINK. `oldParent`: a directory that held the object before, -1 if it had no name. */
  link(id: number, oldParent: number, parent: number): Decision {
    const known = oldParent === -1 ? this.#introduced.has(id) : this.#areNamesPlaced(oldParent);
    const placed = this.#areNamesPlaced(parent);
    if (known && placed) {
      // If the target never gets it, it finds the object through the directory that held it.
      if (oldParent !== -1) this.#names(oldParent, true);
      return this.#names(parent, true);
    }
    // The target must learn where it has the object: from the names of the directory that held it.
    const first = oldParent === -1 ? Decision.MARK : this.#sendAgain(oldParent, known);
    const second = this.#sendAgain(parent, placed);
    return first === Decision.RESEND ? first : second;
  }

  /**
   * RENAME. `replaced`: the directory that lay at the new name and is gone now, 0 if none (none with RENAME_EXCHANGE). The
   * tree must still tell the parents of `from` and `to` themselves rightly.
   */
  rename(from: number, to: number, replaced: number): Decision {
    const fromPlaced = this.#areNamesPlaced(from);
    const toPlaced = this.#areNamesPlaced(to);
    const isInTheWay = this.#unsent.has(replaced);
    if (isInTheWay) this.gone(replaced);
    if (fromPlaced && toPlaced && !isInTheWay) {
      this.#names(from, true);
      return this.#names(to, true);
    }
    const first = this.#sendAgain(from, fromPlaced);
    const second = this.#sendAgain(to, toPlaced);
    return first === Decision.RESEND ? first : second;
  }

  /** FORGET: an object without a name is not in use any more. */
  forget(id: number): Decision {
    if (!this.#introduced.delete(id)) return Decision.MARK;
    return Decision.SEND;
  }

  // ---- inside ----------------------------------------------------------------------------------------------------------

  #names(parent: number, send: boolean): Decision {
    this.#marks.touchNames(parent, send ? Level.TOUCHED : Level.DIRTY);
    if (parent === this.#watched) this.#hasChanged = true;
    if (!send) this.#mustSend(parent);
    return send ? Decision.SEND : Decision.MARK;
  }

  /** A name went between a placed directory and one that is not. The placed one is sent again; the other will be. */
  #sendAgain(directory: number, placed: boolean): Decision {
    this.#marks.touchNames(directory, Level.DIRTY);
    if (directory === this.#watched) this.#hasChanged = true;
    this.#mustSend(directory);
    if (!placed) return Decision.MARK;
    this.resend.push(directory);
    return Decision.RESEND;
  }

  /** One directory less to list. After the last, every object made without a peer has a mark of its own. */
  #endListing(directory: number): void {
    this.#toList.delete(directory);
    if (!this.#listing || this.#toList.size > 0) return;
    this.#listing = false;
    this.#marks.resolveDirtyRanges();
  }

  #mustSend(directory: number): void {
    if (this.#listing) this.#toList.add(directory);
    if (this.#unsent.has(directory)) return;
    this.#unsent.add(directory);
    this.#toAnnounce.add(directory);
  }

  #expand(id: number, directory: boolean): void {
    if (!this.#expanded.add(id)) return;
    this.#marks.markWhole(id, directory, false);
    if (directory) this.#mustSend(id);
  }

  #areNamesPlaced(directory: number): boolean {
    return !this.#unsent.has(directory) && this.#isPlaced(directory);
  }

  /** Has the target the object where the source has it? */
  #isPlaced(id: number): boolean {
    if (this.#listing) return false;
    let parent = this.#tree.parentOf(id);
    if (parent === -1) return this.#introduced.has(id);
    if (this.#unsent.size === 0) return true;
    for (; parent > 0; parent = this.#tree.parentOf(parent)) if (this.#unsent.has(parent)) return false;
    return parent === 0;
  }

  /** The topmost directory above some unsent one that is unsent itself; 0: none is left. */
  #nextDirectory(): number {
    for (const directory of this.#unsent) {
      let topmost = directory;
      let above = this.#tree.parentOf(directory);
      for (; above > 0; above = this.#tree.parentOf(above)) if (this.#unsent.has(above)) topmost = above;
      if (above === 0) return topmost;
      this.gone(directory);
    }
    return 0;
  }

  #announceChain(directory: number, announced: Map<number, Announced>): void {
    if (announced.has(directory)) return;
    const parent = this.#tree.parentOf(directory);
    if (parent > 0) this.#announceChain(parent, announced);
    const name = parent > 0 ? this.#tree.nameOf(directory) : "";
    // One that was removed here is announced too: there the target may still hold what was moved out of it before.
    const dirty = parent === -1 || this.#unsent.has(directory);
    announced.set(directory, { id: directory, parent: Math.max(0, parent), name, dirty });
  }
}
