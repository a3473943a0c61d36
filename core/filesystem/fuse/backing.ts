/**
 * The directory under the mount: objects by name and by node, their attributes, and the entries that answer the kernel.
 *
 * All access is relative to descriptors taken before the mount covered the path: never by path, never through our own mount.
 */
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_CTIME,
  STATX_MTIME,
} from "../../platform/linux/constants.ts";
import { check, errnos } from "../../platform/linux/errno.ts";
import * as libc from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import { highInodes } from "../mounts/high_inodes.ts";
import { Identities, PRIVATE_NAME } from "../objects/identity.ts";
import {
  emptyString,
  HANDLE,
  handleAddress,
  mountIdAddress,
  parentStatAddress,
  STAT,
  STX_DEV_MAJOR,
  STX_DEV_MINOR,
  STX_GID,
  STX_INO,
  STX_MODE,
  STX_NLINK,
  STX_UID,
  scratch,
  statAddress,
} from "../objects/places.ts";
import { Descriptors, handlesWork } from "./descriptors.ts";
import { FOREVER_HIGH } from "./fuse_protocol.ts";
import { EXCLUDED, NodeTable, ROOT, TIME_UNTOLD, TIMES_PENDING, UNLINKED } from "./node_table.ts";

/** Says whether the object called `name` (bytes from `at`, NUL-terminated) of the directory `parent` is not replicated. */
export type Exclusion = (parent: number, name: Uint8Array, at: number) => boolean;

const WANTED = STATX_BASIC_STATS | STATX_BTIME;
const WANTED_BUT_TIMES = WANTED & ~(STATX_MTIME | STATX_CTIME);
const { words, view } = scratch;
const privateBytes = new TextEncoder().encode(`${PRIVATE_NAME}\0`);

/** One replicated directory of this node. */
export class Backing {
  readonly table: NodeTable;
  readonly descriptors: Descriptors;
  readonly identities: Identities;
  /** Hears each object that the kernel meets: its identity, its directory's, and its name (from `at`, NUL-terminated). */
  onSeen: ((id: number, parent: number, name: Uint8Array, at: number) => void) | null = null;
  /** Hears of each object in use that is about to lose its last name, and is open as `fd`. */
  onNameless: ((index: number, fd: number) => void) | null = null;
  /** Told when such an object is forgotten. */
  onForgotten: (() => void) | null = null;
  private readonly deviceMajor: number;
  private readonly deviceMinor: number;

  /**
   * Opens the top. `rootFd` must have been opened before mounting and belongs to this object. `tableFd` is the memory file of the
   * node table, empty or taken over. Throws when the file system cannot carry what is needed.
   */
  constructor(
    readonly rootFd: number,
    tableFd: number,
    nodeNumber: 1 | 2,
    readonly excludes: Exclusion | null,
    /** The number of this directory among the module's. */
    root = 0,
    /** How many they are. */
    directories = 1,
  ) {
    this.identities = new Identities(rootFd, nodeNumber, root);
    this.table = new NodeTable(tableFd);
    this.descriptors = new Descriptors(rootFd, this.table, handlesWork(rootFd), directories);
    check(this.statDescriptor(rootFd), "cannot read the attributes of the replicated directory");
    this.deviceMajor = view.getUint32(STAT + STX_DEV_MAJOR, true);
    this.deviceMinor = view.getUint32(STAT + STX_DEV_MINOR, true);
    if (this.table.lookups(ROOT) === 0) this.addRoot();
    else this.keepRoot();
  }

  private addRoot(): void {
    const low = view.getUint32(STAT + STX_INO, true);
    const high = view.getUint32(STAT + STX_INO + 4, true);
    this.readHandle(this.rootFd, emptyString, AT_EMPTY_PATH);
    const found = this.identities.ofDescriptor(this.rootFd, false, low, high);
    if (found === -errnos.EOVERFLOW) throw new Error(highInodes(this.rootFd));
    const identity = check(found, "cannot read the identity of the replicated directory");
    const index = this.table.add(identity, low, high, this.type(), scratch, HANDLE);
    if (index !== ROOT) throw new Error("the node table handed to the mount is not one of ours");
    this.table.remember(ROOT);
    this.keepRoot();
  }

