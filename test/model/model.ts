/** The model itself: what each operation does to the tree, and what the system call must answer. */
import { type AttributeOperation, changeAttributes } from "./attributes.ts";
import { Failure, fail } from "./failure.ts";
import { fillOf, type Operation, type Path, SLOTS } from "./operations.ts";
import { byCode, type Inode, isWithin, type Kind, newInode } from "./tree.ts";

/** What is told of a change: the judge keeps what it needs. */
export interface Watcher {
  /** The content is another. */
  content(inode: Inode): void;
  /** A name or an attribute is another. */
  metadata(inode: Inode): void;
  /** Whoever finds a name of this file finds this content or what was written later. */
  settled(inode: Inode): void;
  /**
   * The file or directory is to be durable once the call has returned; `dataOnly`: but for what reading its data does not need. A `range`: of the
   * bytes of the file only these (open(2), O_SYNC: "the data and associated file metadata" of that write; so does the kernel, generic_write_sync).
   */
  synced(inode: Inode, dataOnly: boolean, range?: Range): void;
}

/** Bytes of a file, `end` not among them. */
export interface Range {
  start: number;
  end: number;
}

const NOBODY: Watcher = { content: () => {}, metadata: () => {}, settled: () => {}, synced: () => {} };
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const NOREPLACE = 1;
const EXCHANGE = 2;
const LONGEST_FILE = 256 << 10;

/** What a call must return: a number (-errno when negative), text that was read, or null: the call is not made at all. */
export type Outcome = number | string | null;

/** One worker's tree. */
export class Model {
  readonly slots: (Inode | null)[] = Array.from({ length: SLOTS }, () => null);
  #serial: number;
  /** Number of the operation that runs. */
  #index = 0;

  constructor(
    readonly root: Inode,
    readonly watcher: Watcher = NOBODY,
  ) {
    this.#serial = 1 + highestSerial(root);
  }

  /** Does it; returns what the system call must return. */
  apply(index: number, operation: Operation): Outcome {
    this.#index = index;
    try {
      return this.#do(operation);
    } catch (failure) {
      if (failure instanceof Failure) return failure.errno;
      throw failure;
    }
  }

