/**
 * The objects that this connection's source has introduced, and how SECOND reaches them.
 *
 * An object is its identity; where it lies (parent and name) follows the stream, so a descriptor that was closed to save
 * descriptors can be opened again at any time. An object that lost the name it was introduced by keeps its descriptor until
 * the source forgets it: the application may still hold it open. One that has other names, which nobody told, is opened again by
 * its file handle: thousands of hard links may lose the name that is known here, and stay.
 */
import { errnos } from "../../platform/linux/errno.ts";
import { close } from "../../platform/linux/libc.ts";
import { cachedDescriptors } from "../../platform/linux/open_files.ts";
import { IdentitySet } from "../../replication/identity_set.ts";
import { nameText } from "../../replication/name_text.ts";
import { handleOf, hasNames, kernelName, openHandle, openObject } from "../objects/object_access.ts";

/** Descriptors kept open for objects that have a name. */
const MOST_OPEN = 8192;
/** The same for those that may be opened again by their handle. */
const MOST_UNNAMED = 1024;

/** One introduced object. */
export class ReplicaObject {
  readonly id: number;
  parent: number;
  name: Uint8Array;
  /** Which replicated directory it is in. */
  root = 0;
  /** Its descriptor was opened with O_PATH: neither a file nor a directory. */
  pathOnly = false;
  /** -1 while closed. */
  fd = -1;
  /** Where it is in the list of those that are open. */
  openAt = -1;
  /** It has no name that we follow. */
  nameless = false;
  /** What opens it again while `nameless`; null: its descriptor is all there is. */
  handle: Uint8Array | null = null;
  /** Used since the last sweep. */
  used = true;
  /** Which operation used it last. */
  usedBy = 0;
  /** 0, or why this disk does not give it: -errno. */
  fault = 0;
  /** Bytes that a sync of it would have to write, see second_syncs.ts: nothing is known of what was before. */
  unsyncedBytes = Number.POSITIVE_INFINITY;
  /** After how many changes all of it was last synced, see second_syncs.ts. */
  syncedAfter = -1;

  constructor(id: number, parent: number, name: Uint8Array) {
    this.id = id;
    this.parent = parent;
    this.name = name;
  }
}

/** What the source has introduced. */
export class ReplicaObjects {
  /** Objects lose names only by operations that say so (`losesName`): what has others may be closed. */
  isSettled = false;
  readonly #objects = new Map<number, ReplicaObject>();
  readonly #byName = new Map<string, ReplicaObject>();
  readonly #left = new IdentitySet();
  /** Open without a name that we follow; what has no name at all is taken out when that is found. */
  readonly #unnamed = new Set<ReplicaObject>();
  /** Open and with a name, in no order. An iterator over all objects would keep in memory whatever it was to meet, also what is gone. */
  readonly #open: ReplicaObject[] = [];
  #limit = cachedDescriptors(MOST_OPEN, 1 / 2);
  readonly #unnamedLimit = cachedDescriptors(MOST_UNNAMED, 1 / 8);
  #operation = 0;
  #handles = 0;
  /** Where in `#open` the next sweep begins. */
  #hand = 0;
  /** The replicated directories. */
  readonly #tops = new Set<ReplicaObject>();

  /** A name in a directory as a key: names are bytes, and exact as such. */
  static key(parent: number, name: Uint8Array): string {
    return `${parent}/${nameText(name)}`;
  }

  /** The object, or undefined when it was not introduced. */
  get(id: number): ReplicaObject | undefined {
    return this.#objects.get(id);
  }

  /** The introduced object that has this name. */
  named(parent: number, name: Uint8Array): ReplicaObject | undefined {
    return this.#byName.get(ReplicaObjects.key(parent, name));
  }

