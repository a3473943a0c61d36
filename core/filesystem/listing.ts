/** All names of a backing directory, with the identities behind them. */
import {
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  STATX_BASIC_STATS,
} from "../platform/linux/constants.ts";
import { allocate, close, cString, getdents64, openat, statx } from "../platform/linux/libc.ts";
import { DT_DIR, type Entry } from "../replication/names.ts";
import type { NameFilter } from "./exclusion.ts";
import { type Identities, PRIVATE_NAME } from "./identity.ts";
import { nameText } from "./known_places.ts";
import { STAT, STX_MODE, STX_NLINK, scratch, statAddress } from "./places.ts";

const ROOM = 256 * 1024;
const room = allocate(ROOM);
const dot = cString(".").address;
const D_RECLEN = 16;
const D_NAME = 19;

/** The entries of the open directory `fd`, ours and excluded ones left out. `top`: it is a replicated directory itself. Returns -errno when it cannot be read. */
export function listDirectory(
  fd: number,
  identities: Identities,
  top: boolean,
  filter: NameFilter | null,
): Entry[] | number {
  // A descriptor of its own: the position in a shared one may be in use.
  const own = openat(fd, dot, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (own < 0) return own;
  const entries: Entry[] = [];
  let filled = getdents64(own, room.address, ROOM);
  for (; filled > 0; filled = getdents64(own, room.address, ROOM)) {
    for (let at = 0; at < filled; at += room.view.getUint16(at + D_RECLEN, true)) {
      const entry = entryAt(own, at, identities, top, filter);
      if (entry !== null) entries.push(entry);
    }
  }
  close(own);
  return filled < 0 ? filled : entries;
}

function entryAt(
  directory: number,
  at: number,
  identities: Identities,
  top: boolean,
  filter: NameFilter | null,
): Entry | null {
  const start = at + D_NAME;
  const name = nameText(room.bytes, start, room.bytes.indexOf(0, start) - start);
  if (name === "." || name === ".." || (top && name === PRIVATE_NAME)) return null;
  if (filter?.(name, top) === true) return null;
  const stat = statx(directory, room.address + start, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, statAddress);
  // Gone since it was listed: nobody but this process changes the directory, so a damaged one says so elsewhere.
  if (stat < 0) return null;
  const type = scratch.view.getUint16(STAT + STX_MODE, true) >>> 12;
  const hasOthers = type !== DT_DIR && scratch.view.getUint32(STAT + STX_NLINK, true) > 1;
  const low = room.view.getUint32(at, true);
  const high = room.view.getUint32(at + 4, true);
  return { name, type, hasOthers, id: identities.ofName(directory, room.bytes, start, low, high) };
}
