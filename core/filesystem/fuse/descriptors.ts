/**
 * Open descriptors of backing objects, one for each object at most, opened when needed and closed when others are needed more.
 *
 * Opened by file handle, relative to the mount of the backing directory as it was before ours covered it. Where the process may not do that
 * (a user namespace), and for objects without a name, an O_PATH descriptor is kept for as long as the record lives.
 */
import {
  O_APPEND,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
} from "../../platform/linux/constants.ts";
import { errnos } from "../../platform/linux/errno.ts";
import * as libc from "../../platform/linux/libc.ts";
import { cachedDescriptors } from "../../platform/linux/open_files.ts";
import {
  descriptorPath,
  emptyString,
  HANDLE,
  handleAddress,
  mountIdAddress,
  scratch,
} from "../objects/places.ts";
import type { NodeTable } from "./node_table.ts";
import { PerNode } from "./node_table.ts";

/** Kept by each of the module's directories, if the process may have so many open. */
const MOST_OPEN = 4096;
/** Types of objects, as `NodeTable.type` tells them. */
export const TYPE_DIRECTORY = 4;
export const TYPE_REGULAR = 8;

/** True for types whose descriptor is a real one (file, directory), false for those held with O_PATH. */
export function isOpenable(type: number): boolean {
  return type === TYPE_REGULAR || type === TYPE_DIRECTORY;
}

