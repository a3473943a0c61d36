/** Operations on attributes: stat, chmod, chown, truncate, utimes, and the flags of chattr. */
import {
  AT_EMPTY_PATH,
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  S_IFREG,
  UTIME_NOW,
  UTIME_OMIT,
} from "../../../platform/linux/constants.ts";
import { errnos } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { getI64, getU64 } from "../../../platform/linux/memory.ts";
import { ATTR_MODE } from "../../../replication/replicator.ts";
import { APPEND_ONLY, readFlags } from "../../objects/flags.ts";
import {
  descriptorPath,
  emptyString,
  STAT,
  STX_ATIME,
  STX_CTIME,
  STX_GID,
  STX_INO,
  STX_MTIME,
  STX_SIZE,
  STX_UID,
  scratch,
  statAddress,
  TIMES,
  timesAddress,
} from "../../objects/places.ts";
import { writeAttributes } from "../backing.ts";
import { isOpenable, TYPE_REGULAR } from "../descriptors.ts";
import { ATTR_ATTR, ATTR_SIZE, Fattr, FOREVER_HIGH, REPLY_HEADER } from "../fuse_protocol.ts";
import { GONE } from "../node_table.ts";
import { NO_REPLY, PARKED } from "../outcome.ts";
import type { Session } from "../session.ts";
import { killPrivileges } from "./data.ts";

const { view } = scratch;
const KEEP_OWNER = 0xffffffff;

/** The answer to GETATTR and SETATTR, from the STAT place. */
function attributesReply(s: Session, index: number): number {
  const out = REPLY_HEADER >>> 2;
  const { words } = s.reply;
  words[out] = 0;
  words[out + 1] = FOREVER_HIGH;
  words[out + 2] = 0;
  words[out + 3] = 0;
  writeAttributes(s.reply, REPLY_HEADER + ATTR_ATTR, s.backing.table.identity(index));
  return ATTR_SIZE;
}

/** GETATTR. */
export function getAttributes(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const failed = s.backing.statNode(index);
  return failed < 0 ? failed : attributesReply(s, index);
}

/** statx(2) as it is, with our inode number: asked for when a program wants the time of birth. */
export function getStatx(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const failed = s.backing.statNode(index);
  if (failed < 0) return failed;
  const to = s.reply.bytes;
  to.fill(0, REPLY_HEADER, REPLY_HEADER + 288);
  s.reply.view.setUint32(REPLY_HEADER + 4, FOREVER_HIGH, true);
  for (let i = 0; i < 256; i++) to[REPLY_HEADER + 32 + i] = scratch.bytes[STAT + i]!;
  const identity = s.backing.table.identity(index);
  s.reply.view.setUint32(REPLY_HEADER + 32 + STX_INO, identity >>> 0, true);
  s.reply.view.setUint32(REPLY_HEADER + 36 + STX_INO, Math.floor(identity / 4294967296), true);
  // The kernel takes only these bits of the mask: basic attributes and the birth time.
  return 288;
}

