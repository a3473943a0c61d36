/**
 * Operations on names: find, create, link, rename, remove.
 *
 * The kernel has checked permissions (default_permissions); this process creates as root and then gives what it made the owner,
 * group and mode that the caller would have got. The umask is this process's for the time of the call, so that the
 * backing file system applies it, or a default ACL in its place, exactly once.
 */
import {
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
  O_TMPFILE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
} from "../platform/linux/constants.ts";
import { errnos } from "../platform/linux/errno.ts";
import * as libc from "../platform/linux/libc.ts";
import { getI64 } from "../platform/linux/memory.ts";
import type { ResultTimes } from "../replication/replicator.ts";
import { ENTRY_SIZE, IN_GID, IN_UID, OPEN_SIZE, REPLY_HEADER } from "./fuse_protocol.ts";
import { EXCLUDED, GONE, ROOT, UNLINKED } from "./node_table.ts";
import { inheritAcls } from "./operations_xattr.ts";
import {
  descriptorPath,
  emptyString,
  PARENT_STAT,
  parentStatAddress,
  STAT,
  STX_GID,
  STX_INO,
  STX_MODE,
  STX_MTIME,
  STX_NLINK,
  scratch,
} from "./places.ts";
import type { Session } from "./session.ts";
import { PARKED } from "./session.ts";

const { view } = scratch;
const ourUid = libc.geteuid();
const dot = libc.cString(".").address;
const times: ResultTimes = { parentSeconds: 0, parentNanos: 0, objectSeconds: 0, objectNanos: 0 };
const otherTimes: ResultTimes = { parentSeconds: 0, parentNanos: 0, objectSeconds: 0, objectNanos: 0 };

/** The offset behind the NUL that ends the name at `at`. */
function afterName(s: Session, at: number): number {
  return s.request.bytes.indexOf(0, at) + 1;
}

/** The bytes of the name at `at`, without the NUL: for the replicator, not for the hot path. */
function nameAt(s: Session, at: number): Uint8Array {
  return s.request.bytes.subarray(at, s.request.bytes.indexOf(0, at));
}

/** Reads the modification time of the directory `dir` into `into`. */
function readParentTimes(s: Session, dir: number, into: ResultTimes): void {
  s.backing.statParent(dir);
  into.parentSeconds = getI64(view, PARENT_STAT + STX_MTIME);
  into.parentNanos = view.getUint32(PARENT_STAT + STX_MTIME + 8, true);
  into.objectSeconds = 0;
  into.objectNanos = 0;
}

export function lookup(s: Session): number {
  const parent = s.node();
  if (parent === 0) return -errnos.ESTALE;
  const { backing } = s;
  const dir = backing.descriptors.get(parent);
  if (dir < 0) return dir;
  let index = -errnos.ENOENT;
  // ".." is asked by file handle (NFS); above the top there is nothing of ours.
  if (parent === ROOT && isDotDot(s.request.bytes, 40)) {
    index = backing.statDescriptor(dir) < 0 ? -errnos.EIO : ROOT;
  } else if (!backing.isPrivate(parent, s.request.bytes, 40)) {
    index = backing.resolve(parent, dir, s.request, 40);
  }
  if (index === -errnos.ENOENT) backing.writeNegative(s.reply, REPLY_HEADER);
  else if (index < 0) return index;
  else backing.writeEntry(s.reply, REPLY_HEADER, index);
  return ENTRY_SIZE;
}

function isDotDot(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 46 && bytes[at + 1] === 46 && bytes[at + 2] === 0;
}

export function makeNode(s: Session): number {
  const mode = s.request.view.getUint32(40, true);
  return create(s, 56, mode, s.request.view.getUint32(44, true), s.request.view.getUint32(48, true), 0);
}

