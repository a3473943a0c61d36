/**
 * The source's own tree, by identity: opened underneath the mount, by the places that the file system and the marks remember.
 *
 * A place may be unknown (the process was replaced, the peer marked it) or stale. What is opened is always checked against the identity
 * asked for; when that fails, one walk through the whole tree finds where everything is.
 */
import {
  AT_EMPTY_PATH,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  STATX_BASIC_STATS,
} from "../platform/linux/constants.ts";
import { errnos } from "../platform/linux/errno.ts";
import { close, openat, statx } from "../platform/linux/libc.ts";
import { getU64 } from "../platform/linux/memory.ts";
import type { Marks, Place } from "../replication/marks.ts";
import { DT_DIR, type Entry } from "../replication/names.ts";
import type { SourceTree } from "../replication/reintegration.ts";
import type { NameFilter } from "./exclusion.ts";
import type { Identities } from "./identity.ts";
import { type KnownPlaces, nameBytes } from "./known_places.ts";
import { listDirectory } from "./listing.ts";
import { emptyString, STAT, STX_SIZE, scratch, statAddress } from "./places.ts";
import { kernelName, modeOf, openObject } from "./replica_objects.ts";

const DT_REG = 8;
/** Directories kept open. */
const KEPT = 512;

/** A replicated directory of this node. */
export interface TreeRoot {
  fd: number;
  id: number;
  identities: Identities;
  filter: NameFilter | null;
}

interface OpenDirectory {
  fd: number;
  root: TreeRoot;
}

/** See the top of the file. */
export class BackingTree implements SourceTree {
  readonly #roots: readonly TreeRoot[];
  readonly #places: KnownPlaces;
  readonly #marks: Marks;
  readonly #directories = new Map<number, OpenDirectory>();
  /** As many names had been lost when the whole tree was walked: places found then hold until another is. -1: never. */
  #walkedAt = -1;

  constructor(roots: readonly TreeRoot[], places: KnownPlaces, marks: Marks) {
    this.#roots = roots;
    this.#places = places;
    this.#marks = marks;
  }

  get #isWalked(): boolean {
    return this.#walkedAt === this.#places.lost;
  }

  parentOf(id: number): number {
    if (this.#roots.some((root) => root.id === id)) return 0;
    return this.#place(id)?.parent ?? -1;
  }

  nameOf(id: number): string {
    return this.#place(id)?.name ?? "";
  }

  /** Where an object is believed to be: its directory, open until the next call, and its name. Null when that is not known. */
  whereabouts(id: number): { directory: number; name: string } | null {
    const place = this.#place(id);
    if (place === null || place.parent === 0) return null;
    const parent = this.directory(place.parent);
    return typeof parent === "number" ? null : { directory: parent.fd, name: place.name };
  }

  /** Makes sure, one at a step, that the places of these objects are true, walking through the tree when one is not. */
  *verifying(ids: Iterable<number>): Generator<number> {
    for (const id of ids) {
      // Removed since it was asked for, it is nowhere: no reason to look everywhere.
      if (!(this.#marks.hasDirtyContent(id) || this.#marks.areNamesDirty(id))) continue;
      const fd = this.open(id);
      if (fd >= 0) close(fd);
      if (this.#isWalked) return;
      yield id;
    }
  }

  /** Opens an object for reading: a descriptor that the caller closes, or -errno (ENOENT: it has no name). */
  open(id: number): number {
    const fd = this.openKnown(id);
    if (fd >= 0 || this.#isWalked) return fd;
    this.#walk();
    return this.openKnown(id);
  }

  /** Opens a directory: a descriptor that stays ours, good until the next call, or -errno. */
  directory(id: number): OpenDirectory | number {
    const root = this.#roots.find((candidate) => candidate.id === id);
    if (root !== undefined) return { fd: root.fd, root };
    const kept = this.#directories.get(id);
    if (kept !== undefined) return kept;
    const place = this.#place(id);
    if (place === null) return -errnos.ENOENT;
    const parent = this.directory(place.parent);
    if (typeof parent === "number") return parent;
    const fd = openat(parent.fd, textName(place.name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    if (identityOf(fd, parent.root, false) !== id) {
      close(fd);
      return -errnos.ESTALE;
    }
    this.#makeRoom();
    const opened = { fd, root: parent.root };
    this.#directories.set(id, opened);
    return opened;
  }

  /** The names in a directory, as they are now. */
  list(id: number): Entry[] | number {
    let directory = this.directory(id);
    if (typeof directory === "number" && !this.#isWalked) {
      this.#walk();
      directory = this.directory(id);
    }
    if (typeof directory === "number") return directory;
    const { fd, root } = directory;
    const entries = listDirectory(fd, root.identities, root.id === id, root.filter);
    if (typeof entries === "number") return entries;
    for (const entry of entries) this.#places.set(entry.id, id, entry.name);
    return entries;
  }

  /** Closes what was kept open. */
  close(): void {
    for (const { fd } of this.#directories.values()) close(fd);
    this.#directories.clear();
  }

  #place(id: number): Place | null {
    return this.#places.get(id) ?? this.#marks.objects.get(id)?.place ?? null;
  }

  /** As `open`, but only where the object was last seen: ESTALE or ENOENT when it is somewhere else. */
  openKnown(id: number): number {
    const root = this.#roots.find((candidate) => candidate.id === id);
    if (root !== undefined) return openat(root.fd, textName("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    const place = this.#place(id);
    if (place === null) return -errnos.ENOENT;
    const parent = this.directory(place.parent);
    if (typeof parent === "number") return parent;
    const fd = openObject(parent.fd, textName(place.name), true);
    if (fd < 0) return fd;
    const type = modeOf(fd) >>> 12;
    if (identityOf(fd, parent.root, type !== DT_REG && type !== DT_DIR) === id) return fd;
    close(fd);
    return -errnos.ESTALE;
  }

  #walk(): void {
    this.#walkedAt = this.#places.lost;
    const ahead = this.#roots.map(({ id }) => id);
    for (let id = ahead.pop(); id !== undefined; id = ahead.pop()) {
      const entries = this.list(id);
      if (typeof entries === "number") continue;
      for (const entry of entries) if (entry.type === DT_DIR) ahead.push(entry.id);
    }
  }

  #makeRoom(): void {
    if (this.#directories.size < KEPT) return;
    for (const [id, { fd }] of this.#directories) {
      // Ancestors of what is being opened were opened last: the oldest half goes.
      close(fd);
      this.#directories.delete(id);
      if (this.#directories.size <= KEPT / 2) return;
    }
  }
}

/** A path component (one character per byte) where the kernel can read it. */
function textName(name: string): number {
  const bytes = nameBytes(name);
  return kernelName(bytes, 0, bytes.length);
}

/** Fills STAT and reads the identity of an open object. */
function identityOf(fd: number, root: TreeRoot, pathOnly: boolean): number {
  if (statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress) < 0) return 0;
  const low = scratch.view.getUint32(STAT + 32, true);
  return root.identities.ofDescriptor(fd, pathOnly, low, scratch.view.getUint32(STAT + 36, true));
}

/** Fills STAT from an open object; returns its size or -errno. */
export function sizeOf(fd: number): number {
  const result = statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
  return result < 0 ? result : getU64(scratch.view, STAT + STX_SIZE);
}
