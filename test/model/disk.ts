/** The other side of the model test: operations as system calls, and a real tree as the model's. */
import { readdirSync, readlinkSync } from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import { check } from "../../core/platform/linux/errno.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { type Memory, memoryAt } from "../../core/platform/linux/memory.ts";
import { digest, type Outcome, writtenRange } from "./model.ts";
import { fillOf, type Operation, type Path, SLOTS } from "./operations.ts";
import { type Acl, byCode, type Inode, type Kind, newInode } from "./tree.ts";

const { withString } = libc;
const ACL = "system.posix_acl_access";
const ACL_USER = 1234;
const SYS_LREMOVEXATTR = process.arch === "arm64" ? 15 : 198;
const MS_SYNC = 4;
const PAGE = 4096;
const TYPES: Readonly<Record<Kind, number>> = {
  file: k.S_IFREG,
  directory: k.S_IFDIR,
  link: k.S_IFLNK,
  fifo: k.S_IFIFO,
  socket: k.S_IFSOCK,
  character: k.S_IFCHR,
};
/** Enough for the longest file, its start on a page. */
const buffer = libc.allocate(512 << 10);

const bytes = (latin1: string): Uint8Array => Buffer.from(latin1, "latin1");

/** Runs operations below a directory. */
export class Disk {
  readonly #slots: number[] = Array.from({ length: SLOTS }, () => -1);

  /** `places`: see `placesOf`. */
  constructor(readonly places: Readonly<Record<string, string>>) {}

  /** Makes the system calls of one operation; returns what they returned. */
  run(index: number, op: Operation): Outcome {
    switch (op.do) {
      case "create":
        return this.#open(
          op.path,
          k.O_RDWR | k.O_NOFOLLOW | k.O_CREAT | (op.exclusive ? k.O_EXCL : 0),
          () => 0,
          op.mode,
        );
      case "write":
        return this.#write(index, op);
      case "unnamed":
        return this.#unnamed(index, op);
      case "truncate":
        return this.#open(op.path, EDIT, (fd) => libc.ftruncate(fd, op.size));
      case "allocate":
        return this.#open(op.path, EDIT, (fd) => libc.fallocate(fd, op.mode, op.offset, op.length));
      case "copy":
        return this.#open(op.path, EDIT, (from) => this.#open(op.to, EDIT, (to) => copy(from, to, op)));
      case "hold":
        this.#release(op.slot);
        return this.#hold(op.slot, op.path);
      case "writeHeld":
        return put(this.#slots[op.slot]!, index, op.offset, op.length);
      case "syncHeld":
        return libc.fsync(this.#slots[op.slot]!);
      case "readHeld":
        return contentOf(this.#slots[op.slot]!);
      case "fsync":
        return this.#open(op.path, k.O_RDONLY | k.O_NOFOLLOW, libc.fsync);
      case "fdatasync":
        return this.#open(op.path, k.O_RDONLY | k.O_NOFOLLOW, libc.fdatasync);
      case "read":
        return this.#open(op.path, EDIT, contentOf);
      case "list":
        return this.#list(op.path);
      case "rename":
      case "link":
        return this.#at(op.path, (from) =>
          this.#at(op.to, (to) =>
            op.do === "link"
              ? libc.linkat(k.AT_FDCWD, from, k.AT_FDCWD, to, 0)
              : libc.renameat2(k.AT_FDCWD, from, k.AT_FDCWD, to, op.flags),
          ),
        );
      default:
        return this.#at(op.path, (at) => onPath(at, op));
    }
  }

  /** Closes what is held open. */
  close(): void {
    for (let slot = 0; slot < SLOTS; slot++) this.#release(slot);
  }

  #release(slot: number): void {
    if (this.#slots[slot]! >= 0) libc.close(this.#slots[slot]!);
    this.#slots[slot] = -1;
  }

