/**
 * Names of objects that the kernel still knows from a former process and will never ask for again: its caches do not age.
 *
 * The record leads to the open object, and the kernel says where that is. Where it does not remember, the directories that it knows are read.
 */
import {
  AT_EMPTY_PATH,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { allocate, close, openat, openByHandleAt, readlinkat, statx } from "../../platform/linux/libc.ts";
import type { Place } from "../../replication/marks.ts";
import { nameText } from "../../replication/name_text.ts";
import { listDirectory } from "../objects/listing.ts";
import { descriptorPath, emptyString, STX_INO } from "../objects/places.ts";
import type { Backing } from "./backing.ts";
import { ROOT, UNLINKED } from "./node_table.ts";

const TYPE_DIRECTORY = 4;
const PATH = 512;
const PATH_SIZE = 4096;
/** Its own: who asks is in the midst of an operation. */
const memory = allocate(PATH + 2 * PATH_SIZE);
const { view, bytes } = memory;

/** See the top of the file. */
export class PlaceFinder {
  #records: Map<number, { backing: Backing; index: number }> | null = null;
  #listed: Map<number, Place> | null = null;

  constructor(private readonly backings: readonly Backing[]) {}

  /** Where `id` is, or null when it is none of the objects that were taken over, or has no name. */
  readonly find = (id: number): Place | null => {
    const record = this.#recordOf(id);
    if (record === null) return null;
    const { backing, index } = record;
    const { table } = backing;
    if (index === ROOT) return { parent: 0, name: "" };
    if (table.identity(index) !== id || table.lookups(index) === 0) return null;
    if ((table.flags(index) & UNLINKED) !== 0) return null;
    return this.#ask(backing, index) ?? this.#list().get(id) ?? null;
  };

  #recordOf(id: number): { backing: Backing; index: number } | null {
    if (this.#records === null) {
      this.#records = new Map();
      for (const backing of this.backings) {
        const { table } = backing;
        for (let index = ROOT; index < table.end; index++)
          if (table.lookups(index) > 0) this.#records.set(table.identity(index), { backing, index });
      }
    }
    return this.#records.get(id) ?? null;
  }

  /** What the kernel says about the open object; null when it does not know its name any more. */
  #ask(backing: Backing, index: number): Place | null {
    backing.table.copyHandle(index, memory, 0);
    const fd = openByHandleAt(backing.rootFd, memory.address, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return null;
    const top = this.#pathOf(backing.rootFd);
    const path = this.#pathOf(fd);
    const inode = inodeOf(fd);
    close(fd);
    if (!path.startsWith(top === "/" ? top : `${top}/`)) return null;
    const inside = path.slice(top === "/" ? 1 : top.length + 1);
    const cut = inside.lastIndexOf("/");
    const parent = this.#identityOf(backing, inside.slice(0, Math.max(cut, 0)));
    // The path of an object that was removed has words behind it: only what leads there counts.
    return parent !== 0 && this.#inodeAt(backing, inside) === inode
      ? { parent, name: inside.slice(cut + 1) }
      : null;
  }

  #pathOf(fd: number): string {
    const length = readlinkat(-100, descriptorPath(fd), memory.address + PATH, PATH_SIZE - 1);
    return length <= 0 ? "" : nameText(bytes, PATH, length);
  }

  /** Opens what is called so below the top; -errno. */
  #open(backing: Backing, inside: string): number {
    const at = PATH + PATH_SIZE;
    for (let i = 0; i < inside.length; i++) bytes[at + i] = inside.charCodeAt(i);
    bytes[at + inside.length] = 0;
    return openat(backing.rootFd, memory.address + at, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
  }

  #inodeAt(backing: Backing, inside: string): string {
    const fd = this.#open(backing, inside);
    if (fd < 0) return "";
    const inode = inodeOf(fd);
    close(fd);
    return inode;
  }

  /** The identity of a directory below the top; 0 when the kernel does not hold it. */
  #identityOf(backing: Backing, inside: string): number {
    const { table } = backing;
    if (inside === "") return table.identity(ROOT);
    const fd = this.#open(backing, inside);
    if (fd < 0) return 0;
    inodeOf(fd);
    close(fd);
    const index = table.find(view.getUint32(256 + STX_INO, true), view.getUint32(256 + STX_INO + 4, true));
    return index === 0 ? 0 : table.identity(index);
  }

  /** Every name in the directories that the kernel holds: an object that it knows lies in one of these. */
  #list(): Map<number, Place> {
    if (this.#listed !== null) return this.#listed;
    const listed = new Map<number, Place>();
    this.#listed = listed;
    for (const { backing, index } of this.#records?.values() ?? []) {
      const { table } = backing;
      if (table.lookups(index) === 0 || table.type(index) !== TYPE_DIRECTORY) continue;
      backing.table.copyHandle(index, memory, 0);
      const fd =
        index === ROOT
          ? openat(backing.rootFd, dotAddress(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
          : openByHandleAt(backing.rootFd, memory.address, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0) continue;
      const entries = listDirectory(fd, backing.identities, index === ROOT, null);
      close(fd);
      if (typeof entries === "number") continue;
      const parent = table.identity(index);
      for (const { id, name } of entries) listed.set(id, { parent, name });
    }
    return listed;
  }
}

function dotAddress(): number {
  bytes[PATH] = 46;
  bytes[PATH + 1] = 0;
  return memory.address + PATH;
}

/** The inode number of an open object, as text; it stays at 256 + STX_INO. */
function inodeOf(fd: number): string {
  if (statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, memory.address + 256) < 0) return "-";
  return `${view.getUint32(256 + STX_INO, true)} ${view.getUint32(256 + STX_INO + 4, true)}`;
}
