/**
 * The source's own tree, by identity: opened underneath the mount, by the places that the file system and the marks remember.
 *
 * A place that a mark remembers may be stale: what is opened is always checked against the identity asked for, and only then is its place
 * known. When that fails, one walk through the whole tree finds where everything is.
 */
import {
  AT_EMPTY_PATH,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { errnos, isAbsent } from "../../platform/linux/errno.ts";
import { close, openat, statx } from "../../platform/linux/libc.ts";
import { getU64 } from "../../platform/linux/memory.ts";
import { cachedDescriptors } from "../../platform/linux/open_files.ts";
import type { Marks, Place } from "../../replication/marks.ts";
import { DT_DIR, DT_REG, type Entry } from "../../replication/names.ts";
import type { SourceTree } from "../../replication/reintegration.ts";
import type { NameFilter } from "./exclusion.ts";
import type { Identities } from "./identity.ts";
import type { KnownPlaces } from "./known_places.ts";
import { Listing } from "./listing.ts";
import { modeOf, openObject, textName } from "./object_access.ts";
import { emptyString, STAT, STX_SIZE, scratch, statAddress } from "./places.ts";

/** Directories kept open. */
const MOST_KEPT = 512;

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
  readonly #kept = cachedDescriptors(MOST_KEPT, 1 / 16);
  readonly #roots: readonly TreeRoot[];
  readonly #places: KnownPlaces;
  readonly #marks: Marks;
  readonly #directories = new Map<number, OpenDirectory>();
  /** A walk that is made a little at a time, and for what it was begun. */
  #looking: Generator<number> | null = null;
  #lookedFor = 0;
  /** As many names had been lost when the whole tree was walked: places found then hold until another is. -1: never. */
  #walkedAt = -1;
  /** 0, or why not all of the tree could be walked: -errno. What was not found may be where nobody could look: in this directory. */
  unseen = 0;
  unseenIn = 0;

  constructor(roots: readonly TreeRoot[], places: KnownPlaces, marks: Marks) {
    this.#roots = roots;
    this.#places = places;
    this.#marks = marks;
  }

  get #isWalked(): boolean {
    return this.#walkedAt === this.#places.lost;
  }

  parentOf(id: number): number {
    return this.#rootOf(id) === undefined ? this.#places.parentOf(id) : 0;
  }

  #rootOf(id: number): TreeRoot | undefined {
    for (let index = 0; index < this.#roots.length; index++)
      if (this.#roots[index]!.id === id) return this.#roots[index];
    return undefined;
  }

  nameOf(id: number): string {
    return this.#place(id)?.name ?? "";
  }

  /** How an object is reached: the number of its replicated directory, and the names from there, one character per byte. */
  pathOf(id: number): { root: number; names: string[] } | null {
    const names: string[] = [];
    let at = id;
    for (let parent = this.parentOf(at); parent > 0; parent = this.parentOf(at)) {
      names.unshift(this.nameOf(at));
      at = parent;
    }
    const root = this.#roots.findIndex((candidate) => candidate.id === at);
    return root < 0 ? null : { root, names };
  }

  /** The same for people, where `tops` are the paths of the replicated directories. */
  inWords(id: number, tops: readonly { path: string }[]): string {
    const { root, names } = this.pathOf(id) ?? { root: -1, names: [] };
    const top = tops[root]?.path ?? `object ${id.toString(16)}`;
    return [top, ...names.map((name) => Buffer.from(name, "latin1").toString())].join("/");
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
      if (this.#isWalked) return;
      // Removed since it was asked for, it is nowhere: no reason to look everywhere.
      if (!(this.#marks.hasDirtyContent(id) || this.#marks.areNamesDirty(id))) continue;
      const fd = this.openKnown(id);
      if (fd >= 0) close(fd);
      else {
        yield* this.#walking();
        return;
      }
      yield id;
    }
  }

  /** Opens an object for reading: a descriptor that the caller closes, or -errno; it has no name any more when `isAbsent`. */
  open(id: number): number {
    let fd = this.openKnown(id);
    if (isAbsent(fd) && !this.#isWalked) {
      this.#walk();
      fd = this.openKnown(id);
    }
    return isAbsent(fd) && this.unseen !== 0 ? this.unseen : fd;
  }

  /** The same, but what is not where it was last seen is looked for a little at a time: EAGAIN, ask again. */
  opening(id: number): number {
    const fd = this.openKnown(id);
    if (!isAbsent(fd)) return fd;
    return this.#looksFurther(id) ? -errnos.EAGAIN : this.open(id);
  }

  /** Opens a directory: a descriptor that stays ours, good until the next call, or -errno. */
  directory(id: number): OpenDirectory | number {
    const root = this.#rootOf(id);
    if (root !== undefined) return { fd: root.fd, root };
    const kept = this.#directories.get(id);
    if (kept !== undefined) return kept;
    const place = this.#place(id);
    if (place === null) return -errnos.ENOENT;
    const parent = this.directory(place.parent);
    if (typeof parent === "number") return parent;
    const fd = openat(parent.fd, textName(place.name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    const found = identityOf(fd, parent.root, false);
    if (found !== id) {
      close(fd);
      return found < 0 ? found : -errnos.ESTALE;
    }
    this.#makeRoom();
    const opened = { fd, root: parent.root };
    this.#proved(id, place, DT_DIR);
    this.#directories.set(id, opened);
    return opened;
  }

  /** The names in a directory, as they are now. */
  list(id: number): Entry[] | number {
    const listing = this.listing(id);
    if (typeof listing === "number") return listing;
    const entries: Entry[] = [];
    for (let found = this.next(id, listing); found !== null; found = this.next(id, listing))
      for (const entry of found) entries.push(entry);
    listing.close();
    return listing.failed === 0 ? entries : listing.failed;
  }

  /** Begins to list a directory, for `next`; the caller closes it. Returns -errno as `open`. */
  listing(id: number): Listing | number {
    let listing = this.listingKnown(id);
    if (typeof listing === "number" && isAbsent(listing) && !this.#isWalked) {
      this.#walk();
      listing = this.listingKnown(id);
    }
    if (typeof listing !== "number") return listing;
    return isAbsent(listing) && this.unseen !== 0 ? this.unseen : listing;
  }

  /** The same, as `opening`. */
  beginListing(id: number): Listing | number {
    const listing = this.listingKnown(id);
    if (typeof listing !== "number" || !isAbsent(listing)) return listing;
    return this.#looksFurther(id) ? -errnos.EAGAIN : this.listing(id);
  }

  /** The same, but only where the directory was last seen. */
  listingKnown(id: number): Listing | number {
    const directory = this.directory(id);
    return typeof directory === "number" ? directory : listingOf(id, directory);
  }

  /** Some more names, whose places are known from now on; null: there are no more, or the listing failed. */
  next(id: number, listing: Listing): Entry[] | null {
    const entries = listing.next();
    for (const { id: child, name, type } of entries ?? []) this.#places.set(child, id, name, type);
    return entries;
  }

  /** Closes what was kept open. */
  close(): void {
    this.#looking?.return(0);
    this.#looking = null;
    for (const { fd } of this.#directories.values()) close(fd);
    this.#directories.clear();
  }

  #place(id: number): Place | null {
    return this.#places.get(id) ?? this.#marks.objects.get(id)?.place ?? null;
  }

  /** As `open`, but only where the object was last seen: ESTALE or ENOENT when it is somewhere else. */
  openKnown(id: number): number {
    const root = this.#rootOf(id);
    if (root !== undefined) return openat(root.fd, textName("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    const place = this.#place(id);
    if (place === null) return -errnos.ENOENT;
    const parent = this.directory(place.parent);
    if (typeof parent === "number") return parent;
    const fd = openObject(parent.fd, textName(place.name), true);
    if (fd < 0) return fd;
    const type = modeOf(fd) >>> 12;
    const found = identityOf(fd, parent.root, type !== DT_REG && type !== DT_DIR);
    if (found === id) {
      this.#proved(id, place, type);
      return fd;
    }
    close(fd);
    return found < 0 ? found : -errnos.ESTALE;
  }

  /** An object was found at a place that only a mark told, maybe. */
  #proved(id: number, { parent, name }: Place, type: number): void {
    if (this.#places.get(id) === null) this.#places.set(id, parent, name, type);
  }

  /** Walks a little. False: all was looked through since `id` was asked for. Names that are lost meanwhile do not begin it anew. */
  #looksFurther(id: number): boolean {
    if (this.#looking === null) {
      if (this.#isWalked || this.#lookedFor === id) return false;
      this.#looking = this.#walking();
    }
    this.#lookedFor = id;
    if (this.#looking.next().done === true) this.#looking = null;
    return true;
  }

  #walk(): void {
    for (const _ of this.#walking());
  }

  /** Finds where everything is, a little at each step. */
  *#walking(): Generator<number> {
    const { lost } = this.#places;
    this.unseen = 0;
    const ahead = this.#roots.map(({ id }) => id);
    for (let id = ahead.pop(); id !== undefined; id = ahead.pop()) {
      const directory = this.directory(id);
      if (typeof directory === "number") {
        this.#cannotSee(id, directory);
        continue;
      }
      const listing = listingOf(id, directory);
      try {
        for (let found = this.next(id, listing); found !== null; found = this.next(id, listing)) {
          for (const entry of found) if (entry.type === DT_DIR) ahead.push(entry.id);
          yield id;
        }
      } finally {
        listing.close();
      }
      this.#cannotSee(id, listing.failed);
    }
    this.#walkedAt = lost;
  }

  #cannotSee(directory: number, result: number): void {
    if (result === 0 || isAbsent(result)) return;
    this.unseen = result;
    this.unseenIn = directory;
  }

  #makeRoom(): void {
    if (this.#directories.size < this.#kept) return;
    for (const [id, { fd }] of this.#directories) {
      // Ancestors of what is being opened were opened last: the oldest half goes.
      close(fd);
      this.#directories.delete(id);
      if (this.#directories.size <= this.#kept / 2) return;
    }
  }
}

const listingOf = (id: number, { fd, root }: OpenDirectory): Listing =>
  new Listing(fd, root.identities, root.id === id, root.filter);

/** Fills STAT and reads the identity of an open object. Returns -errno when the disk does not give it. */
function identityOf(fd: number, root: TreeRoot, pathOnly: boolean): number {
  const result = statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
  if (result < 0) return result;
  const low = scratch.view.getUint32(STAT + 32, true);
  return root.identities.ofDescriptor(fd, pathOnly, low, scratch.view.getUint32(STAT + 36, true));
}

/** Fills STAT from an open object; returns its size or -errno. */
export function sizeOf(fd: number): number {
  const result = statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
  return result < 0 ? result : getU64(scratch.view, STAT + STX_SIZE);
}
