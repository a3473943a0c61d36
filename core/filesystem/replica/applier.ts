/**
 * SECOND: does to its copy what each frame of the stream says, in order.
 *
 * A frame carries results, so an error here means that the copies differ from now on: `apply` returns it and the caller stops
 * following. Nothing is retried into success.
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDWR,
  O_TMPFILE,
  RENAME_EXCHANGE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  UTIME_OMIT,
} from "../../platform/linux/constants.ts";
import { errnos, isAbsent } from "../../platform/linux/errno.ts";
import {
  allocate,
  close,
  fallocate,
  fchmod,
  fchmodat,
  fchownat,
  ftruncate,
  linkat,
  mkdirat,
  mknodat,
  openat,
  pwrite,
  removexattr,
  renameat2,
  setxattr,
  symlinkat,
  unlinkat,
  utimensat,
} from "../../platform/linux/libc.ts";
import { setU64 } from "../../platform/linux/memory.ts";
import { type Frame, FrameType, type Stretch } from "../../replication/operation.ts";
import {
  ATTR_ATIME,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_SIZE,
  ATTR_UID,
} from "../../replication/replicator.ts";
import { despiteFlags, writeFlags } from "../objects/flags.ts";
import { descriptorPath, emptyPath, kernelName, modeOf, openObject } from "../objects/object_access.ts";
import { scratch as attributes, STAT, STX_GID, STX_MODE, STX_UID } from "../objects/places.ts";
import type { ReplicaRoots } from "./replica_identity.ts";
import type { ReplicaObject, ReplicaObjects } from "./replica_objects.ts";

const UNCHANGED = 0xffffffff;
const TARGET_ROOM = 4096;
/** Symlink targets, attribute values and times on their way to the kernel. */
const room = allocate(TARGET_ROOM + 65536 + 64);
const timesAt = room.address + TARGET_ROOM + 65536;
const timesOffset = TARGET_ROOM + 65536;
const valueAt = room.address + TARGET_ROOM;

type Apply = (applier: Applier, frame: Frame) => number;

/** Applies live operations. Frames' data must lie in memory whose address the caller knows. */
export class Applier {
  readonly objects: ReplicaObjects;
  readonly roots: ReplicaRoots;
  /** The address of the first byte of the buffer that frames are decoded from. */
  dataAddress = 0;

  constructor(objects: ReplicaObjects, roots: ReplicaRoots) {
    this.objects = objects;
    this.roots = roots;
  }

  /** True when `type` is an operation that `apply` knows. */
  static knows(type: FrameType): boolean {
    return table[type] !== undefined;
  }

  /** Applies one frame. Returns 0 or more, or -errno. */
  apply(frame: Frame): number {
    const result = table[frame.type]!(this, frame);
    if (result >= 0 || !CHANGES.has(frame.type)) return result;
    return result === -errnos.EPERM || result === -errnos.EBADF ? this.#despiteFlags(frame, result) : result;
  }

  /** Of an append-only file the primary's kernel sets times, too. */
  #despiteFlags(frame: Frame, refused: number): number {
    const { objects } = this;
    return despiteFlags(
      () => objects.fd(frame.id),
      refused,
      () => {
        // Only a new descriptor may write.
        objects.reopen(frame.id);
        return table[frame.type]!(this, frame);
      },
    );
  }

  /** Gives a directory the mtime that it has on the primary. */
  parentTimes(directory: number, seconds: number, nanos: number): number {
    setTimes(0, UTIME_OMIT, seconds, nanos);
    const result = utimensat(directory, emptyPath, timesAt, AT_EMPTY_PATH);
    if (result !== -errnos.EPERM) return result;
    // Names can be made in an append-only directory.
    const set = (): number => utimensat(directory, emptyPath, timesAt, AT_EMPTY_PATH);
    return despiteFlags(() => directory, result, set);
  }
}

function setTimes(atime: number, atimeNanos: number, mtime: number, mtimeNanos: number): void {
  setU64(room.view, timesOffset, atime);
  setU64(room.view, timesOffset + 8, atimeNanos);
  setU64(room.view, timesOffset + 16, mtime);
  setU64(room.view, timesOffset + 24, mtimeNanos);
}

