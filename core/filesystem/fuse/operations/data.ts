/** Operations on the bytes of files: read, write, fsync, allocate. */
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  RWF_NOWAIT,
  S_ISGID,
  S_ISUID,
} from "../../../platform/linux/constants.ts";
import { errnos, isDiskFault } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { ATTR_MODE } from "../../../replication/replicator.ts";
import { Job } from "../../loop/pool.ts";
import { scratch, VECTOR, vectorAddress } from "../../objects/places.ts";
import {
  FSYNC_DATA_ONLY,
  IN_OPCODE,
  IN_UID,
  Op,
  REPLY_HEADER,
  WRITE_FROM_CACHE,
  WRITE_KILL_SUIDGID,
} from "../fuse_protocol.ts";
import { NO_REPLY, PARKED } from "../outcome.ts";
import type { Session } from "../session.ts";

/** Upper words of offsets from here on mean 2^53 and more: refused, since they could not be told apart. */
const TOO_HIGH = 1 << 21;
const TWO_32 = 4294967296;
const WRITE_DATA = 80;
const S_IXGRP = 0o010;

/** The 64-bit offset at `at`, or -1 when it is not below 2^53. */
function offsetAt(s: Session, at: number): number {
  const high = s.request.view.getUint32(at + 4, true);
  return high >= TOO_HIGH ? -1 : high * TWO_32 + s.request.view.getUint32(at, true);
}

/** Cached pages are answered at once; what must come from the disk goes through the pool. */
export function read(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const offset = offsetAt(s, 48);
  if (offset < 0) return -errnos.EOVERFLOW;
  const size = s.request.view.getUint32(56, true);
  const { descriptors } = s.backing;
  const fd = descriptors.get(index);
  if (fd < 0) return fd;
  const { words } = scratch;
  const address = s.reply.address + REPLY_HEADER;
  words[VECTOR >>> 2] = address >>> 0;
  words[(VECTOR >>> 2) + 1] = Math.floor(address / TWO_32);
  words[(VECTOR >>> 2) + 2] = size;
  words[(VECTOR >>> 2) + 3] = 0;
  const got = libc.preadv2(fd, vectorAddress, 1, offset, RWF_NOWAIT);
  if (got === size) return got;
  if (got < 0 && got !== -errnos.EAGAIN && got !== -errnos.EOPNOTSUPP) return got;
  // Less than asked for is the end of the file, or the end of what is cached.
  if (got >= 0 && offset + got >= libc.lseek(fd, 0, 2)) return got;
  if (s.pending.isFull) return PARKED;
  const line = s.pending.beginRead(descriptors.hold(index));
  if (s.pool.submit(Job.READ, fd, offset, size, 0, s.pending, line)) return NO_REPLY;
  s.pending.cancel(line);
  return PARKED;
}

/** WRITE: of the application, or of the kernel's cache of what it wrote. */
export function write(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  const offset = offsetAt(s, 48);
  if (offset < 0) return -errnos.EFBIG;
  const size = request.view.getUint32(56, true);
  const flags = request.view.getUint32(60, true);
  const replicated = !backing.isExcluded(index);
  const identity = backing.table.identity(index);
  const waits = replicated && s.options.durability === "write";
  if (waits && s.pending.isFull) return PARKED;
  if (replicated && !replicator.beforeData(identity, offset, size)) return PARKED;
  const fd = backing.descriptors.get(index);
  if (fd < 0) return fd;
  s.times.changing(index, fd);
  let written = writeAll(fd, request.address + WRITE_DATA, size, offset);
  if (written === -errnos.EBADF) written = append(s, index, fd, size, offset);
  const kept = written < 0 ? lastKept : written;
  if (written < 0) s.reportDisk(written, "write", index);
  s.syncs.wrote(index, kept);
  // Nothing else says that its time changed.
  if (kept === 0) s.times.settle(index);
  // Half a page written back is a failure of the page; half a write(2) is a short write.
  const failed = written < 0 && (kept === 0 || (flags & WRITE_FROM_CACHE) !== 0);
  const kills = (flags & WRITE_KILL_SUIDGID) !== 0 && kept > 0;
  const isAnswered = !waits && !kills;
  if (isAnswered) answerWrite(s, failed ? written : kept);
  let sequence = 0;
  if (replicated && kept > 0) {
    sequence = replicator.write(identity, offset, request.bytes, WRITE_DATA, kept);
    s.lastWrite = sequence;
  }
  if (kills) killPrivileges(s, index, fd);
  if (isAnswered) return NO_REPLY;
  if (waits && !failed && !replicator.isAcknowledged(sequence)) s.pending.beginWrite(sequence, kept);
  else answerWrite(s, failed ? written : kept);
  return NO_REPLY;
}

/** Answers with the bytes written, or -errno. */
function answerWrite(s: Session, result: number): void {
  s.reply.words[REPLY_HEADER >>> 2] = result;
  s.reply.words[(REPLY_HEADER >>> 2) + 1] = 0;
  s.answer(result < 0 ? result : 8);
}