export function makeDirectory(s: Session): number {
  const mode = s.request.view.getUint32(40, true);
  return create(s, 48, (mode & ~S_IFMT) | S_IFDIR, 0, s.request.view.getUint32(44, true), 0);
}

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
  const made = makeObject(
    name,
    dir,
    mode,
    device,
    mask,
    targetOffset === 0 ? 0 : request.address + targetOffset,
  );
  // The kernel knows that the name was free: who died before the answer made it.
  if (made < 0 && !(made === -errnos.EEXIST && s.isResent)) return made;
  const index = finishCreation(s, parent, dir, nameOffset, mode, fresh);
  if (index < 0) {
    libc.unlinkat(dir, name, (mode & S_IFMT) === S_IFDIR ? AT_REMOVEDIR : 0);
    return index;
  }
  if (replicated) tellCreation(s, parent, dir, index, nameOffset, device, targetOffset);
  backing.writeEntry(s.reply, REPLY_HEADER, index);
  return ENTRY_SIZE;
}

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
  const made =
    (mode & S_IFMT) === S_IFDIR
      ? libc.mkdirat(dir, name, mode & 0o7777)
      : libc.mknodat(dir, name, mode, device);
  libc.umask(0);
  return made;
}

/** Owner, identity and node of what was just made; leaves its attributes in STAT. Returns the index or -errno. */
function finishCreation(
  s: Session,
  parent: number,
  dir: number,
  nameOffset: number,
  mode: number,
  fresh: number,
): number {
  const { backing, request } = s;
  const name = request.address + nameOffset;
  readParentTimes(s, dir, times);
  let failed = libc.statx(dir, name, AT_SYMLINK_NOFOLLOW, 0x7ff, scratch.address + STAT);
  if (failed < 0) return failed;
  const createdMode = backing.mode();
  const uid = request.view.getUint32(IN_UID, true);
  const setgid = (view.getUint16(PARENT_STAT + STX_MODE, true) & S_ISGID) !== 0;
  const gid = setgid ? view.getUint32(PARENT_STAT + STX_GID, true) : request.view.getUint32(IN_GID, true);
  if (uid !== ourUid || gid !== view.getUint32(STAT + STX_GID, true)) {
    failed = libc.fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW);
    if (failed < 0) return failed;
    // chown takes these bits away from all but directories.
    const lost = mode & (S_ISUID | S_ISGID);
    if ((mode & S_IFMT) === S_IFREG && lost !== 0) libc.fchmodat(dir, name, (createdMode & 0o7777) | lost);
  }
  const low = view.getUint32(STAT + STX_INO, true);
  const high = view.getUint32(STAT + STX_INO + 4, true);
  let identity = backing.identities.local(low, high);
  if (fresh > 0) {
    const written = backing.identities.writeName(dir, request.bytes, nameOffset, fresh, low, high);
    if (written === 0) identity = fresh;
    else if (written !== -errnos.EPERM && written !== -errnos.EOPNOTSUPP) return written;
  }
  failed = libc.statx(dir, name, AT_SYMLINK_NOFOLLOW, 0x7ff, scratch.address + STAT);
  if (failed < 0) return failed;
  backing.readHandle(dir, name, 0);
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
  times.objectSeconds = getI64(view, STAT + STX_MTIME);
  times.objectNanos = view.getUint32(STAT + STX_MTIME + 8, true);
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
}

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
  let failed = libc.fchownat(fd, emptyString, request.view.getUint32(IN_UID, true), gid, 0x1000);
  if (failed < 0) return failed;
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