const nameOf = (name: Stretch, second = false): number =>
  kernelName(name.bytes, name.at, name.length, second);

/** Copies `data` to where the kernel finds it, NUL-terminated. Returns its address or -E2BIG. */
function kernelValue(data: Stretch): number {
  if (data.length > 65535) return -errnos.E2BIG;
  room.bytes.set(data.bytes.subarray(data.at, data.at + data.length), TARGET_ROOM);
  room.bytes[TARGET_ROOM + data.length] = 0;
  return valueAt;
}

function bind(applier: Applier, frame: Frame): number {
  const { objects } = applier;
  const known = objects.get(frame.id);
  if (known !== undefined && known.fd >= 0 && !known.nameless) {
    objects.move(known, frame.parent, frame.name.copy());
    return 0;
  }
  objects.introduce(frame.id, frame.parent, frame.name.copy(), -1);
  const fd = objects.fd(frame.id);
  if (fd < 0) return spoiled(objects, frame.id, fd);
  const object = objects.get(frame.id)!;
  // A name is all that the stream tells of an object that was there before.
  object.pathOnly = !hasContents(modeOf(fd));
  // A copy that somebody changed underneath: another object answers to this name.
  const id = applier.roots.identityOf(object.root, fd, object.pathOnly);
  if (id < 0) return spoiled(objects, frame.id, id);
  return id === frame.id ? 0 : -errnos.ESTALE;
}

/** What is there and cannot be read has not been changed by being introduced: who uses it fails, and a comparison says so. */
function spoiled(objects: ReplicaObjects, id: number, result: number): number {
  if (isAbsent(result)) return result;
  objects.spoil(id, result);
  return 0;
}

function create(applier: Applier, frame: Frame): number {
  const directory = applier.objects.fd(frame.parent);
  if (directory < 0) return directory;
  const fd = make(frame, directory);
  if (fd < 0) return fd;
  const object = applier.objects.introduce(frame.id, frame.parent, frame.name.copy(), fd);
  object.pathOnly = !hasContents(frame.mode);
  const result = dress(applier, object, frame);
  return result < 0 ? result : applier.parentTimes(directory, frame.parentSeconds, frame.parentNanos);
}

/** Files and directories have real descriptors, all else O_PATH ones. */
const hasContents = (mode: number): boolean => (mode & S_IFMT) === S_IFREG || (mode & S_IFMT) === S_IFDIR;

/** Makes the object and opens it. */
function make(frame: Frame, directory: number): number {
  const name = nameOf(frame.name);
  const type = frame.mode & S_IFMT;
  // Until it is somebody else's, nobody else may open it.
  const mode = frame.uid === 0 && frame.gid === 0 ? frame.mode & 0o7777 : 0o700;
  if (type === S_IFREG) {
    return openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  }
  let result: number;
  if (type === S_IFDIR) result = mkdirat(directory, name, mode);
  else if (type === S_IFLNK) {
    const target = kernelValue(frame.data);
    result = target < 0 ? target : symlinkat(target, directory, name);
  } else result = mknodat(directory, name, frame.mode, frame.rdev);
  return result < 0 ? result : openObject(directory, name);
}

/** Identity, owner and mode of a fresh object, as far as it was not made with them. */
function dress(applier: Applier, object: ReplicaObject, frame: Frame): number {
  const { fd } = object;
  const result = applier.roots.write(object.root, fd, object.pathOnly, frame.id);
  if (result < 0) return result;
  const { view } = attributes;
  const isOwned =
    view.getUint32(STAT + STX_UID, true) === frame.uid && view.getUint32(STAT + STX_GID, true) === frame.gid;
  const owned = isOwned ? 0 : fchownat(fd, emptyPath, frame.uid, frame.gid, AT_EMPTY_PATH);
  if (owned < 0 || (frame.mode & S_IFMT) === S_IFLNK) return owned;
  return isOwned && view.getUint16(STAT + STX_MODE, true) === frame.mode ? 0 : changeMode(fd, frame.mode);
}

/** chmod(2) of an open object, by its path when it was opened with O_PATH. */
function changeMode(fd: number, mode: number): number {
  const changed = fchmod(fd, mode & 0o7777);
  return changed === -errnos.EBADF ? fchmodat(AT_FDCWD, descriptorPath(fd), mode & 0o7777) : changed;
}

