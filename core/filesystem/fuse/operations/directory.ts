/**
 * Listing directories. Cookies are the backing directory's own offsets, so that a listing goes on where it stopped however many
 * entries were removed meanwhile, and after a restart of the server.
 */
import { errnos } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { ENTRIES, ENTRIES_SIZE, entriesAddress, scratch } from "../../objects/places.ts";
import { DIRENT_HEADER, ENTRY_SIZE, REPLY_HEADER } from "../fuse_protocol.ts";
import type { Session } from "../session.ts";

const { view, bytes, words } = scratch;
/* Offsets within a `struct linux_dirent64`. */
const D_OFF = 8;
const D_RECLEN = 16;
const D_TYPE = 18;
const D_NAME = 19;

/** READDIR, or READDIRPLUS (`plus`), which also makes the kernel know each object that it lists. */
export function readDirectory(s: Session, plus: boolean): number {
  const parent = s.node();
  if (parent === 0) return -errnos.ESTALE;
  const dir = s.backing.descriptors.get(parent);
  if (dir < 0) return dir;
  const sought = libc.seekExactly(dir, s.request.view.getBigInt64(48, true));
  if (sought < 0) return sought;
  const size = Math.min(s.request.view.getUint32(56, true), s.reply.bytes.length - REPLY_HEADER);
  const extra = plus ? ENTRY_SIZE : 0;
  let to = 0;
  for (;;) {
    // Read no more than can be shown: what is read and not shown is read again.
    const got = libc.getdents64(dir, entriesAddress, Math.min(ENTRIES_SIZE, Math.max(size - to, 512)));
    if (got < 0) return to > 0 ? to : got;
    if (got === 0) return to;
    for (let at = ENTRIES; at < ENTRIES + got; at += view.getUint16(at + D_RECLEN, true)) {
      const name = at + D_NAME;
      if (s.backing.isPrivate(parent, bytes, name)) continue;
      const length = bytes.indexOf(0, name) - name;
      const room = (extra + DIRENT_HEADER + length + 7) & ~7;
      if (to + room > size) return to;
      if (writeEntry(s, parent, dir, at, REPLY_HEADER + to, length, plus)) to += room;
    }
  }
}

/** Writes one entry. False when the object went away meanwhile. */
function writeEntry(
  s: Session,
  parent: number,
  dir: number,
  at: number,
  to: number,
  length: number,
  plus: boolean,
): boolean {
  const name = at + D_NAME;
  const { backing, reply } = s;
  const special = bytes[name] === 46 && (length === 1 || (length === 2 && bytes[name + 1] === 46));
  let identity = backing.table.identity(parent);
  let dirent = to;
  if (!plus) {
    const own = special ? 0 : identityOf(s, dir, at);
    if (own > 0) identity = own;
  } else {
    dirent = to + ENTRY_SIZE;
    reply.bytes.fill(0, to, dirent);
    if (!special) {
      const index = backing.resolve(parent, dir, scratch, name);
      if (index === -errnos.ENOENT) return false;
      // What cannot be made known (another device, say) is listed all the same, and refused when it is used.
      if (index > 0) {
        backing.writeEntry(reply, to, index);
        identity = backing.table.identity(index);
      }
    }
  }
  reply.view.setUint32(dirent, identity >>> 0, true);
  reply.view.setUint32(dirent + 4, Math.floor(identity / 4294967296), true);
  reply.view.setUint32(dirent + 8, view.getUint32(at + D_OFF, true), true);
  reply.view.setUint32(dirent + 12, view.getUint32(at + D_OFF + 4, true), true);
  reply.view.setUint32(dirent + 16, length, true);
  reply.view.setUint32(dirent + 20, bytes[at + D_TYPE]!, true);
  const text = dirent + DIRENT_HEADER;
  for (let i = 0; i < length; i++) reply.bytes[text + i] = bytes[name + i]!;
  for (let i = text + length; (i & 7) !== 0; i++) reply.bytes[i] = 0;
  return true;
}

/** The inode number to show for an entry, without making its object known; -errno when the disk does not tell it. */
function identityOf(s: Session, dir: number, at: number): number {
  const { backing } = s;
  const low = words[at >>> 2]!;
  const high = words[(at >>> 2) + 1]!;
  const known = backing.table.find(low, high);
  return known !== 0
    ? backing.table.identity(known)
    : backing.identities.ofName(dir, bytes, at + D_NAME, low, high);
}