  #hold(slot: number, path: Path): number {
    const fd = libc.open(this.#path(path), EDIT);
    this.#slots[slot] = fd;
    return Math.min(fd, 0);
  }

  #path([place, ...names]: Path): Uint8Array {
    return Buffer.concat([
      Buffer.from(this.places[place!]!),
      bytes(names.map((name) => `/${name}`).join("")),
    ]);
  }

  #at<T>(path: Path, call: (at: number) => T): T {
    return withString(this.#path(path), call);
  }

  #open<T extends Outcome>(path: Path, flags: number, use: (fd: number) => T, mode = 0): T | number {
    const fd = libc.open(this.#path(path), flags, mode);
    if (fd < 0) return fd;
    const result = use(fd);
    const closed = libc.close(fd);
    return closed < 0 ? closed : result;
  }

  #write(index: number, { path, how, ...op }: Operation & { do: "write" }): Outcome {
    const flags =
      how === "append"
        ? k.O_APPEND
        : how === "direct"
          ? k.O_DIRECT
          : how === "sync"
            ? k.O_SYNC
            : how === "dsync"
              ? k.O_DSYNC
              : 0;
    return this.#open(path, EDIT | flags, (fd) => {
      const { offset, length } = writtenRange(
        how,
        op.offset,
        op.length,
        how.startsWith("mapped") ? libc.lseek(fd, 0, k.SEEK_END) : 0,
      );
      if (how.startsWith("mapped")) return writeMapped(fd, index, offset, length, how === "mapped+msync");
      // With O_APPEND the offset is the kernel's: pwrite(2), BUGS.
      return put(fd, index, offset, length);
    });
  }

  #unnamed(index: number, { path, length, mode, syncs }: Operation & { do: "unnamed" }): Outcome {
    const fd = libc.open(this.#path(path.slice(0, -1)), k.O_TMPFILE | k.O_RDWR, mode);
    if (fd < 0) return fd;
    const written = put(fd, index, 0, length);
    const synced = syncs ? libc.fsync(fd) : 0;
    const linked = withString(`/proc/self/fd/${fd}`, (from) =>
      this.#at(path, (to) => libc.linkat(k.AT_FDCWD, from, k.AT_FDCWD, to, k.AT_SYMLINK_FOLLOW)),
    );
    const closed = libc.close(fd);
    return Math.min(0, written) || synced || linked || closed;
  }

  #list(path: Path): Outcome {
    try {
      return readdirSync(Buffer.from(this.#path(path)), { encoding: "buffer" })
        .map((name) => Buffer.from(name).toString("latin1"))
        .sort(byCode)
        .join("\n");
    } catch (error) {
      return -Math.abs((error as { errno: number }).errno);
    }
  }
}

const EDIT = k.O_RDWR | k.O_NOFOLLOW;

function put(fd: number, index: number, offset: number, length: number): number {
  buffer.bytes.fill(fillOf(index), 0, length);
  return libc.pwrite(fd, buffer.address, length, offset);
}

function writeMapped(fd: number, index: number, offset: number, length: number, syncs: boolean): number {
  const start = offset & ~(PAGE - 1);
  const size = offset - start + length;
  const at = libc.mmap(size, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, start);
  if (at < 0) return at;
  memoryAt(at, size).bytes.fill(fillOf(index), offset - start);
  const synced = syncs ? libc.msync(at, size, MS_SYNC) : 0;
  libc.munmap(at, size);
  return synced;
}

function copy(from: number, to: number, op: Operation & { do: "copy" }): number {
  buffer.view.setBigInt64(0, BigInt(op.from), true);
  buffer.view.setBigInt64(8, BigInt(op.offset), true);
  let copied = 0;
  while (copied < op.length) {
    const result = libc.copyFileRange(from, buffer.address, to, buffer.address + 8, op.length - copied);
    if (result < 0) return result;
    if (result === 0) break;
    copied += result;
  }
  return copied;
}

