/**
 * Operations that make an object.
 *
 * The kernel has checked permissions (default_permissions); this process creates as root and then gives what it made the owner,
 * group and mode that the caller would have got. The umask is this process's for the time of the call, so that the
 * backing file system applies it, or a default ACL in its place, exactly once.
 */
import {
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  O_TMPFILE,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
  STATX_BASIC_STATS,
  STATX_CTIME,
  STATX_MTIME,
} from "../../../platform/linux/constants.ts";
import { errnos } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { getI64 } from "../../../platform/linux/memory.ts";
import type { ResultTimes } from "../../../replication/replicator.ts";
import {
  descriptorPath,
  emptyString,
  PARENT_STAT,
  STAT,
  STX_GID,
  STX_INO,
  STX_MODE,
  STX_MTIME,
  scratch,
  statAddress,
} from "../../objects/places.ts";
import { TYPE_REGULAR } from "../descriptors.ts";
import { ENTRY_SIZE, IN_GID, IN_UID, OPEN_SIZE, REPLY_HEADER } from "../fuse_protocol.ts";
import { EXCLUDED, UNLINKED } from "../node_table.ts";
import { NO_REPLY, PARKED } from "../outcome.ts";
import type { Session } from "../session.ts";
import { readParentTimes } from "./names.ts";
import { afterName, nameAt } from "./request_names.ts";
import { inheritAcls } from "./xattr.ts";

const { view } = scratch;
/** A new file is opened as `Descriptors` would open it: most are written next. */
const CREATE_FILE = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
/** Times are read at the end: one that was read is given a finer value by the next change, which costs more. */
const MADE = STATX_BASIC_STATS & ~(STATX_MTIME | STATX_CTIME);
const ourUid = libc.geteuid();
const dot = libc.cString(".").address;
const times: ResultTimes = { parentSeconds: 0, parentNanos: 0, objectSeconds: 0, objectNanos: 0 };

/** MKNOD: a file, a special file, a socket. */
export function makeNode(s: Session): number {
  const mode = s.request.view.getUint32(40, true);
  return create(s, 56, mode, s.request.view.getUint32(44, true), s.request.view.getUint32(48, true), 0);
}

/** MKDIR. */
export function makeDirectory(s: Session): number {
  const mode = s.request.view.getUint32(40, true);
  return create(s, 48, (mode & ~S_IFMT) | S_IFDIR, 0, s.request.view.getUint32(44, true), 0);
}

/** SYMLINK. */
export function makeSymlink(s: Session): number {
  return create(s, 40, 0o120777, 0, 0, afterName(s, 40));
}