  /** Introduces an object; `fd` is its descriptor if it is open already, else -1. */
  introduce(id: number, parent: number, name: Uint8Array, fd: number): ReplicaObject {
    this.drop(id);
    this.#left.delete(id);
    const object = new ReplicaObject(id, parent, name);
    object.root = this.#objects.get(parent)?.root ?? 0;
    object.usedBy = this.#operation;
    this.#objects.set(id, object);
    if (name.length > 0) this.#byName.set(ReplicaObjects.key(parent, name), object);
    else object.nameless = true;
    if (parent === 0) this.#tops.add(object);
    if (fd >= 0) this.#opened(object, fd);
    return object;
  }

  /** The object's descriptor, opened when it is not. Returns -ENOENT when it was never introduced, or -errno. */
  fd(id: number): number {
    const object = this.#objects.get(id);
    if (object === undefined) return -errnos.ENOENT;
    object.used = true;
    object.usedBy = this.#operation;
    if (object.fd >= 0) return object.fd;
    const fd = this.#openAgain(object);
    if (fd >= 0) this.#opened(object, fd);
    return fd;
  }

  /** This disk does not give the object: whoever uses it before it is introduced again hears this -errno. */
  spoil(id: number, fault: number): void {
    const object = this.#objects.get(id);
    if (object === undefined) return;
    this.#close(object);
    object.fault = fault;
  }