/** The digest of a file's content, or -errno. */
function contentOf(fd: number): Outcome {
  const got = libc.pread(fd, buffer.address, buffer.bytes.length, 0);
  return got < 0 ? got : digest(buffer.bytes.subarray(0, got));
}

function onPath(at: number, op: Operation): Outcome {
  switch (op.do) {
    case "unlink":
      return libc.unlinkat(k.AT_FDCWD, at, 0);
    case "rmdir":
      return libc.unlinkat(k.AT_FDCWD, at, k.AT_REMOVEDIR);
    case "mkdir":
      return libc.mkdirat(k.AT_FDCWD, at, op.mode);
    case "symlink":
      return withString(bytes(op.target), (target) => libc.symlinkat(target, k.AT_FDCWD, at));
    case "node":
      return libc.mknodat(k.AT_FDCWD, at, TYPES[op.kind] | op.mode, op.kind === "character" ? op.device : 0);
    case "chmod":
      return libc.fchmodat(k.AT_FDCWD, at, op.mode);
    case "chown":
      return libc.fchownat(k.AT_FDCWD, at, op.uid, op.gid, k.AT_SYMLINK_NOFOLLOW);
    case "utimes":
      return setTimes(at, op.mtime);
    case "setxattr":
      return setAttribute(at, op.name, bytes(op.value), op.flags);
    case "removexattr":
      return withString(op.name, (name) => libc.syscall(SYS_LREMOVEXATTR, at, name));
    case "setacl":
      return setAttribute(at, ACL, aclBytes(op.acl), 0);
    default:
      throw new Error(`what is ${op.do}?`);
  }
}

function setTimes(at: number, mtime: bigint): number {
  const seconds = mtime / 1_000_000_000n - (mtime % 1_000_000_000n < 0n ? 1n : 0n);
  buffer.view.setBigInt64(8, BigInt(k.UTIME_OMIT), true);
  buffer.view.setBigInt64(16, seconds, true);
  buffer.view.setBigInt64(24, mtime - seconds * 1_000_000_000n, true);
  return libc.utimensat(k.AT_FDCWD, at, buffer.address, k.AT_SYMLINK_NOFOLLOW);
}

function setAttribute(at: number, name: string, value: Uint8Array, flags: number): number {
  buffer.bytes.set(value);
  return withString(name, (called) => libc.lsetxattr(at, called, buffer.address, value.length, flags));
}

/** As `struct posix_acl_xattr_entry` in the kernel's posix_acl_xattr.h: tag, permissions, id. */
function aclBytes({ owner, named, group, mask, other }: Acl): Uint8Array {
  const rows = [
    [1, owner, -1],
    [2, named, ACL_USER],
    [4, group, -1],
    [16, mask, -1],
    [32, other, -1],
  ] as const;
  const view = new DataView(new ArrayBuffer(4 + rows.length * 8));
  view.setUint32(0, 2, true);
  rows.forEach(([tag, permissions, id], row) => {
    view.setUint16(4 + row * 8, tag, true);
    view.setUint16(6 + row * 8, permissions, true);
    view.setInt32(8 + row * 8, id, true);
  });
  return new Uint8Array(view.buffer);
}

// ---- reading a tree --------------------------------------------------------------------------------------------------

/** Where a worker works below the replicated directory. */
export function placesOf(directory: string, worker: number): Record<string, string> {
  return { own: `${directory}/w${worker}`, all: `${directory}/all` };
}

/** What is below a worker's places, as a model's tree: of the shared one, only what this worker made. */
export function scanTree(directory: string, worker: number): Inode {
  const scan = new Scan();
  const root = scan.make("directory", 0);
  for (const [place, path] of Object.entries(placesOf(directory, worker))) {
    const top = scan.make("directory", 0);
    root.names.set(place, top);
    scan.fill(top, Buffer.from(path), place === "all" ? `${worker}-` : "");
  }
  return root;
}

class Scan {
  #serial = 0;
  readonly #known = new Map<bigint, Inode>();

