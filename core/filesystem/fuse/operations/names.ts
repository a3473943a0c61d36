/** Operations on names: find, link, remove. Those that make an object are in creation.ts, rename is in rename.ts. */
import { AT_REMOVEDIR, AT_SYMLINK_FOLLOW } from "../../../platform/linux/constants.ts";
import { errnos } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { getI64 } from "../../../platform/linux/memory.ts";
import type { ResultTimes } from "../../../replication/replicator.ts";
import { descriptorPath, emptyString, PARENT_STAT, STX_MTIME, scratch } from "../../objects/places.ts";
import { TYPE_DIRECTORY } from "../descriptors.ts";
import { ENTRY_SIZE, REPLY_HEADER } from "../fuse_protocol.ts";
import { ROOT, UNLINKED } from "../node_table.ts";
import { NO_REPLY, PARKED } from "../outcome.ts";
import type { Session } from "../session.ts";
import { nameAt } from "./request_names.ts";
import { buryVictim, dismissVictim, isLastName, keepAlive, openVictim, victimIndex } from "./victim.ts";

const { view } = scratch;
/** Where directories are looked for that may be next, in records of the node table, and how many are taken. */
const NEAR = 512;
const MOST_NEAR = 64;
const times: ResultTimes = { parentSeconds: 0, parentNanos: 0, objectSeconds: 0, objectNanos: 0 };

/** Reads the modification time of the directory `dir` into `into`. */
export function readParentTimes(s: Session, dir: number, into: ResultTimes): void {
  s.backing.statParent(dir);
  into.parentSeconds = getI64(view, PARENT_STAT + STX_MTIME);
  into.parentNanos = view.getUint32(PARENT_STAT + STX_MTIME + 8, true);
  into.objectSeconds = 0;
  into.objectNanos = 0;
}

/** LOOKUP: from here on the kernel knows the object by a node id. */
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

/** The directory whose neighbours were admitted last: who waits for the log is asked again and again. */
let preparedFor = 0;

/**
 * May names of this directory go? When the log must say so first, it says the same of directories that the kernel met at about the same time: who
 * removes a tree comes to them next, and would wait for a sync of the log in each.
 */
function admitRemoval(s: Session, parent: number): boolean {
  const { backing, replicator } = s;
  const { table } = backing;
  const identity = table.identity(parent);
  if (replicator.beforeNames(identity)) return true;
  if (preparedFor === identity) return false;
  preparedFor = identity;
  const end = Math.min(table.end, parent + NEAR);
  let admitted = 0;
  for (let index = Math.max(ROOT, parent - NEAR); index < end && admitted < MOST_NEAR; index++) {
    if (table.type(index) !== TYPE_DIRECTORY || table.lookups(index) === 0) continue;
    if (backing.isExcluded(index) || (table.flags(index) & UNLINKED) !== 0) continue;
    replicator.beforeNames(table.identity(index));
    admitted++;
  }
  // Once more, last: should there be room for few, it is not one of those that leave.
  return replicator.beforeNames(identity);
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
  if (!excluded && !admitRemoval(s, parent)) {
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
  s.answer(0);
  if (!excluded) {
    readParentTimes(s, dir, times);
    replicator.unlink(backing.table.identity(parent), nameAt(s, 40), directory, identity, times, last);
  }
  return NO_REPLY;
}

/** LINK: also what gives an unnamed file its name. */
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
  // Before the peer is told: a reintegration that sends names again reads attributes into the same place.
  backing.writeEntry(s.reply, REPLY_HEADER, index);
  s.answer(ENTRY_SIZE);
  if (!excluded) {
    readParentTimes(s, backing.descriptors.get(parent), times);
    replicator.link(backing.table.identity(index), backing.table.identity(parent), nameAt(s, 48), times);
  }
  return NO_REPLY;
}

/** READLINK. */
export function readLink(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const fd = s.backing.descriptors.get(index);
  if (fd < 0) return fd;
  return libc.readlinkat(fd, emptyString, s.reply.address + REPLY_HEADER, 4096);
}