  #openAgain(object: ReplicaObject): number {
    const { handle, parent, name, fault } = object;
    if (fault !== 0) return fault;
    const directory = handle === null ? this.fd(parent) : this.#topOf(object);
    if (directory < 0) return directory;
    const open = (): number =>
      handle === null
        ? openObject(directory, kernelName(name, 0, name.length))
        : openHandle(directory, handle);
    const fd = open();
    if (fd !== -errnos.EMFILE && fd !== -errnos.ENFILE) return fd;
    this.#makeRoom();
    return open();
  }

  /** The descriptor of the replicated directory that the object is in, or -errno. */
  #topOf({ root }: ReplicaObject): number {
    for (const top of this.#tops) if (top.root === root) return top.fd;
    return -errnos.ENOENT;
  }

  #opened(object: ReplicaObject, fd: number): void {
    object.fd = fd;
    if (!object.nameless) this.#listOpen(object);
    else if (object.parent !== 0) this.#unnamed.add(object);
  }

  #listOpen(object: ReplicaObject): void {
    object.openAt = this.#open.push(object) - 1;
  }

  #unlistOpen(object: ReplicaObject): void {
    const last = this.#open.pop()!;
    if (last === object) return;
    this.#open[object.openAt] = last;
    last.openAt = object.openAt;
  }

  /** The object gets this name, or its first one that we know. */
  move(object: ReplicaObject, parent: number, name: Uint8Array): void {
    const key = ReplicaObjects.key(object.parent, object.name);
    if (this.#byName.get(key) === object) this.#byName.delete(key);
    object.parent = parent;
    object.name = name;
    this.#byName.set(ReplicaObjects.key(parent, name), object);
    if (!object.nameless) return;
    object.nameless = false;
    this.#dropHandle(object);
    this.#unnamed.delete(object);
    if (object.fd >= 0) this.#listOpen(object);
  }

  /** Two objects, either of which may be unknown, exchange their names. */
  exchange(parent: number, name: Uint8Array, toParent: number, toName: Uint8Array): void {
    const first = this.named(parent, name);
    const second = this.named(toParent, toName);
    if (first !== undefined) this.move(first, toParent, toName);
    if (second !== undefined) this.move(second, parent, name);
  }

  /** The name goes: opens the object first, so that it stays reachable. Call before the name is removed. Returns 0 or -errno. */
  detach(object: ReplicaObject): number {
    const fd = this.fd(object.id);
    if (fd < 0) return fd;
    if (!object.nameless) this.#unlistOpen(object);
    object.nameless = true;
    this.#unnamed.add(object);
    this.#byName.delete(ReplicaObjects.key(object.parent, object.name));
    return 0;
  }

  /** Closes an object's descriptor: the next use opens what its name leads to then. */
  reopen(id: number): void {
    const object = this.#objects.get(id);
    if (object !== undefined && !object.nameless) this.#close(object);
  }

  /** The source will introduce it again if it uses it again. What was done to it still is to be synced. */
  forget(id: number): void {
    if (this.#objects.get(id)?.nameless === false) this.#left.add(id);
    this.drop(id);
  }

  /** Was it forgotten while it had a name? Then it is somewhere, but not known where. */
  isLeft(id: number): boolean {
    return this.#left.has(id);
  }

  /** Forgets an object and closes it. */
  drop(id: number): void {
    const object = this.#objects.get(id);
    if (object === undefined) return;
    this.#objects.delete(id);
    const key = ReplicaObjects.key(object.parent, object.name);
    if (this.#byName.get(key) === object) this.#byName.delete(key);
    this.#close(object);
    this.#dropHandle(object);
    this.#tops.delete(object);
  }

  /** Forgets everything: the connection is over. */
  clear(): void {
    for (const object of this.#objects.values()) this.#close(object);
    this.#objects.clear();
    this.#left.clear();
    this.#byName.clear();
    this.#tops.clear();
    this.#handles = 0;
    this.#hand = 0;
    this.isSettled = false;
  }

  /** The object is about to lose a name, perhaps its last: what only a handle leads to is opened before it is gone. Returns 0 or -errno. */
  losesName(id: number): number {
    const object = this.#objects.get(id);
    return object === undefined || object.handle === null ? 0 : Math.min(0, this.fd(id));
  }

  /** Is there anything that `losesName` should be asked about? */
  get hasHandles(): boolean {
    return this.#handles > 0;
  }

  #close(object: ReplicaObject): void {
    if (object.fd < 0) return;
    close(object.fd);
    object.fd = -1;
    if (object.nameless) this.#unnamed.delete(object);
    else this.#unlistOpen(object);
  }

  #dropHandle(object: ReplicaObject): void {
    if (object.handle !== null) this.#handles--;
    object.handle = null;
  }

  /** An operation begins, which holds no descriptor yet: closes what was not used for long, if too much is open. */
  begin(): void {
    this.#operation++;
    this.#sweep(this.#limit);
    if (this.isSettled && this.#unnamed.size > this.#unnamedLimit) this.#putAside();
  }

  #sweep(limit: number): void {
    for (let left = 2 * this.#open.length; this.#open.length > limit && left > 0; left--) {
      if (this.#hand >= this.#open.length) this.#hand = 0;
      const object = this.#open[this.#hand]!;
      // Without its directory it could not be opened again.
      const isNeeded = object.usedBy === this.#operation || !this.#objects.has(object.parent);
      if (!isNeeded && !object.used) this.#close(object);
      else {
        if (!isNeeded) object.used = false;
        this.#hand++;
      }
    }
  }

  /** There are fewer descriptors than was thought: closes half of what may be closed in the middle of an operation. */
  #makeRoom(): void {
    this.#limit = Math.ceil(this.#open.length / 2);
    this.#sweep(this.#limit);
  }

  /** Of what lost the name that we knew, closes half: what has others. What has none stays open. */
  #putAside(): void {
    for (const object of this.#unnamed) {
      if (this.#unnamed.size <= this.#unnamedLimit / 2) return;
      this.#unnamed.delete(object);
      if (!hasNames(object.fd)) this.#dropHandle(object);
      else if (object.handle === null) this.#takeHandle(object);
      if (object.handle !== null) this.#close(object);
    }
  }

  #takeHandle(object: ReplicaObject): void {
    object.handle = handleOf(object.fd);
    if (object.handle === null) return;
    // Not everybody may: a process in a user namespace cannot.
    const again = this.#openAgain(object);
    if (again < 0) object.handle = null;
    else {
      close(again);
      this.#handles++;
    }
  }
}
