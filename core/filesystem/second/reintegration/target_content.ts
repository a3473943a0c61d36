/** SECOND's side of reintegration, the objects: makes the bytes and the attributes of what is dirty as the source says. */
import {
  AT_EMPTY_PATH,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../../../platform/linux/constants.ts";
import { errnos } from "../../../platform/linux/errno.ts";
import {
  allocate,
  beginWriteback,
  close,
  cString,
  fallocate,
  fchownat,
  ftruncate,
  linkat,
  mknodat,
  removexattr,
  renameat2,
  symlinkat,
  unlinkat,
} from "../../../platform/linux/libc.ts";
import type { Place } from "../../../replication/marks.ts";
import { nameBytes, nameText } from "../../../replication/name_text.ts";
import { Frame, Stretch } from "../../../replication/operation.ts";
import { XattrReader } from "../../../replication/packed.ts";
import { ATTR_ATIME, ATTR_GID, ATTR_MODE, ATTR_MTIME, ATTR_UID } from "../../../replication/replicator.ts";
import { readAttributes, readTarget, readXattrs } from "../../objects/attributes.ts";
import { readFlags, writeFlags } from "../../objects/flags.ts";
import { descriptorPath, emptyPath, kernelName, modeOf, openObject } from "../../objects/object_access.ts";
import { STAT, STX_NLINK, scratch } from "../../objects/places.ts";
import { sizeOf } from "../../objects/source_tree.ts";
import { type Applier, applyAttributes, writeAll, writeXattr } from "../../replica/applier.ts";
import type { ReplicaRoots } from "../../replica/replica_identity.ts";
import type { ReplicaObject, ReplicaObjects } from "../../replica/replica_objects.ts";
import type { TargetTree } from "./target_tree.ts";

const ZEROS = 1 << 20;
/**
 * What comes in such pieces goes to the disk as it comes. Left to the next durable point, it would all be written at once, and whoever
 * waits for an fsync on this disk would wait for it: at the end of the copy that is the application.
 */
const BULK = 64 << 10;
const temporary = cString(".holdfast-new").address;
const temporaryLink = cString(".holdfast-link").address;

/** See the top of the file. */
export class TargetContent {
  readonly #applier: Applier;
  readonly #objects: ReplicaObjects;
  readonly #roots: ReplicaRoots;
  readonly #tree: TargetTree;
  readonly #xattrs = new XattrReader();
  #zeros: ReturnType<typeof allocate> | null = null;

  constructor(applier: Applier, objects: ReplicaObjects, roots: ReplicaRoots, tree: TargetTree) {
    this.#applier = applier;
    this.#objects = objects;
    this.#roots = roots;
    this.#tree = tree;
  }

  /** OBJECT: the type, the size, the owner and the mode; extended attributes. */
  begin(frame: Frame): number {
    let fd = this.#objects.fd(frame.id);
    if (fd < 0) return fd;
    if (readFlags(fd, frame.mode) !== 0) {
      // Opened while it was immutable or append-only: only a new descriptor may write.
      writeFlags(fd, 0);
      this.#objects.reopen(frame.id);
      fd = this.#objects.fd(frame.id);
      if (fd < 0) return fd;
    }
    const type = frame.mode & S_IFMT;
    const own = modeOf(fd) & S_IFMT;
    if (own !== type) return -errnos.ESTALE;
    if (type !== S_IFREG && type !== S_IFLNK && deviceOf(fd) !== frame.rdev) {
      const result = this.#replace(frame, (directory, at) => mknodat(directory, at, frame.mode, frame.rdev));
      if (result < 0) return result;
      fd = this.#objects.fd(frame.id);
    }
    if (type === S_IFREG) {
      const size = sizeOf(fd);
      let result = frame.offset < size ? ftruncate(fd, frame.offset) : 0;
      if (result >= 0 && (frame.offset < size || size !== frame.size)) result = ftruncate(fd, frame.size);
      if (result < 0) return result;
    }
    frame.valid = ATTR_UID | ATTR_GID | (type === S_IFLNK ? 0 : ATTR_MODE);
    const result = applyAttributes(fd, frame);
    return result < 0 ? result : this.#attributes(fd, frame);
  }

  /** Makes the extended attributes those of the frame. */
  #attributes(fd: number, frame: Frame): number {
    const mine = readXattrs(fd);
    if (typeof mine === "number") return mine;
    const left = new Map(mine.map((attribute) => [nameText(attribute.name), attribute]));
    this.#xattrs.open(frame.data);
    while (this.#xattrs.next()) {
      const text = this.#xattrs.name.key();
      const same = left.get(text);
      left.delete(text);
      if (same !== undefined && Buffer.compare(same.value, this.#xattrs.value.copy()) === 0) continue;
      const result = writeXattr(fd, this.#xattrs.name, this.#xattrs.value);
      if (result < 0) return result;
    }
    for (const { name: extra } of left.values()) {
      const result = removexattr(descriptorPath(fd), kernelName(extra, 0, extra.length));
      if (result < 0 && result !== -errnos.ENODATA) return result;
    }
    return 0;
  }

  /** DATA: bytes of a file, or the target of a symlink. */
  data(frame: Frame): number {
    const fd = this.#objects.fd(frame.id);
    if (fd < 0) return fd;
    if ((modeOf(fd) & S_IFMT) !== S_IFLNK) {
      const { at, length } = frame.data;
      const result = writeAll(fd, this.#applier.dataAddress + at, length, frame.offset);
      if (result >= 0 && length >= BULK) beginWriteback(fd, frame.offset, length);
      return result;
    }
    const wanted = frame.data.copy();
    const own = readTarget(fd);
    if (typeof own !== "number" && Buffer.compare(own, wanted) === 0) return 0;
    const target = cString(wanted);
    return this.#replace(frame, (directory, at) => symlinkat(target.address, directory, at));
  }

  /** An object that cannot be changed, only made: makes it anew beside the old one and puts it in its place, under each of its names. */
  #replace(frame: Frame, make: (directory: number, at: number) => number): number {
    const object = this.#objects.get(frame.id)!;
    const directory = this.#objects.fd(object.parent);
    if (directory < 0) return directory;
    const old = this.#objects.fd(frame.id);
    const attributes = readXattrs(old);
    const parent = new Frame();
    const owner = new Frame();
    const known = readAttributes(directory, parent) < 0 ? -errnos.EIO : readAttributes(old, owner);
    if (known < 0) return known;
    const links = scratch.view.getUint32(STAT + STX_NLINK, true);
    // Before what is made has the same identity under a name of ours.
    const places = links > 1 ? (this.#tree.locations?.namesOf(frame.id, links) ?? []) : [];
    unlinkat(directory, temporary, 0);
    const made = make(directory, temporary);
    if (made < 0) return made;
    const fresh = openObject(directory, temporary);
    if (fresh < 0) return fresh;
    let result = this.#roots.write(object.root, fresh, true, frame.id);
    if (result >= 0) result = fchownat(fresh, emptyPath, owner.uid, owner.gid, AT_EMPTY_PATH);
    if (typeof attributes !== "number") {
      for (const attribute of attributes) {
        const label = new Stretch();
        label.set(attribute.name);
        const value = new Stretch();
        value.set(attribute.value);
        if (result >= 0) result = writeXattr(fresh, label, value);
      }
    }
    close(fresh);
    // The name by which it is known comes last: until then the object is not what it must be, whatever interrupts this.
    if (result >= 0) result = this.#relink(directory, object, places);
    if (result < 0) return result;
    const renamed = renameat2(
      directory,
      temporary,
      directory,
      kernelName(object.name, 0, object.name.length),
      0,
    );
    this.#objects.reopen(frame.id);
    return renamed < 0 ? renamed : this.#applier.parentTimes(directory, parent.mtime, parent.mtimeNanos);
  }

  /** The object's other names, of those at `places`, lead to what is made anew in `directory`. */
  #relink(directory: number, { parent, name }: ReplicaObject, places: readonly Place[]): number {
    const own = nameText(name);
    for (const place of places) {
      if (place.parent === parent && place.name === own) continue;
      const other = this.#tree.open(place.parent);
      if (typeof other === "number") return other;
      const result = this.#relinkIn(other.fd, nameBytes(place.name), directory);
      close(other.fd);
      if (result < 0) return result;
    }
    return 0;
  }

  #relinkIn(directory: number, name: Uint8Array, from: number): number {
    const parent = new Frame();
    const known = readAttributes(directory, parent);
    if (known < 0) return known;
    unlinkat(directory, temporaryLink, 0);
    const linked = linkat(from, temporary, directory, temporaryLink, 0);
    if (linked < 0) return linked;
    const result = renameat2(directory, temporaryLink, directory, kernelName(name, 0, name.length), 0);
    return result < 0 ? result : this.#applier.parentTimes(directory, parent.mtime, parent.mtimeNanos);
  }

  /** ZERO: a hole. */
  zero(frame: Frame): number {
    const fd = this.#objects.fd(frame.id);
    if (fd < 0) return fd;
    const result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, frame.offset, frame.length);
    if (result !== -errnos.EOPNOTSUPP) return result;
    this.#zeros ??= allocate(ZEROS);
    for (let done = 0; done < frame.length; done += ZEROS) {
      const length = Math.min(frame.length - done, ZEROS);
      const written = writeAll(fd, this.#zeros.address, length, frame.offset + done);
      if (written < 0) return written;
    }
    return 0;
  }

  /** OBJECT_END: times, and the flags that forbid changes. */
  end(frame: Frame): number {
    const fd = this.#objects.fd(frame.id);
    if (fd < 0) return fd;
    // The owner may have had to be written again with the object.
    frame.valid = ATTR_ATIME | ATTR_MTIME;
    const result = applyAttributes(fd, frame);
    if (result < 0 || frame.flags === 0) return result;
    return writeFlags(fd, frame.flags);
  }
}

/** The device number of an open object, 0 if it is no device; -errno. */
function deviceOf(fd: number): number {
  const frame = new Frame();
  const result = readAttributes(fd, frame);
  return result < 0 ? result : frame.rdev;
}
