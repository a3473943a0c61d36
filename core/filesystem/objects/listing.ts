/** All names of a backing directory, with the identities behind them. */
import {
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { isAbsent } from "../../platform/linux/errno.ts";
import { allocate, close, cString, getdents64, openat, statx } from "../../platform/linux/libc.ts";
import { nameText } from "../../replication/name_text.ts";
import { DT_DIR, type Entry } from "../../replication/names.ts";
import type { NameFilter } from "./exclusion.ts";
import { type Identities, PRIVATE_NAME } from "./identity.ts";
import { STAT, STX_MODE, STX_NLINK, scratch, statAddress } from "./places.ts";

/** What is read at once, bytes: some hundred entries, a few ms. */
const ROOM = 16 * 1024;
const room = allocate(ROOM);
const dot = cString(".").address;
const D_RECLEN = 16;
const D_NAME = 19;

/** A directory that is listed a little at a time: a large one takes longer than anybody should wait. */
export class Listing {
  /** 0, or why it, or something in it, cannot be read: -errno. */
  failed = 0;
  readonly #fd: number;

  /** Of the open directory `fd`, which stays the caller's. `top`: it is a replicated directory itself. */
  constructor(
    fd: number,
    readonly identities: Identities,
    readonly top: boolean,
    readonly filter: NameFilter | null,
  ) {
    // A descriptor of its own: the position in a shared one may be in use.
    this.#fd = openat(fd, dot, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (this.#fd < 0) this.failed = this.#fd;
  }

  /** Some hundred entries more, without ours and excluded ones; null: there are no more, or it `failed`. */
  next(): Entry[] | null {
    if (this.failed !== 0) return null;
    const filled = getdents64(this.#fd, room.address, ROOM);
    if (filled < 0) this.failed = filled;
    if (filled <= 0) return null;
    const entries: Entry[] = [];
    for (let at = 0; at < filled; at += room.view.getUint16(at + D_RECLEN, true)) {
      const entry = entryAt(this.#fd, at, this.identities, this.top, this.filter);
      if (typeof entry === "number") this.failed ||= entry;
      else if (entry !== null) entries.push(entry);
    }
    return this.failed === 0 ? entries : null;
  }

  close(): void {
    if (this.#fd >= 0) close(this.#fd);
  }
}

/** The entries of the open directory `fd`, in one go. Returns -errno when it cannot be read. See Listing. */
export function listDirectory(
  fd: number,
  identities: Identities,
  top: boolean,
  filter: NameFilter | null,
): Entry[] | number {
  const listing = new Listing(fd, identities, top, filter);
  const entries: Entry[] = [];
  for (let found = listing.next(); found !== null; found = listing.next())
    for (const entry of found) entries.push(entry);
  listing.close();
  return listing.failed === 0 ? entries : listing.failed;
}

/** Null: it is not to be seen. A name that leads to what cannot be read is not left out: who copies the names would remove it. */
function entryAt(
  directory: number,
  at: number,
  identities: Identities,
  top: boolean,
  filter: NameFilter | null,
): Entry | number | null {
  const start = at + D_NAME;
  const name = nameText(room.bytes, start, room.bytes.indexOf(0, start) - start);
  if (name === "." || name === ".." || (top && name === PRIVATE_NAME)) return null;
  if (filter?.(name, top) === true) return null;
  const stat = statx(directory, room.address + start, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, statAddress);
  if (stat < 0) return isAbsent(stat) ? null : stat;
  const type = scratch.view.getUint16(STAT + STX_MODE, true) >>> 12;
  const hasOthers = type !== DT_DIR && scratch.view.getUint32(STAT + STX_NLINK, true) > 1;
  const low = room.view.getUint32(at, true);
  const high = room.view.getUint32(at + 4, true);
  const id = identities.ofName(directory, room.bytes, start, low, high);
  return id < 0 ? id : { name, type, hasOthers, id };
}