/** SETATTR: chmod, chown, truncate, utimes, one or several at once. */
export function setAttributes(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const { backing } = s;
  const input = s.request.view;
  const valid = input.getUint32(40, true);
  // The kernel tells the times of every removed file before it forgets it: marking those would cost each removal a sync of the log.
  const isOnlyTimes = (valid & (Fattr.MODE | Fattr.UID | Fattr.GID | Fattr.SIZE)) === 0;
  const isIdle = isOnlyTimes && (backing.table.flags(index) & GONE) !== 0;
  const replicated = !isIdle && !backing.isExcluded(index);
  const identity = backing.table.identity(index);
  const size = getU64(input, 56);
  if ((valid & Fattr.SIZE) !== 0 && size >= 2 ** 53) return -errnos.EFBIG;
  if (replicated) {
    if (!s.replicator.beforeAttributes(identity)) return PARKED;
    if ((valid & Fattr.SIZE) !== 0 && !s.replicator.beforeData(identity, size, 0)) return PARKED;
  }
  const tellsTime = (valid & Fattr.MTIME) !== 0 && (valid & Fattr.MTIME_NOW) === 0;
  const isTimeAlone = tellsTime && isOnlyTimes && (valid & Fattr.ATIME) === 0;
  const isKernels = isTimeAlone && s.times.kernelOwns && backing.table.type(index) === TYPE_REGULAR;
  // What is removed is not opened again for a time that only the kernel will ever ask itself for.
  const kept = isIdle && isKernels ? backing.descriptors.kept(index) : -1;
  const fd = kept >= 0 ? kept : backing.descriptors.get(index);
  if (fd < 0) return fd;
  let failed = kept >= 0 ? 0 : change(s, index, fd, valid, size);
  if (failed < 0) s.reportDisk(failed, "setattr", index);
  // Nobody may set the times of an append-only file, nor may who appended hear of that: it has those that it got.
  const isLeft = isKernels && failed === -errnos.EPERM && (readFlags(fd, S_IFREG) & APPEND_ONLY) !== 0;
  if (isLeft) {
    failed = 0;
    s.times.settle(index);
  } else if (tellsTime && failed >= 0) s.times.told(index, getI64(input, 80), input.getUint32(100, true));
  const stat = isKernels && failed >= 0 && !isLeft ? statButTimes(s, fd) : backing.statDescriptor(fd);
  if (stat < 0) return failed < 0 ? failed : stat;
  s.answer(failed < 0 ? failed : attributesReply(s, index));
  // What was changed before a failure is told too: the copies must not differ.
  if (replicated) tellAttributes(s, identity, valid);
  return NO_REPLY;
}

/** As `statDescriptor`, with the modification time that the request told: reading it would make the next fsync dearer (see ModificationTimes). */
function statButTimes(s: Session, fd: number): number {
  const stat = s.backing.statDescriptor(fd, false);
  putToldTime(STX_MTIME, s.request.view);
  putToldTime(STX_CTIME, s.request.view);
  return stat;
}

function putToldTime(time: number, input: DataView): void {
  view.setUint32(STAT + time, input.getUint32(80, true), true);
  view.setUint32(STAT + time + 4, input.getUint32(84, true), true);
  view.setUint32(STAT + time + 8, input.getUint32(100, true), true);
}

/** Applies what `valid` names to the backing object. Returns 0 or -errno. */
function change(s: Session, index: number, fd: number, valid: number, size: number): number {
  const input = s.request.view;
  let result = 0;
  if ((valid & (Fattr.UID | Fattr.GID)) !== 0) {
    const uid = (valid & Fattr.UID) !== 0 ? input.getUint32(116, true) : KEEP_OWNER;
    const gid = (valid & Fattr.GID) !== 0 ? input.getUint32(120, true) : KEEP_OWNER;
    result = libc.fchownat(fd, emptyString, uid, gid, AT_EMPTY_PATH);
    if (result < 0) return result;
  }
  if ((valid & Fattr.MODE) !== 0) {
    const mode = input.getUint32(108, true) & 0o7777;
    const real = isOpenable(s.backing.table.type(index));
    result = real ? libc.fchmod(fd, mode) : libc.fchmodat(-100, descriptorPath(fd), mode);
    if (result < 0) return result;
  }
  if ((valid & Fattr.SIZE) !== 0) {
    result = libc.ftruncate(fd, size);
    // A descriptor that could not be opened for writing: an immutable or append-only file.
    if (result === -errnos.EINVAL || result === -errnos.EBADF) return -errnos.EPERM;
    if (result < 0) return result;
    if ((valid & Fattr.KILL_SUIDGID) !== 0) killPrivileges(s, index, fd);
  }
  return (valid & (Fattr.ATIME | Fattr.MTIME)) !== 0 ? changeTimes(s, fd, valid) : 0;
}

