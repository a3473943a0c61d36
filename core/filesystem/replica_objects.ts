/**
 * The objects that this connection's source has introduced, and how SECOND reaches them.
 *
 * An object is its identity; where it lies (parent and name) follows the stream, so a descriptor that was closed to save
 * descriptors can be opened again at any time. An object that lost the name it was introduced by keeps its descriptor until
 * the source forgets it: the application may still hold it open.
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  STATX_BASIC_STATS,
} from "../platform/linux/constants.ts";
import { errnos } from "../platform/linux/errno.ts";
import { allocate, close, openat, statx } from "../platform/linux/libc.ts";
import { IdentitySet } from "../replication/identity_set.ts";

/** Descriptors kept open for objects that have a name. */
const OPEN_LIMIT = 8192;
const NAME_ROOM = 256;

/** Scratch for names and paths given to the kernel. */
const scratch = allocate(4096);
const nameAt = scratch.address;
const otherNameAt = scratch.address + NAME_ROOM;
const procAt = scratch.address + 2 * NAME_ROOM;
const statAt = scratch.address + 1024;
const emptyAt = scratch.address + 4095;

/** Puts a name where the kernel can read it; returns its address. `second` when two are needed at once. */
export function kernelName(bytes: Uint8Array, at: number, length: number, second = false): number {
  const start = second ? NAME_ROOM : 0;
  for (let index = 0; index < length; index++) scratch.bytes[start + index] = bytes[at + index]!;
  scratch.bytes[start + length] = 0;
  return second ? otherNameAt : nameAt;
}

/** The empty path, for AT_EMPTY_PATH. */
export const emptyPath = emptyAt;

const PROC = new TextEncoder().encode("/proc/self/fd/");
scratch.bytes.set(PROC, 2 * NAME_ROOM);

/** A path that leads to what `fd` refers to, also when it was opened with O_PATH. Good until the next call. */
export function descriptorPath(fd: number): number {
  let at = 2 * NAME_ROOM + PROC.length;
  const digits = String(fd);
  for (let index = 0; index < digits.length; index++) scratch.bytes[at++] = digits.charCodeAt(index);
  scratch.bytes[at] = 0;
  return procAt;
}

/** st_mode of an open object, or -errno. */
export function modeOf(fd: number): number {
  const result = statx(fd, emptyAt, AT_EMPTY_PATH, STATX_BASIC_STATS, statAt);
  return result < 0 ? result : scratch.view.getUint16(1024 + 28, true);
}

/**
 * Opens the object called by the name at `name` in `directory`, as usefully as its type allows: directories to list, files
 * to read and write (to read only when an immutable or append-only flag forbids more), all else by O_PATH. Returns -errno.
 */
export function openObject(directory: number, name: number, readOnly = false): number {
  const handle = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
  if (handle < 0) return handle;
  const type = modeOf(handle) & S_IFMT;
  if (type !== S_IFREG && type !== S_IFDIR) return handle;
  const path = descriptorPath(handle);
  let fd: number;
  if (type === S_IFDIR) fd = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  else if (readOnly) fd = openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  else {
    fd = openat(AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd === -errnos.EPERM) fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  }
  close(handle);
  return fd;
}

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
  /** It has no name that we follow: its descriptor is all there is. */
  nameless = false;
  /** Used since the last sweep. */
  used = true;
  /** What a sync of it would have to reach, see sync_needs.ts: nothing is known of what was before. */
  unsyncedBytes = Number.POSITIVE_INFINITY;
  unsyncedAttributes = true;

  constructor(id: number, parent: number, name: Uint8Array) {
    this.id = id;
    this.parent = parent;
    this.name = name;
  }
}

/** What the source has introduced. */
export class ReplicaObjects {
  readonly #objects = new Map<number, ReplicaObject>();
  readonly #byName = new Map<string, ReplicaObject>();
  readonly #left = new IdentitySet();
  #open = 0;

  /** A name in a directory as a key: names are bytes, and exact as such. */
  static key(parent: number, name: Uint8Array): string {
    return `${parent}/${Buffer.from(name.buffer, name.byteOffset, name.length).toString("latin1")}`;
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
    this.#objects.set(id, object);
    if (name.length > 0) this.#byName.set(ReplicaObjects.key(parent, name), object);
    else object.nameless = true;
    if (fd >= 0) {
      object.fd = fd;
      this.#open++;
    }
    return object;
  }

  /** The object's descriptor, opened when it is not. Returns -ENOENT when it was never introduced, or -errno. */
  fd(id: number): number {
    const object = this.#objects.get(id);
    if (object === undefined) return -errnos.ENOENT;
    object.used = true;
    if (object.fd >= 0) return object.fd;
    const directory = this.fd(object.parent);
    if (directory < 0) return directory;
    const fd = openObject(directory, kernelName(object.name, 0, object.name.length));
    if (fd < 0) return fd;
    object.fd = fd;
    this.#open++;
    return fd;
  }

  /** The object moves to another name. */
  move(object: ReplicaObject, parent: number, name: Uint8Array): void {
    const key = ReplicaObjects.key(object.parent, object.name);
    if (this.#byName.get(key) === object) this.#byName.delete(key);
    object.parent = parent;
    object.name = name;
    object.unsyncedAttributes = true;
    this.#byName.set(ReplicaObjects.key(parent, name), object);
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
    object.nameless = true;
    object.unsyncedAttributes = true;
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
  }

  /** Forgets everything: the connection is over. */
  clear(): void {
    for (const object of this.#objects.values()) this.#close(object);
    this.#objects.clear();
    this.#left.clear();
    this.#byName.clear();
  }

  #close(object: ReplicaObject): void {
    if (object.fd < 0) return;
    close(object.fd);
    object.fd = -1;
    this.#open--;
  }

  /** Closes what was not used for long, once too much is open. Never in the middle of an operation: it may hold a descriptor. */
  trim(): void {
    if (this.#open <= OPEN_LIMIT) return;
    for (const object of this.#objects.values()) {
      if (object.fd < 0 || object.nameless || !this.#objects.has(object.parent)) continue;
      if (object.used) object.used = false;
      else this.#close(object);
      if (this.#open <= OPEN_LIMIT * 0.9) return;
    }
  }
}