function createUnnamed(applier: Applier, frame: Frame): number {
  const directory = applier.objects.fd(frame.parent);
  if (directory < 0) return directory;
  const fd = openat(AT_FDCWD, descriptorPath(directory), O_TMPFILE | O_RDWR | O_CLOEXEC, 0o600);
  if (fd < 0) return fd;
  const object = applier.objects.introduce(frame.id, frame.parent, new Uint8Array(0), fd);
  return dress(applier, object, frame);
}

function link(applier: Applier, frame: Frame): number {
  const { objects } = applier;
  const directory = objects.fd(frame.parent);
  if (directory < 0) return directory;
  const fd = objects.fd(frame.id);
  if (fd < 0) return fd;
  // AT_EMPTY_PATH, since following /proc would fail for a symlink's own descriptor.
  const result = linkat(fd, emptyPath, directory, nameOf(frame.name), AT_EMPTY_PATH);
  if (result < 0) return result;
  const object = objects.get(frame.id)!;
  if (object.nameless) {
    objects.move(object, frame.parent, frame.name.copy());
  }
  return applier.parentTimes(directory, frame.parentSeconds, frame.parentNanos);
}

function unlink(applier: Applier, frame: Frame): number {
  const { objects } = applier;
  const directory = objects.fd(frame.parent);
  if (directory < 0) return directory;
  const object = objects.named(frame.parent, frame.name.copy());
  if (object !== undefined) {
    if (frame.flags === 1) objects.drop(object.id);
    else {
      const detached = objects.detach(object);
      if (detached < 0) return detached;
    }
  } else {
    // It lost the name that is known here before.
    const opened = objects.losesName(frame.id);
    if (opened < 0) return opened;
  }
  const result = unlinkat(directory, nameOf(frame.name), frame.flags === 1 ? AT_REMOVEDIR : 0);
  return result < 0 ? result : applier.parentTimes(directory, frame.parentSeconds, frame.parentNanos);
}

function rename(applier: Applier, frame: Frame): number {
  const { objects } = applier;
  const from = objects.fd(frame.parent);
  if (from < 0) return from;
  const to = objects.fd(frame.toParent);
  if (to < 0) return to;
  const name = frame.name.copy();
  const toName = frame.toName.copy();
  const object = objects.named(frame.parent, name);
  const replaced = objects.named(frame.toParent, toName);
  const exchange = (frame.flags & RENAME_EXCHANGE) !== 0;
  if (!exchange && replaced !== undefined && replaced !== object) {
    const detached = objects.detach(replaced);
    if (detached < 0) return detached;
  } else if (!exchange && replaced === undefined && objects.hasHandles) {
    const opened = loses(applier, frame.toParent, to, nameOf(frame.toName));
    if (opened < 0) return opened;
  }
  const result = renameat2(from, nameOf(frame.name), to, nameOf(frame.toName, true), frame.flags);
  if (result < 0) return result;
  if (exchange) objects.exchange(frame.parent, name, frame.toParent, toName);
  else if (object !== undefined) objects.move(object, frame.toParent, toName);
  const times = applier.parentTimes(from, frame.parentSeconds, frame.parentNanos);
  return times < 0 ? times : applier.parentTimes(to, frame.toSeconds, frame.toNanos);
}

/** What has this name, which nobody told, is about to lose it. Returns 0 or -errno. */
function loses({ objects, roots }: Applier, parent: number, directory: number, name: number): number {
  const fd = openObject(directory, name, true);
  if (fd < 0) return fd === -errnos.ENOENT ? 0 : fd;
  const id = roots.identityOf(objects.get(parent)?.root ?? 0, fd, !hasContents(modeOf(fd)));
  close(fd);
  return objects.losesName(id);
}

function write(applier: Applier, frame: Frame): number {
  const fd = applier.objects.fd(frame.id);
  return fd < 0 ? fd : writeAll(fd, applier.dataAddress + frame.data.at, frame.data.length, frame.offset);
}