/** Seconds go over as 64-bit words, so that dates before 1970 and far ahead stay what they are. */
function changeTimes(s: Session, fd: number, valid: number): number {
  const input = s.request.view;
  const omit = UTIME_OMIT;
  setTime(
    TIMES,
    input,
    72,
    96,
    (valid & Fattr.ATIME) === 0 ? omit : (valid & Fattr.ATIME_NOW) !== 0 ? UTIME_NOW : -1,
  );
  setTime(
    TIMES + 16,
    input,
    80,
    100,
    (valid & Fattr.MTIME) === 0 ? omit : (valid & Fattr.MTIME_NOW) !== 0 ? UTIME_NOW : -1,
  );
  return libc.utimensat(fd, emptyString, timesAddress, AT_EMPTY_PATH);
}

function setTime(at: number, input: DataView, seconds: number, nanos: number, special: number): void {
  view.setUint32(at, input.getUint32(seconds, true), true);
  view.setUint32(at + 4, input.getUint32(seconds + 4, true), true);
  view.setUint32(at + 8, special < 0 ? input.getUint32(nanos, true) : special, true);
  view.setUint32(at + 12, 0, true);
}

/** Tells what STAT says now about the fields that were named; a new size brings its modification time, a new owner may have cost mode bits. */
function tellAttributes(s: Session, identity: number, valid: number): void {
  let told = valid & 63;
  if ((valid & Fattr.SIZE) !== 0) told |= Fattr.MTIME;
  if ((valid & (Fattr.UID | Fattr.GID)) !== 0 && s.backing.type() !== 10) told |= ATTR_MODE;
  if (told === 0) return;
  s.replicator.setAttributes(
    identity,
    told,
    s.backing.mode() & 0o7777,
    view.getUint32(STAT + STX_UID, true),
    view.getUint32(STAT + STX_GID, true),
    getU64(view, STAT + STX_SIZE),
    getI64(view, STAT + STX_ATIME),
    view.getUint32(STAT + STX_ATIME + 8, true),
    getI64(view, STAT + STX_MTIME),
    view.getUint32(STAT + STX_MTIME + 8, true),
  );
}

/** Bits of FS_IOC_FSSETXATTR's `xflags` and those of FS_IOC_SETFLAGS that mean the same. */
const FSX_SIZE = 28;
const IOCTL_HEADER = 16;

/** lsattr and chattr. Others are refused as on a file system that does not know them. */
export function ioctl(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  const command = request.view.getUint32(52, true);
  const writes = command === FS_IOC_SETFLAGS || command === FS_IOC_FSSETXATTR;
  const size = command === FS_IOC_FSGETXATTR || command === FS_IOC_FSSETXATTR ? FSX_SIZE : 4;
  if (!writes && command !== FS_IOC_GETFLAGS && command !== FS_IOC_FSGETXATTR) return -errnos.ENOTTY;
  if (!isOpenable(backing.table.type(index))) return -errnos.ENOTTY;
  const replicated = writes && !backing.isExcluded(index);
  const identity = backing.table.identity(index);
  if (replicated && !replicator.beforeAttributes(identity)) return PARKED;
  const fd = backing.descriptors.get(index);
  if (fd < 0) return fd;
  const payload = REPLY_HEADER + IOCTL_HEADER;
  s.reply.bytes.fill(0, REPLY_HEADER, payload + FSX_SIZE);
  const result = libc.ioctl(fd, command, writes ? request.address + 72 : s.reply.address + payload);
  if (result < 0) return result;
  if (replicated && libc.ioctl(fd, FS_IOC_GETFLAGS, statAddress) >= 0)
    replicator.setFlags(identity, view.getUint32(STAT, true));
  if (writes) backing.descriptors.reopen(index);
  return writes ? IOCTL_HEADER : IOCTL_HEADER + size;
}