/** Removes the name at 40. What is still open lives on, held by a descriptor until the kernel forgets it. */
export function unlink(s: Session, directory: boolean): number {
  const parent = s.node();
  if (parent === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  if (backing.isPrivate(parent, request.bytes, 40)) return -errnos.ENOENT;
  const dir = backing.descriptors.get(parent);
  if (dir < 0) return dir;
  const victim = openVictim(s, parent, dir, 40);
  // The kernel knows that the name was there: who died before the answer removed it.
  if (victim === -errnos.ENOENT && s.isResent) return 0;
  if (victim < 0) return victim;
  const index = victimIndex;
  const excluded = backing.isExcluded(index);
  if (!excluded && !replicator.beforeNames(backing.table.identity(parent))) {
    dismissVictim(s, victim, index);
    return PARKED;
  }
  keepAlive(s, victim, index);
  const removed = libc.unlinkat(dir, request.address + 40, directory ? AT_REMOVEDIR : 0);
  if (removed < 0) {
    dismissVictim(s, victim, index);
    return removed;
  }
  const identity = backing.table.identity(index);
  const last = isLastName(s);
  buryVictim(s, victim, index);
  if (!excluded) {
    readParentTimes(s, dir, times);
    replicator.unlink(backing.table.identity(parent), nameAt(s, 40), directory, identity, times, last);
  }
  return 0;
}

/** The node of the object that `openVictim` opened. */
let victimIndex = 0;

/** Opens what is about to lose a name, so that it cannot vanish. Returns an O_PATH descriptor or -errno; leaves its attributes in STAT. */
function openVictim(s: Session, parent: number, dir: number, nameOffset: number): number {
  const { backing, request } = s;
  const fd = libc.openat(dir, request.address + nameOffset, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  const failed = backing.statDescriptor(fd);
  const index = failed < 0 ? failed : backing.nodeOfStat(parent, dir, request, nameOffset);
  if (index < 0) {
    libc.close(fd);
    return index;
  }
  victimIndex = index;
  return fd;
}

/** The removal did not happen. */
function dismissVictim(s: Session, fd: number, index: number): void {
  libc.close(fd);
  s.backing.dropIfUnknown(index);
}

/** Does the object in STAT lose its last name? */
function isLastName(s: Session): boolean {
  return s.backing.type() === 4 || view.getUint32(STAT + STX_NLINK, true) <= 1;
}

/** The object in STAT is about to lose a name: if it is its last, and the object is in use, it must not die with this process. */
function keepAlive(s: Session, fd: number, index: number): void {
  if (isLastName(s) && s.backing.table.lookups(index) > 0) s.backing.shelve(index, fd);
}

/** A name is gone; STAT still says how many there were. */
function buryVictim(s: Session, fd: number, index: number): void {
  const { backing } = s;
  const last = isLastName(s);
  if (last && backing.table.lookups(index) > 0) {
    backing.table.setFlags(index, backing.table.flags(index) | UNLINKED | GONE);
    backing.descriptors.keep(index, fd);
    return;
  }
  libc.close(fd);
  backing.dropIfUnknown(index);
}

export function link(s: Session): number {
  const parent = s.node();
  const index = s.nodeAt(40);
  if (parent === 0 || index === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  if (backing.isPrivate(parent, request.bytes, 48)) return -errnos.EPERM;
  const excluded = backing.isExcluded(index);
  // One object cannot be replicated under one name and not under another.
  if (excluded !== backing.wouldExclude(parent, request, 48)) return -errnos.EXDEV;
  if (!excluded && !replicator.beforeNames(backing.table.identity(parent))) return PARKED;
  const fd = backing.descriptors.get(index);
  if (fd < 0) return fd;
  const held = backing.descriptors.hold(index);
  const dir = backing.descriptors.get(parent);
  const linked =
    dir < 0 ? dir : libc.linkat(-100, descriptorPath(fd), dir, request.address + 48, AT_SYMLINK_FOLLOW);
  backing.descriptors.release(held);
  if (linked < 0 && !(linked === -errnos.EEXIST && s.isResent)) return linked;
  backing.table.setFlags(index, backing.table.flags(index) & ~UNLINKED);
  const failed = backing.statNode(index);
  if (failed < 0) return failed;
  if (!excluded) {
    readParentTimes(s, backing.descriptors.get(parent), times);
    replicator.link(backing.table.identity(index), backing.table.identity(parent), nameAt(s, 48), times);
  }
  backing.writeEntry(s.reply, REPLY_HEADER, index);
  return ENTRY_SIZE;
}

export function rename(s: Session, withFlags: boolean): number {
  const parent = s.node();
  const toParent = s.nodeAt(40);
  if (parent === 0 || toParent === 0) return -errnos.ESTALE;
  const { backing, request } = s;
  const flags = withFlags ? request.view.getUint32(48, true) : 0;
  const from = withFlags ? 56 : 48;
  const to = afterName(s, from);
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) return -errnos.EINVAL;
  if (backing.isPrivate(parent, request.bytes, from)) return -errnos.ENOENT;
  if (backing.isPrivate(toParent, request.bytes, to)) return -errnos.EPERM;
  const excluded = backing.wouldExclude(parent, request, from);
  // The mover copies instead, and the peer gets what was not replicated before.
  if (excluded !== backing.wouldExclude(toParent, request, to)) return -errnos.EXDEV;
  if (!excluded && !admitRename(s, parent, toParent)) return PARKED;
  const dir = backing.descriptors.get(parent);
  if (dir < 0) return dir;
  const held = backing.descriptors.hold(parent);
  const toDir = backing.descriptors.get(toParent);
  const result = toDir < 0 ? toDir : renameOpen(s, parent, toParent, dir, toDir, from, to, flags, excluded);
  backing.descriptors.release(held);
  return result;
}

function admitRename(s: Session, parent: number, toParent: number): boolean {
  const { table } = s.backing;
  return (
    s.replicator.beforeNames(table.identity(parent)) &&
    (parent === toParent || s.replicator.beforeNames(table.identity(toParent)))
  );
}

function renameOpen(
  s: Session,
  parent: number,
  toParent: number,
  dir: number,
  toDir: number,
  from: number,
  to: number,
  flags: number,
  excluded: boolean,
): number {
  const { backing, request, replicator } = s;
  let victim = flags === 0 ? openVictim(s, toParent, toDir, to) : -errnos.ENOENT;
  // Without a descriptor the file that is replaced would vanish under who has it open.
  if (victim === -errnos.EMFILE || victim === -errnos.ENFILE || victim === -errnos.ENOMEM) return victim;
  const index = victimIndex;
  if (victim >= 0) keepAlive(s, victim, index);
  const renamed = renameOnce(s, dir, toDir, from, to, flags);
  // Two names of one object: rename does nothing, and nothing lost a name.
  if (victim >= 0 && (renamed < 0 || stillThere(toDir, request.address + to))) {
    dismissVictim(s, victim, index);
    victim = -1;
  }
  if (renamed < 0) return renamed;
  const last = victim >= 0 && isLastName(s);
  if (victim >= 0) buryVictim(s, victim, index);
  if (!excluded) {
    readParentTimes(s, dir, times);
    readParentTimes(s, toDir, otherTimes);
    replicator.rename(
      backing.table.identity(parent),
      nameAt(s, from),
      backing.table.identity(toParent),
      nameAt(s, to),
      flags,
      times,
      otherTimes,
      last,
    );
  }
  return 0;
}

/** Renames, unless a former server did and died before it could answer. Returns 0 or -errno. */
function renameOnce(s: Session, dir: number, toDir: number, from: number, to: number, flags: number): number {
  const { request } = s;
  if ((flags & RENAME_EXCHANGE) !== 0) {
    // The names look alike before and after: only which object has which tells.
    if (libc.statx(dir, request.address + from, AT_SYMLINK_NOFOLLOW, 0x7ff, parentStatAddress) < 0)
      return -errnos.ENOENT;
    const low = view.getUint32(PARENT_STAT + STX_INO, true);
    const high = view.getUint32(PARENT_STAT + STX_INO + 4, true);
    const { table } = s.backing;
    if (s.wasIntended && (table.beforeLow !== low || table.beforeHigh !== high)) return 0;
    s.intend(low, high);
  }
  const renamed = libc.renameat2(dir, request.address + from, toDir, request.address + to, flags);
  // The kernel knows that the old name was there.
  return renamed === -errnos.ENOENT && s.isResent ? 0 : renamed;
}

/** Does the name still lead to the object that is open? STAT holds the object's attributes, and keeps them. */
function stillThere(dir: number, name: number): boolean {
  if (libc.statx(dir, name, AT_SYMLINK_NOFOLLOW, 0x7ff, scratch.address + PARENT_STAT) < 0) return false;
  return (
    view.getUint32(PARENT_STAT + STX_INO, true) === view.getUint32(STAT + STX_INO, true) &&
    view.getUint32(PARENT_STAT + STX_INO + 4, true) === view.getUint32(STAT + STX_INO + 4, true)
  );
}

export function readLink(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const fd = s.backing.descriptors.get(index);
  if (fd < 0) return fd;
  return libc.readlinkat(fd, emptyString, s.reply.address + REPLY_HEADER, 4096);
}