/** Writes all of it: a short write is neither an error nor a success, and the next attempt tells which. */
export function writeAll(fd: number, address: number, length: number, offset: number): number {
  for (let done = 0; done < length; ) {
    const count = pwrite(fd, address + done, length - done, offset + done);
    if (count === -errnos.EINTR) continue;
    if (count <= 0) return count === 0 ? -errnos.EIO : count;
    done += count;
  }
  return 0;
}

function allocateSpace(applier: Applier, frame: Frame): number {
  const fd = applier.objects.fd(frame.id);
  return fd < 0 ? fd : fallocate(fd, frame.mode, frame.offset, frame.length);
}

function setAttributes(applier: Applier, frame: Frame): number {
  const fd = applier.objects.fd(frame.id);
  return fd < 0 ? fd : applyAttributes(fd, frame);
}

/** The attributes that `frame.valid` names, in the order in which they do not undo each other: chown clears setuid, truncation sets mtime. */
export function applyAttributes(fd: number, frame: Frame): number {
  const { valid } = frame;
  let result = 0;
  if (valid & ATTR_SIZE) result = ftruncate(fd, frame.size);
  if (result >= 0 && valid & (ATTR_UID | ATTR_GID)) {
    const uid = valid & ATTR_UID ? frame.uid : UNCHANGED;
    result = fchownat(fd, emptyPath, uid, valid & ATTR_GID ? frame.gid : UNCHANGED, AT_EMPTY_PATH);
  }
  if (result >= 0 && valid & ATTR_MODE) result = changeMode(fd, frame.mode);
  if (result >= 0 && valid & (ATTR_ATIME | ATTR_MTIME)) {
    setTimes(
      frame.atime,
      valid & ATTR_ATIME ? frame.atimeNanos : UTIME_OMIT,
      frame.mtime,
      valid & ATTR_MTIME ? frame.mtimeNanos : UTIME_OMIT,
    );
    result = utimensat(fd, emptyPath, timesAt, AT_EMPTY_PATH);
  }
  return result;
}

function setAttribute(applier: Applier, frame: Frame): number {
  const fd = applier.objects.fd(frame.id);
  return fd < 0 ? fd : writeXattr(fd, frame.name, frame.data);
}

/** Sets one extended attribute on whatever `fd` is, symlinks and devices included. */
export function writeXattr(fd: number, name: Stretch, value: Stretch): number {
  const at = kernelValue(value);
  return at < 0 ? at : setxattr(descriptorPath(fd), nameOf(name), at, value.length, 0);
}

function removeAttribute(applier: Applier, frame: Frame): number {
  const fd = applier.objects.fd(frame.id);
  const result = fd < 0 ? fd : removexattr(descriptorPath(fd), nameOf(frame.name));
  // What a reintegration has only just made has no attributes yet, and the source does not know that it asked for them.
  return result === -errnos.ENODATA ? 0 : result;
}

function setFlags(applier: Applier, frame: Frame): number {
  const fd = applier.objects.fd(frame.id);
  return fd < 0 ? fd : writeFlags(fd, frame.flags);
}

function forget(applier: Applier, frame: Frame): number {
  applier.objects.forget(frame.id);
  return 0;
}

function root(applier: Applier, frame: Frame): number {
  const fd = applier.roots.adopt(frame.ticket, frame.id);
  if (fd < 0) return fd;
  applier.objects.introduce(frame.id, 0, new Uint8Array(0), fd).root = frame.ticket;
  return 0;
}

/** What changes an object that is open, and can be done twice. */
const CHANGES: ReadonlySet<FrameType> = new Set([FrameType.WRITE, FrameType.ALLOCATE, FrameType.SETATTR]);

const table: Partial<Record<FrameType, Apply>> = {
  [FrameType.ROOT]: root,
  [FrameType.BIND]: bind,
  [FrameType.CREATE]: create,
  [FrameType.CREATE_UNNAMED]: createUnnamed,
  [FrameType.LINK]: link,
  [FrameType.UNLINK]: unlink,
  [FrameType.RENAME]: rename,
  [FrameType.WRITE]: write,
  [FrameType.ALLOCATE]: allocateSpace,
  [FrameType.SETATTR]: setAttributes,
  [FrameType.SETXATTR]: setAttribute,
  [FrameType.REMOVEXATTR]: removeAttribute,
  [FrameType.SETFLAGS]: setFlags,
  [FrameType.FORGET]: forget,
};
