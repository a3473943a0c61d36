/** The operation that moves names, and what it replaces. */
import { AT_SYMLINK_NOFOLLOW, RENAME_EXCHANGE, RENAME_NOREPLACE } from "../../../platform/linux/constants.ts";
import { errnos } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import type { ResultTimes } from "../../../replication/replicator.ts";
import { PARENT_STAT, parentStatAddress, STAT, STX_INO, scratch } from "../../objects/places.ts";
import { NO_REPLY, PARKED } from "../outcome.ts";
import type { Session } from "../session.ts";
import { readParentTimes } from "./names.ts";
import { afterName, nameAt } from "./request_names.ts";
import { buryVictim, dismissVictim, isLastName, keepAlive, openVictim, victimIndex } from "./victim.ts";

const { view } = scratch;
const times: ResultTimes = { parentSeconds: 0, parentNanos: 0, objectSeconds: 0, objectNanos: 0 };
const otherTimes: ResultTimes = { parentSeconds: 0, parentNanos: 0, objectSeconds: 0, objectNanos: 0 };

/** RENAME, or RENAME2 (`withFlags`). */
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
  s.answer(0);
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
  return NO_REPLY;
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
