/** What an operation is about to take a name from: while it is in use it lives on, held by a descriptor until the kernel forgets it. */
import { O_CLOEXEC, O_NOFOLLOW, O_PATH } from "../../../platform/linux/constants.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { STAT, STX_NLINK, scratch } from "../../objects/places.ts";
import { GONE, UNLINKED } from "../node_table.ts";
import type { Session } from "../session.ts";

const { view } = scratch;

/** The node of the object that `openVictim` opened. */
export let victimIndex = 0;

/** Opens what is about to lose a name, so that it cannot vanish. Returns an O_PATH descriptor or -errno; leaves its attributes in STAT. */
export function openVictim(s: Session, parent: number, dir: number, nameOffset: number): number {
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
export function dismissVictim(s: Session, fd: number, index: number): void {
  libc.close(fd);
  s.backing.dropIfUnknown(index);
}

/** Does the object in STAT lose its last name? */
export function isLastName(s: Session): boolean {
  return s.backing.type() === 4 || view.getUint32(STAT + STX_NLINK, true) <= 1;
}

/** The object in STAT is about to lose a name: if it is its last, and the object is in use, it must not die with this process. */
export function keepAlive(s: Session, fd: number, index: number): void {
  if (isLastName(s) && s.backing.table.lookups(index) > 0) s.backing.shelve(index, fd);
}

/** A name is gone; STAT still says how many there were. */
export function buryVictim(s: Session, fd: number, index: number): void {
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
