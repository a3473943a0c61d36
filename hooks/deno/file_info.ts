/** Paths, and what Deno says about a file. */
import type { Dirent, Stats } from "node:fs";
import { fileURLToPath } from "node:url";

/** A path as scripts give it. */
export type Path = string | URL;

/** The path of a text or a file: URL. Throws TypeError for another URL. */
export function pathOf(path: Path): string {
  if (!(path instanceof URL)) return path;
  if (path.protocol !== "file:") throw new TypeError("Must be a file URL");
  return fileURLToPath(path);
}

/** What `Deno.stat` answers. */
export function fileInfo(stat: Stats) {
  return {
    isFile: stat.isFile(),
    isDirectory: stat.isDirectory(),
    isSymlink: stat.isSymbolicLink(),
    size: stat.size,
    mtime: stat.mtime,
    atime: stat.atime,
    birthtime: stat.birthtime,
    ctime: stat.ctime,
    dev: stat.dev,
    ino: stat.ino,
    mode: stat.mode,
    nlink: stat.nlink,
    uid: stat.uid,
    gid: stat.gid,
    rdev: stat.rdev,
    blksize: stat.blksize,
    blocks: stat.blocks,
    isBlockDevice: stat.isBlockDevice(),
    isCharDevice: stat.isCharacterDevice(),
    isFifo: stat.isFIFO(),
    isSocket: stat.isSocket(),
  };
}

/** One entry of `Deno.readDir`. */
export interface DirectoryEntry {
  name: string;
  isFile: boolean;
  isDirectory: boolean;
  isSymlink: boolean;
}

/** An object without a prototype, as Deno's own answers are: it shows when one is printed. */
export function bare<Fields extends object>(fields: Fields): Fields {
  return Object.assign(Object.create(null) as Fields, fields);
}

/** A directory entry as Deno gives it. */
export function directoryEntry(entry: Dirent): DirectoryEntry {
  return bare({
    name: entry.name,
    isFile: entry.isFile(),
    isDirectory: entry.isDirectory(),
    isSymlink: entry.isSymbolicLink(),
  });
}