  private keepRoot(): void {
    const kept = libc.openat(this.rootFd, emptyDot, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    this.descriptors.keep(ROOT, check(kept, "cannot open the replicated directory"));
  }

  /** The object, open as `fd`, is in use and about to lose its last name. */
  shelve(index: number, fd: number): void {
    this.onNameless?.(index, fd);
  }

  /** Why the objects in a table that was taken over cannot all be reached, or "". Forgets what only the former process knew. */
  reachProblem(): string {
    const { table, descriptors } = this;
    if (!table.resends) return "the kernel does not send requests again (that needs Linux 6.9)";
    if (!descriptors.byHandle) return "objects cannot be opened by handle here";
    for (let index = 1; index < table.end; index++) {
      if (table.lookups(index) === 0) continue;
      const flags = table.flags(index) & ~(TIMES_PENDING | TIME_UNTOLD);
      table.setFlags(index, flags);
      if (descriptors.isKept(index)) continue;
      if ((flags & UNLINKED) !== 0) return "a file that is open and has no name any more was lost";
      if (table.handleLength(index) === 0) return "an object has no handle to open it by";
    }
    return "";
  }

  /** The replicated objects that are in use and have no name any more. */
  *nameless(): Generator<number> {
    const { table } = this;
    for (let index = 1; index < table.end; index++)
      if (table.lookups(index) > 0 && (table.flags(index) & (UNLINKED | EXCLUDED)) === UNLINKED)
        yield table.identity(index);
  }

  /** Fills the STAT place from an open descriptor; without `times`, those of modification and change are zero. Returns 0 or -errno. */
  statDescriptor(fd: number, times = true): number {
    return libc.statx(fd, emptyString, AT_EMPTY_PATH, times ? WANTED : WANTED_BUT_TIMES, statAddress);
  }
  /** Fills the PARENT_STAT place from an open descriptor. Returns 0 or -errno. */
  statParent(fd: number): number {
    return libc.statx(fd, emptyString, AT_EMPTY_PATH, WANTED, parentStatAddress);
  }
  /** Fills the STAT place with the node's attributes. Returns 0 or -errno. */
  statNode(index: number): number {
    const fd = this.descriptors.get(index);
    return fd < 0 ? fd : this.statDescriptor(fd);
  }

  /** The type in the STAT place, 0..15. */
  type(): number {
    return view.getUint16(STAT + STX_MODE, true) >>> 12;
  }
  /** The mode in the STAT place, type included. */
  mode(): number {
    return view.getUint16(STAT + STX_MODE, true);
  }

  /**
   * The node of the object called `name` in the open directory `dir`, which is the node `parent`; made known when it is new.
   * Leaves its attributes in STAT. Returns the index or -errno. The caller counts a lookup or calls `dropIfUnknown`.
   */
  resolve(parent: number, dir: number, from: Memory, at: number): number {
    const name = from.address + at;
    const stat = libc.statx(dir, name, AT_SYMLINK_NOFOLLOW, WANTED, statAddress);
    if (stat < 0) return stat;
    if (!this.onOurDevice()) return -errnos.EXDEV;
    return this.nodeOfStat(parent, dir, from, at);
  }

  /** As `resolve`, when STAT already holds the attributes. */
  nodeOfStat(parent: number, dir: number, from: Memory, at: number): number {
    const low = view.getUint32(STAT + STX_INO, true);
    const high = view.getUint32(STAT + STX_INO + 4, true);
    this.readHandle(dir, from.address + at, 0);
    const known = this.table.find(low, high);
    if (known !== 0) {
      if (this.table.sameHandle(known, scratch, HANDLE)) {
        this.onSeen?.(this.table.identity(known), this.table.identity(parent), from.bytes, at);
        return known;
      }
      this.table.unhash(known);
    }
    const identity = this.identities.ofName(dir, from.bytes, at, low, high);
    return identity < 0 ? identity : this.add(parent, dir, from, at, identity);
  }

  /** Makes a record for the object in STAT, whose handle is in HANDLE. Returns the index or -errno. */
  add(parent: number, dir: number, from: Memory, at: number, identity: number): number {
    const low = view.getUint32(STAT + STX_INO, true);
    const high = view.getUint32(STAT + STX_INO + 4, true);
    const index = this.table.add(identity, low, high, this.type(), scratch, HANDLE);
    if (index === 0) return -errnos.ENFILE;
    this.onSeen?.(identity, this.table.identity(parent), from.bytes, at);
    if ((this.table.flags(parent) & EXCLUDED) !== 0 || this.excludes?.(parent, from.bytes, at))
      this.table.setFlags(index, EXCLUDED);
    if (this.descriptors.byHandle && this.table.handleLength(index) > 0) return index;
    const fd = libc.openat(dir, from.address + at, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) {
      this.table.free(index);
      return fd;
    }
    this.descriptors.keep(index, fd);
    return index;
  }

  /** Frees a record that was made for internal use and that the kernel does not hold. */
  dropIfUnknown(index: number): void {
    if (index > 0 && this.table.lookups(index) === 0) this.free(index);
  }

  free(index: number): void {
    if ((this.table.flags(index) & UNLINKED) !== 0) this.onForgotten?.();
    this.descriptors.drop(index);
    this.table.free(index);
  }

  isExcluded(index: number): boolean {
    return (this.table.flags(index) & EXCLUDED) !== 0;
  }

  /** Would an object of this name be excluded from replication? */
  wouldExclude(parent: number, from: Memory, at: number): boolean {
    return this.isExcluded(parent) || (this.excludes?.(parent, from.bytes, at) ?? false);
  }

  /** Is this the name of our own directory, which applications do not see? */
  isPrivate(parent: number, bytes: Uint8Array, at: number): boolean {
    if (parent !== ROOT) return false;
    for (let i = 0; i < privateBytes.length; i++) if (bytes[at + i] !== privateBytes[i]) return false;
    return true;
  }

  /** Writes the 128 bytes of a `fuse_entry_out` for the node whose attributes are in STAT, and counts the lookup. */
  writeEntry(to: Memory, at: number, index: number): void {
    this.table.remember(index);
    this.writeValidity(to, at);
    const out = at >>> 2;
    to.words[out] = index;
    to.words[out + 1] = this.table.generation(index);
    writeAttributes(to, at + 40, this.table.identity(index));
  }

  /** Writes a negative entry: "no such name", which the kernel remembers too. */
  writeNegative(to: Memory, at: number): void {
    this.writeValidity(to, at);
    to.words[at >>> 2] = 0;
    to.words[(at >>> 2) + 1] = 0;
  }

  private writeValidity(to: Memory, at: number): void {
    const out = at >>> 2;
    to.words[out + 2] = 0;
    to.words[out + 3] = 0;
    to.words[out + 4] = 0;
    to.words[out + 5] = FOREVER_HIGH;
    to.words[out + 6] = 0;
    to.words[out + 7] = FOREVER_HIGH;
    to.words[out + 8] = 0;
    to.words[out + 9] = 0;
  }

  readHandle(dir: number, name: number, flags: number): void {
    view.setUint32(HANDLE, 128, true);
    const result = libc.nameToHandleAt(dir, name, handleAddress, mountIdAddress, flags);
    // No handle: a length that fits no record, so that a descriptor is kept instead.
    if (result < 0) view.setUint32(HANDLE, 0xffff, true);
  }

  private onOurDevice(): boolean {
    return (
      view.getUint32(STAT + STX_DEV_MAJOR, true) === this.deviceMajor &&
      view.getUint32(STAT + STX_DEV_MINOR, true) === this.deviceMinor
    );
  }

  /** Lets go of every descriptor. The table's memory stays with who holds its file. */
  close(): void {
    this.descriptors.close();
    this.table.close();
    libc.close(this.rootFd);
  }
}

const emptyDot = libc.cString(".").address;

/** Opens the directory to be served. Throws with what to do. */
export function openRoot(path: string): number {
  return check(
    libc.open(path, O_RDONLY | O_DIRECTORY),
    `cannot open the replicated directory ${path}; it must exist and be a directory`,
  );
}

/** Writes the 88 bytes of a `fuse_attr` from the STAT place. */
export function writeAttributes(to: Memory, at: number, identity: number): void {
  const out = at >>> 2;
  const t = to.words;
  t[out] = identity >>> 0;
  t[out + 1] = Math.floor(identity / 4294967296);
  t[out + 2] = words[10]!; // size
  t[out + 3] = words[11]!;
  t[out + 4] = words[12]!; // blocks
  t[out + 5] = words[13]!;
  t[out + 6] = words[16]!; // atime
  t[out + 7] = words[17]!;
  t[out + 8] = words[28]!; // mtime
  t[out + 9] = words[29]!;
  t[out + 10] = words[24]!; // ctime
  t[out + 11] = words[25]!;
  t[out + 12] = words[18]!;
  t[out + 13] = words[30]!;
  t[out + 14] = words[26]!;
  t[out + 15] = view.getUint16(STAT + STX_MODE, true);
  t[out + 16] = words[STX_NLINK >>> 2]!;
  t[out + 17] = words[STX_UID >>> 2]!;
  t[out + 18] = words[STX_GID >>> 2]!;
  const major = words[32]!;
  const minor = words[33]!;
  t[out + 19] = (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
  t[out + 20] = words[1]!; // block size
  t[out + 21] = 0;
}
