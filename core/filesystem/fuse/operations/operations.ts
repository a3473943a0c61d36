/** Which operation answers which request, and the requests about the mount as a whole. */
import { errnos } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { STATFS, scratch, statfsAddress } from "../../objects/places.ts";
import {
  FUSE_MAJOR,
  FUSE_MINOR,
  IN_OPCODE,
  INIT2_HAS_RESEND,
  Init,
  MAX_TRANSFER,
  Op,
  REPLY_HEADER,
} from "../fuse_protocol.ts";
import { NO_REPLY } from "../outcome.ts";
import type { Session } from "../session.ts";
import { createUnnamed, makeDirectory, makeNode, makeSymlink } from "./creation.ts";
import { allocateRange, flush, fsync, read, write } from "./data.ts";
import { readDirectory } from "./directory.ts";
import { getAttributes, getStatx, ioctl, setAttributes } from "./metadata.ts";
import { link, lookup, readLink, unlink } from "./names.ts";
import { rename } from "./rename.ts";
import { getXattr, listXattr, removeXattr, setXattr } from "./xattr.ts";

/** Acts on the request at hand. Returns the length of the reply's payload, -errno, PARKED or NO_REPLY. */
export function operate(s: Session): number {
  switch (s.request.view.getUint32(IN_OPCODE, true)) {
    case Op.READ: return read(s);
    case Op.WRITE: return write(s);
    case Op.LOOKUP: return lookup(s);
    case Op.GETATTR: return getAttributes(s);
    case Op.SETATTR: return setAttributes(s);
    case Op.FSYNC: case Op.FSYNCDIR: return fsync(s);
    case Op.FORGET: return forget(s);
    case Op.BATCH_FORGET: return forgetMany(s);
    case Op.MKNOD: return makeNode(s);
    case Op.MKDIR: return makeDirectory(s);
    case Op.SYMLINK: return makeSymlink(s);
    case Op.UNLINK: return unlink(s, false);
    case Op.RMDIR: return unlink(s, true);
    case Op.RENAME: return rename(s, false);
    case Op.RENAME2: return rename(s, true);
    case Op.LINK: return link(s);
    case Op.READLINK: return readLink(s);
    case Op.TMPFILE: return createUnnamed(s);
    case Op.READDIR: return readDirectory(s, false);
    case Op.READDIRPLUS: return readDirectory(s, true);
    case Op.GETXATTR: return getXattr(s);
    case Op.LISTXATTR: return listXattr(s);
    case Op.SETXATTR: return setXattr(s);
    case Op.REMOVEXATTR: return removeXattr(s);
    case Op.STATFS: return statfs(s);
    case Op.STATX: return getStatx(s);
    case Op.FALLOCATE: return allocateRange(s);
    case Op.IOCTL: return ioctl(s);
    case Op.FLUSH: return flush(s);
    case Op.INIT: return init(s);
    // Asked only of descriptors that were opened with a message: those of O_TMPFILE.
    case Op.RELEASE: case Op.RELEASEDIR: return 0;
    case Op.INTERRUPT: return NO_REPLY;
    case Op.DESTROY: return 0;
    default: return -errnos.ENOSYS;
  }
} // biome-ignore format: a table

/** Agrees on the protocol. Sent once for a mount, never after a server was replaced. */
function init(s: Session): number {
  const { view } = s.request;
  if (view.getUint32(40, true) !== FUSE_MAJOR) {
    // A newer kernel asks again in the version that it is told.
    s.reply.view.setUint32(REPLY_HEADER, FUSE_MAJOR, true);
    s.reply.view.setUint32(REPLY_HEADER + 4, FUSE_MINOR, true);
    return 24;
  }
  const offered = view.getUint32(52, true);
  const offered2 = (offered & Init.INIT_EXT) !== 0 ? view.getUint32(56, true) : 0;
  let wanted =
    Init.ASYNC_READ | Init.EXPORT_SUPPORT | Init.BIG_WRITES | Init.DONT_MASK | Init.HAS_IOCTL_DIR | Init.DO_READDIRPLUS |
    Init.READDIRPLUS_AUTO | Init.ASYNC_DIO | Init.PARALLEL_DIROPS | Init.POSIX_ACL | Init.ABORT_ERROR | Init.MAX_PAGES |
    Init.CACHE_SYMLINKS | Init.EXPLICIT_INVAL_DATA | Init.HANDLE_KILLPRIV_V2 | Init.SETXATTR_EXT | Init.INIT_EXT; // biome-ignore format: by bit
  // With `durability: write` each write(2) must reach the peer before it returns.
  if (s.options.durability === "fsync") wanted |= Init.WRITEBACK_CACHE;
  const out = s.reply.view;
  s.reply.bytes.fill(0, REPLY_HEADER, REPLY_HEADER + 64);
  out.setUint32(REPLY_HEADER, FUSE_MAJOR, true);
  out.setUint32(REPLY_HEADER + 4, Math.min(FUSE_MINOR, view.getUint32(44, true)), true);
  out.setUint32(REPLY_HEADER + 8, Math.max(view.getUint32(48, true), MAX_TRANSFER), true);
  out.setUint32(REPLY_HEADER + 12, wanted & offered, true);
  out.setUint16(REPLY_HEADER + 16, 64, true);
  out.setUint16(REPLY_HEADER + 18, 48, true);
  out.setUint32(REPLY_HEADER + 20, MAX_TRANSFER, true);
  out.setUint32(REPLY_HEADER + 24, 1, true);
  out.setUint16(REPLY_HEADER + 28, MAX_TRANSFER / 4096, true);
  out.setUint32(REPLY_HEADER + 32, INIT2_HAS_RESEND & offered2, true);
  s.backing.table.resends = (INIT2_HAS_RESEND & offered2) !== 0;
  return 64;
}

function forget(s: Session): number {
  s.forget(s.node(), count64(s, 40));
  return NO_REPLY;
}

function forgetMany(s: Session): number {
  const count = s.request.view.getUint32(40, true);
  for (let i = 0, at = 48; i < count; i++, at += 16) s.forget(s.nodeAt(at), count64(s, at + 8));
  return NO_REPLY;
}

function count64(s: Session, at: number): number {
  return s.request.view.getUint32(at, true) + s.request.view.getUint32(at + 4, true) * 4294967296;
}

function statfs(s: Session): number {
  const result = libc.fstatfs(s.backing.rootFd, statfsAddress);
  if (result < 0) return result;
  const from = STATFS >>> 2;
  const to = REPLY_HEADER >>> 2;
  const { words } = s.reply;
  // blocks, free, available, files, free files: five 64-bit numbers in the same order.
  for (let i = 0; i < 10; i++) words[to + i] = scratch.words[from + 4 + i]!;
  words[to + 10] = scratch.words[from + 2]!;
  words[to + 11] = scratch.words[from + 16]!;
  words[to + 12] = scratch.words[from + 18]!;
  for (let i = 13; i < 20; i++) words[to + i] = 0;
  return 80;
}