  #do(op: Operation): Outcome {
    switch (op.do) {
      case "create":
        return this.#create(op.path, op.mode, op.exclusive);
      case "write":
        return this.#write(op);
      case "truncate":
        return this.#truncate(op.path, op.size);
      case "allocate":
        return this.#allocate(op);
      case "copy":
        return this.#copy(op);
      case "unlink":
      case "rmdir":
        return this.#remove(op.path, op.do === "rmdir");
      case "mkdir":
        return this.#make(op.path, "directory", { mode: op.mode });
      case "symlink":
        return this.#make(op.path, "link", { mode: 0o777, target: op.target });
      case "node":
        return this.#make(op.path, op.kind, {
          mode: op.mode,
          device: op.kind === "character" ? op.device : 0,
        });
      case "rename":
        return this.#rename(op.path, op.to, op.flags);
      case "link":
        return this.#link(op.path, op.to);
      case "unnamed":
        return this.#unnamed(op);
      case "hold":
        this.slots[op.slot] = null;
        this.slots[op.slot] = this.#file(op.path);
        return this.slots[op.slot] === null ? null : 0;
      case "writeHeld":
        return this.#held(op.slot, (inode) => this.#put(inode, op.offset, op.length));
      case "syncHeld":
        return this.#held(op.slot, (inode) => this.#sync(inode, false));
      case "readHeld":
        return this.#held(op.slot, (inode) => digest(inode.content));
      case "fsync":
      case "fdatasync":
        return this.#sync(this.#synced(op.path), op.do === "fdatasync");
      case "read": {
        const inode = this.#file(op.path);
        return inode && digest(inode.content);
      }
      case "list":
        return this.#list(op.path);
      default:
        return this.#change(op);
    }
  }

  // ---- names ---------------------------------------------------------------------------------------------------------

  /** The directory that holds the last name. */
  #parent(path: Path): { directory: Inode; name: string } {
    let directory = this.root;
    for (const name of path.slice(0, -1)) {
      const next = directory.names.get(name) ?? fail("ENOENT");
      // Every symbolic link here leads nowhere.
      if (next.kind === "link") fail("ENOENT");
      if (next.kind !== "directory") fail("ENOTDIR");
      directory = next;
    }
    return { directory, name: path.at(-1)! };
  }

  #lookup(path: Path): Inode {
    const { directory, name } = this.#parent(path);
    return directory.names.get(name) ?? fail("ENOENT");
  }

  /** As open(2) with O_RDWR and O_NOFOLLOW finds it. */
  #opened(path: Path): Inode {
    const inode = this.#lookup(path);
    if (inode.kind === "directory") fail("EISDIR");
    if (inode.kind === "link") fail("ELOOP");
    if (inode.kind === "socket") fail("ENXIO");
    return inode;
  }

  #synced(path: Path): Inode {
    const inode = this.#lookup(path);
    if (inode.kind === "link") fail("ELOOP");
    if (inode.kind === "socket") fail("ENXIO");
    return inode;
  }

  #add(directory: Inode, name: string, inode: Inode): void {
    directory.names.set(name, inode);
    this.#touched(directory);
    this.watcher.metadata(inode);
  }

  #drop(directory: Inode, name: string): void {
    this.watcher.metadata(directory.names.get(name)!);
    directory.names.delete(name);
    this.#touched(directory);
  }

  #touched(directory: Inode): void {
    directory.mtime = null;
    this.watcher.metadata(directory);
  }

  #make(path: Path, kind: Kind, more: Partial<Inode> & { mode: number }): number {
    const { directory, name } = this.#parent(path);
    if (directory.names.has(name)) fail("EEXIST");
    const inode = newInode(this.#serial++, kind, more.mode, more);
    // inode(7): in a set-group-ID directory, what is made gets its group, and directories the bit too.
    if ((directory.mode & 0o2000) !== 0) {
      inode.gid = directory.gid;
      if (kind === "directory") inode.mode |= 0o2000;
    }
    this.#add(directory, name, inode);
    if (kind === "file") this.watcher.content(inode);
    return 0;
  }

  #create(path: Path, mode: number, exclusive: boolean): Outcome {
    const { directory, name } = this.#parent(path);
    const there = directory.names.get(name);
    if (!there) return this.#make(path, "file", { mode });
    if (exclusive) fail("EEXIST");
    return this.#file(path) && 0;
  }

  #unnamed(op: Operation & { do: "unnamed" }): number {
    this.#make(op.path, "file", { mode: op.mode });
    const inode = this.#lookup(op.path);
    this.#put(inode, 0, op.length);
    if (op.syncs) this.watcher.settled(inode);
    return 0;
  }

  #remove(path: Path, directoryWanted: boolean): number {
    const { directory, name } = this.#parent(path);
    const inode = directory.names.get(name) ?? fail("ENOENT");
    if (directoryWanted && inode.kind !== "directory") fail("ENOTDIR");
    if (!directoryWanted && inode.kind === "directory") fail("EISDIR");
    if (inode.names.size > 0) fail("ENOTEMPTY");
    this.#drop(directory, name);
    return 0;
  }

  #link(from: Path, to: Path): number {
    const inode = this.#lookup(from);
    const { directory, name } = this.#parent(to);
    if (directory.names.has(name)) fail("EEXIST");
    if (inode.kind === "directory") fail("EPERM");
    this.#add(directory, name, inode);
    return 0;
  }

  /** In the order in which the kernel checks (fs/namei.c, do_renameat2 and vfs_rename). */
  #rename(from: Path, to: Path, flags: number): number {
    const source = this.#parent(from);
    const target = this.#parent(to);
    const moved = source.directory.names.get(source.name) ?? fail("ENOENT");
    const met = target.directory.names.get(target.name);
    if (flags === NOREPLACE && met) fail("EEXIST");
    if (flags === EXCHANGE && !met) fail("ENOENT");
    if (source.directory !== target.directory) {
      if (moved.kind === "directory" && isWithin(target.directory, moved)) fail("EINVAL");
      if (met?.kind === "directory" && isWithin(source.directory, met))
        fail(flags === EXCHANGE ? "EINVAL" : "ENOTEMPTY");
    }
    if (moved === met) return 0;
    if (met && flags !== EXCHANGE) {
      if (moved.kind === "directory" && met.kind !== "directory") fail("ENOTDIR");
      if (moved.kind !== "directory" && met.kind === "directory") fail("EISDIR");
      if (met.names.size > 0) fail("ENOTEMPTY");
    }
    if (met) this.watcher.metadata(met);
    source.directory.names.delete(source.name);
    if (flags === EXCHANGE) source.directory.names.set(source.name, met!);
    this.#touched(source.directory);
    this.#add(target.directory, target.name, moved);
    return 0;
  }

  #list(path: Path): Outcome {
    const inode = this.#lookup(path);
    if (inode.kind === "link") fail("ENOENT");
    if (inode.kind !== "directory") fail("ENOTDIR");
    return [...inode.names.keys()].sort(byCode).join("\n");
  }

  // ---- bytes ---------------------------------------------------------------------------------------------------------

  #file(path: Path): Inode | null {
    const inode = this.#opened(path);
    return inode.kind === "file" ? inode : null;
  }

  #replace(inode: Inode, content: Uint8Array): void {
    inode.content = content;
    inode.mtime = null;
    this.watcher.content(inode);
  }

  #put(inode: Inode, offset: number, length: number): number {
    const content = resized(inode.content, Math.max(inode.content.length, offset + length));
    content.fill(fillOf(this.#index), offset, offset + length);
    this.#replace(inode, content);
    return length;
  }

  #write({ path, how, ...op }: Operation & { do: "write" }): Outcome {
    const inode = this.#file(path);
    if (!inode) return null;
    const { offset, length } = writtenRange(how, op.offset, op.length, inode.content.length);
    if (length <= 0 || offset + length > LONGEST_FILE) return null;
    this.#put(inode, offset, length);
    if (how === "sync" || how === "dsync" || how === "mapped+msync")
      this.watcher.synced(inode, how !== "sync", { start: offset, end: offset + length });
    return how.startsWith("mapped") ? 0 : length;
  }

  #truncate(path: Path, size: number): Outcome {
    const inode = this.#file(path);
    if (!inode) return null;
    this.#replace(inode, resized(inode.content, size));
    return 0;
  }

  #allocate({ path, mode, offset, length }: Operation & { do: "allocate" }): Outcome {
    const inode = this.#file(path);
    if (!inode) return null;
    const end = offset + length;
    const content = resized(
      inode.content,
      (mode & KEEP_SIZE) !== 0 ? inode.content.length : Math.max(inode.content.length, end),
    );
    if ((mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0) content.fill(0, offset, end);
    this.#replace(inode, content);
    return 0;
  }

  #copy(op: Operation & { do: "copy" }): Outcome {
    const source = this.#file(op.path);
    const target = source && this.#file(op.to);
    if (!source || !target || source === target) return null;
    const part = source.content.slice(op.from, op.from + op.length);
    if (part.length === 0) return 0;
    const content = resized(target.content, Math.max(target.content.length, op.offset + part.length));
    content.set(part, op.offset);
    this.#replace(target, content);
    return part.length;
  }

  #held(slot: number, use: (inode: Inode) => Outcome): Outcome {
    const inode = this.slots[slot];
    return inode?.kind === "file" ? use(inode) : null;
  }

  #sync(inode: Inode, dataOnly: boolean): Outcome {
    if (inode.kind !== "file" && inode.kind !== "directory") return null;
    this.watcher.synced(inode, dataOnly);
    return 0;
  }

  #change(op: AttributeOperation): Outcome {
    const inode = this.#lookup(op.path);
    if (!changeAttributes(inode, op)) return null;
    this.watcher.metadata(inode);
    return 0;
  }
}

/** Where a write of this kind goes: to the end, on whole blocks, within the file. The length is 0 when it goes nowhere. */
export function writtenRange(
  how: string,
  offset: number,
  length: number,
  size: number,
): { offset: number; length: number } {
  if (how === "append") return { offset: size, length };
  if (how === "direct") return { offset: offset & ~4095, length: (length + 4095) & ~4095 };
  if (how.startsWith("mapped")) return { offset, length: Math.min(length, size - offset) };
  return { offset, length };
}

/** What a reader saw, in few characters. */
export function digest(content: Uint8Array): string {
  return `${content.length} bytes, hash ${Bun.hash(content).toString(16)}`;
}

function resized(content: Uint8Array, size: number): Uint8Array {
  const made = new Uint8Array(size);
  made.set(content.subarray(0, size));
  return made;
}

function highestSerial(inode: Inode): number {
  return Math.max(inode.serial, ...[...inode.names.values()].map(highestSerial));
}