/** True when this process may open objects of the file system behind `rootFd` by handle. */
export function handlesWork(rootFd: number): boolean {
  scratch.view.setUint32(HANDLE, 128, true);
  if (libc.nameToHandleAt(rootFd, emptyString, handleAddress, mountIdAddress, 0x1000) < 0) return false;
  const fd = libc.openByHandleAt(rootFd, handleAddress, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  libc.close(fd);
  return true;
}

/** The cache of descriptors of one directory. Descriptors belong to it: nobody else closes them. */
export class Descriptors {
  /** Slot of each node's descriptor, plus one. */
  private readonly slotOf = new PerNode();
  /** Each node's O_PATH descriptor that is kept, plus one. */
  private readonly keptOf = new PerNode();
  private readonly fds: Int32Array;
  private readonly nodes: Int32Array;
  private readonly recent: Uint8Array;
  private readonly holds: Int32Array;
  private readonly limit: number;
  private hand = 0;
  /** Of nodes that the kernel forgot: to be closed when nobody waits for an answer, since that may free a file on the disk. */
  private readonly forgotten: number[] = [];

  constructor(
    private readonly rootFd: number,
    private readonly table: NodeTable,
    /** False: keep a descriptor of every object. */
    readonly byHandle: boolean,
    /** How many directories share what the process may have open. */
    sharers = 1,
  ) {
    this.limit = cachedDescriptors(MOST_OPEN, 1 / (4 * sharers));
    const { limit } = this;
    this.fds = new Int32Array(limit).fill(-1);
    this.nodes = new Int32Array(limit);
    this.recent = new Uint8Array(limit);
    this.holds = new Int32Array(limit);
  }

  /** The node's descriptor, or -errno. Good until the next call that opens one, or for as long as it is held. */
  get(index: number): number {
    const slot = this.slotOf.get(index) - 1;
    if (slot >= 0) {
      this.recent[slot] = 1;
      return this.fds[slot]!;
    }
    const type = this.table.type(index);
    const keptFd = this.kept(index);
    if (keptFd >= 0 && !isOpenable(type)) return keptFd;
    const fd = this.openNode(index, type, keptFd);
    if (fd >= 0) this.adopt(index, fd);
    return fd;
  }

  /** Takes over a descriptor of a node that has none yet, opened as `get` would. */
  adopt(index: number, fd: number): void {
    const free = this.freeSlot();
    this.fds[free] = fd;
    this.nodes[free] = index;
    this.recent[free] = 1;
    this.slotOf.set(index, free + 1);
  }

  /** The slot of a node that `get` just served: until `release(slot)` its descriptor stays open. */
  hold(index: number): number {
    const slot = this.slotOf.get(index) - 1;
    if (slot >= 0) this.holds[slot]!++;
    return slot;
  }

  /** The node whose descriptor this slot holds; 0: it was forgotten meanwhile, or there is no such slot. */
  nodeAt(slot: number): number {
    return slot < 0 ? 0 : this.nodes[slot]!;
  }

  release(slot: number): void {
    if (slot >= 0 && --this.holds[slot]! === 0 && this.nodes[slot] === 0) this.closeSlot(slot);
  }

  /** Keeps `pathFd` (O_PATH, handed over) for as long as the record lives. */
  keep(index: number, pathFd: number): void {
    if (this.keptOf.get(index) !== 0) libc.close(pathFd);
    else this.keptOf.set(index, pathFd + 1);
  }

  isKept(index: number): boolean {
    return this.keptOf.get(index) !== 0;
  }

  /** The O_PATH descriptor that is kept of the node, or -1. */
  kept(index: number): number {
    return this.keptOf.get(index) - 1;
  }

  /** Lets go of everything that belongs to a record about to be freed. */
  drop(index: number): void {
    const slot = this.slotOf.get(index) - 1;
    this.slotOf.set(index, 0);
    if (slot >= 0) {
      this.nodes[slot] = 0;
      if (this.holds[slot] === 0) {
        this.forgotten.push(this.fds[slot]!);
        this.fds[slot] = -1;
      }
    }
    const keptFd = this.kept(index);
    this.keptOf.set(index, 0);
    if (keptFd >= 0) this.forgotten.push(keptFd);
  }

  /** The next use opens the node anew: its flags allow less than before, or more. */
  reopen(index: number): void {
    const slot = this.slotOf.get(index) - 1;
    if (slot < 0) return;
    this.slotOf.set(index, 0);
    this.nodes[slot] = 0;
    if (this.holds[slot] === 0) this.closeSlot(slot);
  }

  /** Opens an append-only file, which no other descriptor may change. The caller closes it. Returns -errno. */
  openToAppend(index: number): number {
    return this.openAs(index, O_WRONLY | O_APPEND | O_NONBLOCK, this.kept(index));
  }

  /** Closes one descriptor of a node that is forgotten. False: there was none. */
  closeForgotten(): boolean {
    const fd = this.forgotten.pop();
    if (fd === undefined) return false;
    libc.close(fd);
    return true;
  }

  /** Closes all. */
  close(): void {
    while (this.closeForgotten());
    for (let slot = 0; slot < this.limit; slot++) if (this.fds[slot]! >= 0) libc.close(this.fds[slot]!);
    for (let index = 1; index < this.table.end; index++)
      if (this.keptOf.get(index) > 0) libc.close(this.keptOf.get(index) - 1);
  }

  private openNode(index: number, type: number, keptFd: number): number {
    if (type === TYPE_DIRECTORY) return this.openAs(index, O_RDONLY | O_DIRECTORY, keptFd);
    if (type !== TYPE_REGULAR) return this.openAs(index, O_PATH | O_NOFOLLOW, keptFd);
    const fd = this.openAs(index, O_RDWR | O_NONBLOCK, keptFd);
    // Immutable and append-only files, and read-only disks: reading is still possible.
    const refused = fd === -errnos.EPERM || fd === -errnos.EROFS || fd === -errnos.EACCES;
    return refused ? this.openAs(index, O_RDONLY | O_NONBLOCK, keptFd) : fd;
  }

  private openAs(index: number, flags: number, keptFd: number): number {
    if (keptFd >= 0) return libc.openat(-100, descriptorPath(keptFd), (flags & ~O_NOFOLLOW) | O_CLOEXEC, 0);
    this.table.copyHandle(index, scratch, HANDLE);
    return libc.openByHandleAt(this.rootFd, handleAddress, flags | O_CLOEXEC);
  }

  /** A slot without a descriptor, made by closing one not used lately when all are taken. */
  private freeSlot(): number {
    for (let turns = 0; turns < this.limit * 3; turns++) {
      const slot = this.hand;
      this.hand = slot + 1 === this.limit ? 0 : slot + 1;
      if (this.fds[slot]! < 0) return slot;
      if (this.holds[slot]! > 0) continue;
      if (this.recent[slot] === 0) {
        this.slotOf.set(this.nodes[slot]!, 0);
        this.closeSlot(slot);
        return slot;
      }
      this.recent[slot] = 0;
    }
    throw new Error(`all ${this.limit} descriptors are in use by the pool: it has fewer jobs than that`);
  }

  private closeSlot(slot: number): void {
    libc.close(this.fds[slot]!);
    this.fds[slot] = -1;
    this.nodes[slot] = 0;
  }
}