/** Bytes that reached the file before `writeAll` failed. */
let lastKept = 0;

/** pwrite until all is written or there is an error, which a short count alone would not tell. */
function writeAll(fd: number, from: number, size: number, offset: number): number {
  lastKept = 0;
  while (lastKept < size) {
    const written = libc.pwrite(fd, from + lastKept, size - lastKept, offset + lastKept);
    if (written < 0) return written;
    if (written === 0) return -errnos.EIO;
    lastKept += written;
  }
  return size;
}

/**
 * The descriptor cannot write: the file is immutable, or append-only. What is appended to that comes in whole pages, with what is there already: that
 * must be the same, only the rest is written. Returns as `writeAll`.
 */
function append(s: Session, index: number, fd: number, size: number, offset: number): number {
  const from = s.request.address + WRITE_DATA;
  const there = libc.lseek(fd, 0, 2) - offset;
  const known = Math.min(there, size);
  if (known < 0 || libc.pread(fd, s.reply.address, known, offset) !== known) return -errnos.EPERM;
  const old = s.reply.bytes.subarray(0, known);
  if (Buffer.compare(old, s.request.bytes.subarray(WRITE_DATA, WRITE_DATA + known)) !== 0)
    return -errnos.EPERM;
  const to = s.backing.descriptors.openToAppend(index);
  if (to < 0) return to;
  const written = writeAll(to, from + known, size - known, offset + known);
  libc.close(to);
  lastKept += known;
  return written < 0 ? written : size;
}

/** A write by someone without CAP_FSETID takes the set-user-id and set-group-id bits away. */
export function killPrivileges(s: Session, index: number, fd: number): void {
  const { backing } = s;
  if (backing.statDescriptor(fd) < 0) return;
  const mode = backing.mode() & 0o7777;
  const stripped = mode & ~S_ISUID & ((mode & S_IXGRP) !== 0 ? ~S_ISGID : -1);
  if (stripped === mode || libc.fchmod(fd, stripped) < 0 || backing.isExcluded(index)) return;
  s.replicator.setAttributes(backing.table.identity(index), ATTR_MODE, stripped, 0, 0, 0, 0, 0, 0, 0);
}

/** fsync and fdatasync: the peer is asked first, this disk syncs meanwhile, the answer waits for both. */
export function fsync(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  if (s.pending.isFull) return PARKED;
  const { backing } = s;
  const directory = s.request.view.getUint32(IN_OPCODE, true) === Op.FSYNCDIR;
  const dataOnly = !directory && (s.request.view.getUint32(48, true) & FSYNC_DATA_ONLY) !== 0;
  s.times.synced(index, dataOnly);
  s.sinceSync = 0;
  const fd = backing.descriptors.get(index);
  if (fd < 0) return fd;
  const slot = backing.descriptors.hold(index);
  const ticket = backing.isExcluded(index) ? 0 : s.replicator.sync(backing.table.identity(index), dataOnly);
  const line = s.pending.beginSync(ticket, slot);
  s.syncs.add(line, index, fd, dataOnly);
  return NO_REPLY;
}

/** close(2): with `close: acknowledged` it waits until the peer has what was written. */
export function flush(s: Session): number {
  if (s.options.close === "ordered") return -errnos.ENOSYS;
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  if (s.backing.isExcluded(index)) return 0;
  if (s.pending.isFull) return PARKED;
  s.times.synced(index, false);
  if (s.replicator.isAcknowledged(s.lastWrite)) return 0;
  s.pending.beginFlush(s.lastWrite);
  return NO_REPLY;
}

/** fallocate(2), without those modes that move what follows. */
export function allocateRange(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const { backing, replicator } = s;
  const offset = offsetAt(s, 48);
  const length = offsetAt(s, 56);
  if (offset < 0 || length < 0) return -errnos.EFBIG;
  const mode = s.request.view.getUint32(64, true);
  if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) !== 0)
    return -errnos.EOPNOTSUPP;
  const replicated = !backing.isExcluded(index);
  const identity = backing.table.identity(index);
  if (replicated && !replicator.beforeData(identity, offset, length)) return PARKED;
  const fd = backing.descriptors.get(index);
  if (fd < 0) return fd;
  s.times.changing(index, fd);
  const size = libc.lseek(fd, 0, 2);
  const result = libc.fallocate(fd, mode, offset, length);
  if (result < 0) {
    // A disk that became full on the way leaves the file longer, of which neither the kernel nor the peer hears.
    if (libc.lseek(fd, 0, 2) > size) libc.ftruncate(fd, size);
    s.times.settle(index);
    s.reportDisk(result, "fallocate", index);
    const erases = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) !== 0;
    if (replicated && erases && (isDiskFault(result) || result === -errnos.EINTR))
      replicator.failedHalfway(identity, offset, length);
    return result;
  }
  if (replicated) replicator.allocate(identity, mode, offset, length);
  // The request does not say whether the caller has CAP_FSETID: root has.
  if (s.request.view.getUint32(IN_UID, true) !== 0) killPrivileges(s, index, fd);
  return 0;
}
