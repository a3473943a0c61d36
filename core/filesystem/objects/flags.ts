/**
 * The flags of chattr(1), as FS_IOC_GETFLAGS and FS_IOC_SETFLAGS have them (ioctl_iflags(2)), as far as copies share them. Two of them, immutable and
 * append only, forbid what a replica must do all the same: the primary may have set them after it had opened what it changes.
 */
import {
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from "../../platform/linux/constants.ts";
import { allocate, ioctl } from "../../platform/linux/libc.ts";
import { modeOf } from "./object_access.ts";

/** It can be appended to, and not be changed otherwise. */
export const APPEND_ONLY = 0x20;
/** Immutable, append only, no dump, no atime. The others say how a disk stores it. */
const SHARED_FLAGS = 0x10 | APPEND_ONLY | 0x40 | 0x80;
const room = allocate(8);

/** All flags of an open object, or -errno. */
function get(fd: number): number {
  room.view.setUint32(0, 0, true);
  const result = ioctl(fd, FS_IOC_GETFLAGS, room.address);
  return result < 0 ? result : room.view.getUint32(0, true);
}

/** Those that copies share, of an open object of this mode; 0 where there are none. */
export function readFlags(fd: number, mode: number): number {
  const type = mode & S_IFMT;
  if (type !== S_IFREG && type !== S_IFDIR) return 0;
  return Math.max(0, get(fd)) & SHARED_FLAGS;
}

/** Sets those that copies share; the disk's own stay, since to take one away may be refused. Returns 0 or more, or -errno. */
export function writeFlags(fd: number, flags: number): number {
  const all = get(fd);
  if (all < 0) return all;
  room.view.setUint32(0, (all & ~SHARED_FLAGS) | (flags & SHARED_FLAGS), true);
  return ioctl(fd, FS_IOC_SETFLAGS, room.address);
}

/**
 * Does what was refused once more, with the flags of an open object taken away, and puts them back. `fdOf` gives its descriptor, or -errno: another one
 * after `change` where that opens it anew. Returns `refused` where there were no flags, else what `change` does, or -errno.
 */
export function despiteFlags(fdOf: () => number, refused: number, change: () => number): number {
  const fd = fdOf();
  const flags = fd < 0 ? 0 : readFlags(fd, modeOf(fd));
  if (flags === 0 || writeFlags(fd, 0) < 0) return refused;
  const result = change();
  const restored = writeFlags(fdOf(), flags);
  return result < 0 ? result : restored;
}