/** Makes an object called by the name at `nameOffset`; `targetOffset` is that of a symlink's target, else 0. */
function create(
  s: Session,
  nameOffset: number,
  mode: number,
  device: number,
  mask: number,
  targetOffset: number,
): number {
  const parent = s.node();
  if (parent === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  if (backing.isPrivate(parent, request.bytes, nameOffset)) return -errnos.EPERM;
  const replicated = !backing.wouldExclude(parent, request, nameOffset);
  if (replicated && !replicator.beforeNames(backing.table.identity(parent))) return PARKED;
  // An identity of this node's own is enough for what the peer never sees.
  const fresh = replicated ? replicator.newIdentity() : -1;
  if (fresh === 0) return PARKED;
  const dir = backing.descriptors.get(parent);
  if (dir < 0) return dir;
  const name = request.address + nameOffset;
  const target = targetOffset === 0 ? 0 : request.address + targetOffset;
  const made = makeObject(name, dir, mode, device, mask, target);
  // The kernel knows that the name was free: who died before the answer made it.
  if (made < 0 && !(made === -errnos.EEXIST && s.isResent)) return made;
  const fd = Math.max(made, 0);
  const index = finishCreation(s, parent, dir, fd, nameOffset, mode, fresh);
  if (index < 0) {
    libc.unlinkat(dir, name, (mode & S_IFMT) === S_IFDIR ? AT_REMOVEDIR : 0);
    if (fd > 0) libc.close(fd);
    return index;
  }
  backing.writeEntry(s.reply, REPLY_HEADER, index);
  s.answer(ENTRY_SIZE);
  if (replicated) tellCreation(s, parent, dir, index, nameOffset, device, targetOffset);
  // Last: it may close the directory's.
  if (fd > 0) backing.descriptors.adopt(index, fd);
  return NO_REPLY;
}

/** Returns the open descriptor of a regular file, 0 for all else, or -errno. */
function makeObject(
  name: number,
  dir: number,
  mode: number,
  device: number,
  mask: number,
  target: number,
): number {
  if (target !== 0) return libc.symlinkat(target, dir, name);
  libc.umask(mask);
  const type = mode & S_IFMT;
  let made: number;
  if (type === S_IFDIR) made = libc.mkdirat(dir, name, mode & 0o7777);
  else if (type === S_IFREG) made = libc.openat(dir, name, CREATE_FILE, mode & 0o7777);
  else made = libc.mknodat(dir, name, mode, device);
  if (made === -errnos.EMFILE || made === -errnos.ENFILE) made = libc.mknodat(dir, name, mode, device);
  libc.umask(0);
  return made;
}

/**
 * Owner, identity and node of what was just made, and is open as `fd` unless that is 0; leaves its attributes in STAT.
 * Returns the index or -errno.
 */
function finishCreation(
  s: Session,
  parent: number,
  dir: number,
  fd: number,
  nameOffset: number,
  mode: number,
  fresh: number,
): number {
  const { backing, request } = s;
  const name = request.address + nameOffset;
  const at = fd > 0 ? fd : dir;
  const path = fd > 0 ? emptyString : name;
  const how = fd > 0 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
  readParentTimes(s, dir, times);
  let failed = libc.statx(at, path, how, MADE, statAddress);
  if (failed < 0) return failed;
  const createdMode = backing.mode();
  const uid = request.view.getUint32(IN_UID, true);
  const setgid = (view.getUint16(PARENT_STAT + STX_MODE, true) & S_ISGID) !== 0;
  const gid = setgid ? view.getUint32(PARENT_STAT + STX_GID, true) : request.view.getUint32(IN_GID, true);
  if (uid !== ourUid || gid !== view.getUint32(STAT + STX_GID, true)) {
    failed = libc.fchownat(at, path, uid, gid, how);
    if (failed < 0) return failed;
    // chown takes these bits away from all but directories.
    const lost = createdMode & (S_ISUID | S_ISGID);
    if ((mode & S_IFMT) !== S_IFDIR && lost !== 0) libc.fchmodat(dir, name, createdMode & 0o7777);
  }
  const low = view.getUint32(STAT + STX_INO, true);
  const high = view.getUint32(STAT + STX_INO + 4, true);
  const { identities } = backing;
  let written = -errnos.EOPNOTSUPP;
  if (fresh > 0)
    written =
      fd > 0
        ? identities.writeDescriptor(fd, false, fresh, low, high)
        : identities.writeName(dir, request.bytes, nameOffset, fresh, low, high);
  if (written !== 0 && written !== -errnos.EPERM && written !== -errnos.EOPNOTSUPP) return written;
  const identity = written === 0 ? fresh : identities.local(low, high);
  if (identity < 0) return identity;
  failed = libc.statx(at, path, how, STATX_BASIC_STATS, statAddress);
  if (failed < 0) return failed;
  backing.readHandle(at, path, fd > 0 ? AT_EMPTY_PATH : 0);
  // A record of the same number is of an object that went away beside us.
  const stale = backing.table.find(low, high);
  // Or who died before the answer made it: the kernel never heard of it.
  if (stale !== 0 && s.isResent) backing.free(stale);
  else if (stale !== 0) backing.table.unhash(stale);
  return backing.add(parent, dir, request, nameOffset, identity);
}

function tellCreation(
  s: Session,
  parent: number,
  dir: number,
  index: number,
  nameOffset: number,
  device: number,
  targetOffset: number,
): void {
  const { table } = s.backing;
  const target = targetOffset === 0 ? null : nameAt(s, targetOffset);
  const identity = table.identity(index);
  const seconds = getI64(view, STAT + STX_MTIME);
  const nanos = view.getUint32(STAT + STX_MTIME + 8, true);
  const isToldLater = s.times.kernelOwns && table.type(index) === TYPE_REGULAR;
  times.objectSeconds = isToldLater ? 0 : seconds;
  times.objectNanos = isToldLater ? 0 : nanos;
  const mode = s.backing.mode();
  s.replicator.create(
    table.identity(parent),
    nameAt(s, nameOffset),
    identity,
    mode,
    device,
    view.getUint32(STAT + 20, true),
    view.getUint32(STAT + STX_GID, true),
    target,
    times,
  );
  if (target === null) inheritAcls(s, parent, dir, index, nameOffset);
  if (isToldLater) s.times.made(index, seconds, nanos);
}

/** TMPFILE: open(2) with O_TMPFILE. */
export function createUnnamed(s: Session): number {
  const parent = s.node();
  if (parent === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  const replicated = !backing.isExcluded(parent);
  const fresh = replicated ? replicator.newIdentity() : -1;
  if (fresh === 0) return PARKED;
  const dir = backing.descriptors.get(parent);
  if (dir < 0) return dir;
  libc.umask(request.view.getUint32(48, true));
  const fd = libc.openat(dir, dot, O_TMPFILE | O_RDWR | O_CLOEXEC, request.view.getUint32(44, true) & 0o7777);
  libc.umask(0);
  if (fd < 0) return fd;
  const index = adoptUnnamed(s, parent, dir, fd, fresh);
  libc.close(fd);
  if (index < 0) return index;
  const { table } = backing;
  if (replicated)
    replicator.createUnnamed(
      table.identity(index),
      backing.mode(),
      view.getUint32(STAT + 20, true),
      view.getUint32(STAT + STX_GID, true),
      table.identity(parent),
    );
  backing.writeEntry(s.reply, REPLY_HEADER, index);
  s.reply.bytes.fill(0, REPLY_HEADER + ENTRY_SIZE, REPLY_HEADER + ENTRY_SIZE + OPEN_SIZE);
  return ENTRY_SIZE + OPEN_SIZE;
}

/** A record for the open file without a name. Returns the index or -errno. */
function adoptUnnamed(s: Session, parent: number, dir: number, fd: number, fresh: number): number {
  const { backing, request } = s;
  backing.statParent(dir);
  const setgid = (view.getUint16(PARENT_STAT + STX_MODE, true) & S_ISGID) !== 0;
  const gid = setgid ? view.getUint32(PARENT_STAT + STX_GID, true) : request.view.getUint32(IN_GID, true);
  let failed = backing.statDescriptor(fd);
  if (failed < 0) return failed;
  const createdMode = backing.mode() & 0o7777;
  failed = libc.fchownat(fd, emptyString, request.view.getUint32(IN_UID, true), gid, 0x1000);
  if (failed < 0) return failed;
  if ((createdMode & (S_ISUID | S_ISGID)) !== 0) libc.fchmod(fd, createdMode);
  failed = backing.statDescriptor(fd);
  if (failed < 0) return failed;
  const low = view.getUint32(STAT + STX_INO, true);
  const high = view.getUint32(STAT + STX_INO + 4, true);
  if (fresh > 0) {
    failed = backing.identities.writeDescriptor(fd, false, fresh, low, high);
    if (failed < 0) return failed;
  }
  backing.readHandle(fd, emptyString, 0x1000);
  const identity = fresh > 0 ? fresh : backing.identities.local(low, high);
  if (identity < 0) return identity;
  const index = backing.table.add(identity, low, high, backing.type(), scratch, 512);
  if (index === 0) return -errnos.ENFILE;
  // Without a name, only a descriptor keeps the file.
  backing.shelve(index, fd);
  const kept = libc.openat(-100, descriptorPath(fd), O_PATH | O_CLOEXEC, 0);
  if (kept < 0) {
    backing.table.free(index);
    return kept;
  }
  backing.descriptors.keep(index, kept);
  backing.table.setFlags(index, UNLINKED | (backing.table.flags(parent) & EXCLUDED));
  return index;
}
