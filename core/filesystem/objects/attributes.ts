/** An object's attributes, read from the backing directory into a frame: what OBJECT and OBJECT_END carry. */
import { AT_EMPTY_PATH, S_IFMT, S_IFREG, STATX_BASIC_STATS } from "../../platform/linux/constants.ts";
import { errnos } from "../../platform/linux/errno.ts";
import { allocate, getxattr, listxattr, readlinkat, statx } from "../../platform/linux/libc.ts";
import { getI64, getU64 } from "../../platform/linux/memory.ts";
import type { Frame } from "../../replication/operation.ts";
import { putXattr } from "../../replication/packed.ts";
import { readFlags } from "./flags.ts";
import { HIDDEN_ATTRIBUTES } from "./identity.ts";
import {
  descriptorPath,
  emptyString,
  STAT,
  STX_ATIME,
  STX_GID,
  STX_MODE,
  STX_MTIME,
  STX_SIZE,
  STX_UID,
  scratch,
  statAddress,
} from "./places.ts";

const LIST = 64 * 1024;
const room = allocate(3 * LIST);
const VALUE = LIST;
const STX_RDEV_MAJOR = 128;
const STX_RDEV_MINOR = 132;

/** Fills the frame's mode, owner, device, size and times from the open object. Returns 0 or -errno. */
export function readAttributes(fd: number, frame: Frame): number {
  const result = statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
  if (result < 0) return result;
  const { view } = scratch;
  frame.mode = view.getUint16(STAT + STX_MODE, true);
  frame.uid = view.getUint32(STAT + STX_UID, true);
  frame.gid = view.getUint32(STAT + STX_GID, true);
  frame.size = (frame.mode & S_IFMT) === S_IFREG ? getU64(view, STAT + STX_SIZE) : 0;
  frame.rdev = deviceNumber(
    view.getUint32(STAT + STX_RDEV_MAJOR, true),
    view.getUint32(STAT + STX_RDEV_MINOR, true),
  );
  frame.atime = getI64(view, STAT + STX_ATIME);
  frame.atimeNanos = view.getUint32(STAT + STX_ATIME + 8, true);
  frame.mtime = getI64(view, STAT + STX_MTIME);
  frame.mtimeNanos = view.getUint32(STAT + STX_MTIME + 8, true);
  frame.flags = readFlags(fd, frame.mode);
  return 0;
}

/** A dev_t as mknod(2) takes it. */
const deviceNumber = (major: number, minor: number): number =>
  ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor >>> 8) << 20)) >>> 0;

/** One extended attribute. */
export interface Attribute {
  name: Uint8Array;
  value: Uint8Array;
}

/** Extended attributes of an open object, ours left out, in the order of their names. Returns -errno when they cannot be read. */
export function readXattrs(fd: number): Attribute[] | number {
  const length = listxattr(descriptorPath(fd), room.address, LIST);
  if (length < 0) return length === -errnos.EOPNOTSUPP ? [] : length;
  const attributes: Attribute[] = [];
  for (let at = 0; at < length; ) {
    const end = room.bytes.indexOf(0, at);
    const name = room.bytes.slice(at, end);
    if (!HIDDEN_ATTRIBUTES.some((hidden) => Buffer.compare(hidden, name) === 0)) {
      const size = getxattr(descriptorPath(fd), room.address + at, room.address + VALUE, LIST);
      if (size >= 0) attributes.push({ name, value: room.bytes.slice(VALUE, VALUE + size) });
      else if (size !== -errnos.ENODATA && size !== -errnos.EOPNOTSUPP) return size;
    }
    at = end + 1;
  }
  return attributes.sort((a, b) => Buffer.compare(a.name, b.name));
}

/** Packs extended attributes as OBJECT carries them. */
export function packXattrs(attributes: readonly Attribute[]): Uint8Array {
  const out = new Uint8Array(
    attributes.reduce((sum, { name, value }) => sum + 5 + name.length + value.length, 0),
  );
  let at = 0;
  for (const { name, value } of attributes) at = putXattr(out, at, name, value);
  return out;
}

/** What a symbolic link says. Returns -errno. */
export function readTarget(fd: number): Uint8Array | number {
  const length = readlinkat(fd, emptyString, room.address + VALUE, LIST);
  return length < 0 ? length : room.bytes.slice(VALUE, VALUE + length);
}
