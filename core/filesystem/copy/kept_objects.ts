/**
 * One object of a copy, as it is kept aside: its bytes, its holes, whom it belongs to, who may do what with it, its extended attributes.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { SEEK_DATA, SEEK_HOLE } from "../../platform/linux/constants.ts";
import { check, errnos, SystemError } from "../../platform/linux/errno.ts";
import { allocate, fsetxattr, lseek } from "../../platform/linux/libc.ts";
import type { Frame } from "../../replication/operation.ts";
import { readXattrs } from "../objects/attributes.ts";

const PIECE_BYTES = 1 << 20;
/** See xattr(7): the longest name and value. */
const NAME_BYTES = 256;
const room = allocate(NAME_BYTES + 64 * 1024);
const PERMISSIONS = 0o7777;

/** What of an object could not be kept. */
interface Lack {
  /** Extended attributes that the file system of the new place does not take. */
  lacks?: readonly string[];
}

/** Writes a file like the open one to `to`, which must not be there yet. `frame` holds its attributes. Throws when a byte of it cannot be read or written. */
export function keepFile(from: number, frame: Frame, to: Buffer): Lack {
  const fd = openSync(to, "wx", 0o600);
  try {
    copyContent(from, fd, frame.size);
    return dress(from, frame, fd);
  } finally {
    closeSync(fd);
  }
}

/** The same for a directory, without what is in it; it may be there. */
export function keepDirectory(from: number, frame: Frame, to: Buffer): Lack {
  mkdirSync(to, { recursive: true, mode: 0o700 });
  const fd = openSync(to, "r");
  try {
    return dress(from, frame, fd);
  } finally {
    closeSync(fd);
  }
}

/** A file that is mostly holes must not fill the disk that it is kept on. */
function copyContent(from: number, to: number, size: number): void {
  ftruncateSync(to, size);
  const piece = Buffer.alloc(Math.min(PIECE_BYTES, size));
  for (let at = 0; at < size; ) {
    const data = lseek(from, at, SEEK_DATA);
    if (data === -errnos.ENXIO) return;
    check(data, "cannot look for data in what is to be kept");
    const end = lseek(from, data, SEEK_HOLE);
    check(end, "cannot look for holes in what is to be kept");
    for (at = data; at < end; ) {
      const length = readSync(from, piece, 0, Math.min(piece.length, end - at), at);
      if (length === 0) return;
      for (let done = 0; done < length; ) done += writeSync(to, piece, done, length - done, at + done);
      at += length;
    }
  }
}

function dress(from: number, frame: Frame, to: number): Lack {
  fchownSync(to, frame.uid, frame.gid);
  fchmodSync(to, frame.mode & PERMISSIONS);
  const attributes = readXattrs(from);
  if (typeof attributes === "number") throw new SystemError(-attributes, "cannot read extended attributes");
  const lacks = attributes.flatMap(({ name, value }) => {
    room.bytes.set(name);
    room.bytes[name.length] = 0;
    room.bytes.set(value, NAME_BYTES);
    const result = fsetxattr(to, room.address, room.address + NAME_BYTES, value.length, 0);
    if (result === -errnos.EOPNOTSUPP) return [Buffer.from(name).toString()];
    check(result, `cannot keep the extended attribute ${Buffer.from(name).toString()}`);
    return [];
  });
  futimesSync(to, frame.atime, frame.mtime);
  return lacks.length > 0 ? { lacks } : {};
}