  make(kind: Kind, mode: number, more: Partial<Inode> = {}): Inode {
    return newInode(this.#serial++, kind, mode, more);
  }

  fill(directory: Inode, path: Buffer, prefix = ""): void {
    const names = readdirSync(path, { encoding: "buffer" })
      .map((name) => Buffer.from(name))
      .sort(Buffer.compare);
    for (const name of names)
      if (name.toString("latin1").startsWith(prefix))
        directory.names.set(
          name.toString("latin1"),
          this.#read(Buffer.concat([path, Buffer.from("/"), name])),
        );
  }

  #read(path: Buffer): Inode {
    const stat = statOf(path);
    const known = this.#known.get(stat.ino);
    if (known) return known;
    const kind = (Object.keys(TYPES) as Kind[]).find((name) => TYPES[name] === (stat.mode & k.S_IFMT))!;
    const inode = this.make(kind, stat.mode & 0o7777, {
      uid: stat.uid,
      gid: stat.gid,
      mtime: stat.mtime,
      device: kind === "character" ? stat.device : 0,
      target:
        kind === "link" ? Buffer.from(readlinkSync(path, { encoding: "buffer" })).toString("latin1") : "",
    });
    this.#known.set(stat.ino, inode);
    if (kind === "file") inode.content = readFile(path);
    if (kind === "file" || kind === "directory") readAttributes(path, inode);
    if (kind === "directory") this.fill(inode, path);
    return inode;
  }
}

function statOf(path: Buffer): {
  mode: number;
  uid: number;
  gid: number;
  ino: bigint;
  mtime: bigint;
  device: number;
} {
  check(
    withString(path, (at) =>
      libc.statx(k.AT_FDCWD, at, k.AT_SYMLINK_NOFOLLOW, k.STATX_BASIC_STATS, buffer.address),
    ),
    `cannot stat ${path.toString()}`,
  );
  const { view } = buffer;
  // struct statx in linux/stat.h.
  return {
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    mode: view.getUint16(28, true),
    ino: view.getBigUint64(32, true),
    mtime: view.getBigInt64(112, true) * 1_000_000_000n + BigInt(view.getUint32(120, true)),
    device: view.getUint32(128, true) * 256 + view.getUint32(132, true),
  };
}

function readFile(path: Buffer): Uint8Array {
  const fd = check(libc.open(path, k.O_RDONLY | k.O_NOFOLLOW), `cannot open ${path.toString()}`);
  const got = check(libc.pread(fd, buffer.address, buffer.bytes.length, 0), `cannot read ${path.toString()}`);
  libc.close(fd);
  return buffer.bytes.slice(0, got);
}

function readAttributes(path: Buffer, inode: Inode): void {
  const listed = withString(path, (at) => libc.listxattr(at, buffer.address, 65536));
  const names = latin1(buffer, check(listed, `cannot list the attributes of ${path.toString()}`))
    .split("\0")
    .filter(Boolean);
  for (const name of names.sort(byCode)) {
    if (/^(trusted|user)\.holdfast$/.test(name)) continue;
    const length = withString(path, (at) =>
      withString(name, (called) => libc.lgetxattr(at, called, buffer.address, 65536)),
    );
    const value = latin1(buffer, check(length, `cannot read ${name} of ${path.toString()}`));
    if (name === ACL) inode.acl = aclOf(bytes(value));
    else inode.attributes.set(name, value);
  }
}

function aclOf(value: Uint8Array): Acl {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const permissions = (tag: number): number => {
    for (let at = 4; at < value.length; at += 8)
      if (view.getUint16(at, true) === tag) return view.getUint16(at + 2, true);
    return -1;
  };
  return {
    owner: permissions(1),
    named: permissions(2),
    group: permissions(4),
    mask: permissions(16),
    other: permissions(32),
  };
}

function latin1({ bytes: all }: Memory, length: number): string {
  return Buffer.from(all.slice(0, length)).toString("latin1");
}
