/** The target's own tree during a reintegration: directories by identity, as core/replication's `Locations` knows them. */
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../platform/linux/constants.ts";
import { errnos } from "../platform/linux/errno.ts";
import { close, openat } from "../platform/linux/libc.ts";
import { DT_DIR, type Entry, LIMBO, type Locations, type TreeReader } from "../replication/names.ts";
import type { NameFilter } from "./exclusion.ts";
import { nameBytes } from "./known_places.ts";
import { openLimbo } from "./limbo.ts";
import { Listing, listDirectory } from "./listing.ts";
import type { ReplicaRoots } from "./replica_identity.ts";
import { kernelName, modeOf, openObject } from "./replica_objects.ts";

/** An open directory of the target; the caller closes `fd`. */
export interface TargetDirectory {
  fd: number;
  root: number;
}

/** See the top of the file. */
export class TargetTree implements TreeReader {
  locations: Locations | null = null;
  readonly #roots: ReplicaRoots;
  readonly #filters: readonly (NameFilter | null)[];
  /** Identities of the replicated directories, by index. */
  readonly #tops: number[] = [];

  constructor(roots: ReplicaRoots, filters: readonly (NameFilter | null)[]) {
    this.#roots = roots;
    this.#filters = filters;
  }

  /** The replicated directory number `root` is the object `id`. */
  setTop(root: number, id: number): void {
    this.#tops[root] = id;
  }
  get tops(): readonly number[] {
    return this.#tops;
  }

  list(directory: number): Entry[] {
    if (directory === LIMBO)
      return this.#roots.fds.flatMap((fd, root) => this.#listAndClose({ fd: openLimbo(fd), root }, false));
    const opened = this.open(directory);
    if (typeof opened === "number") return [];
    return this.#listAndClose(opened, this.#tops.includes(directory));
  }

  *search(ids: ReadonlySet<number>): Generator<Entry & { parent: number }> {
    for (const [root, top] of this.#tops.entries()) {
      const fd = this.#descend(root, this.#roots.fds[root]!, [], false);
      if (typeof fd !== "number") yield* this.#searchBelow(ids, fd, top, true);
    }
  }

  *#searchBelow(
    ids: ReadonlySet<number>,
    opened: TargetDirectory,
    parent: number,
    top: boolean,
  ): Generator<Entry & { parent: number }> {
    const { fd, root } = opened;
    const entries = listDirectory(fd, this.#roots.identities[root]!, top, this.#filters[root] ?? null);
    for (const entry of typeof entries === "number" ? [] : entries) {
      if (ids.has(entry.id)) yield { ...entry, parent };
      if (entry.type !== DT_DIR) continue;
      const below = this.#descend(root, fd, [entry.name], false);
      if (typeof below !== "number") yield* this.#searchBelow(ids, below, entry.id, false);
    }
    close(fd);
  }

  lookup(directory: number, name: string): number {
    const opened = this.open(directory);
    if (typeof opened === "number") return 0;
    const id = this.identityAt(opened, name);
    close(opened.fd);
    return id;
  }

  /** The identity behind a name in an open directory, 0 if there is none. */
  identityAt({ fd, root }: TargetDirectory, name: string): number {
    const bytes = nameBytes(name);
    const object = openObject(fd, kernelName(bytes, 0, bytes.length), true);
    if (object < 0) return 0;
    const type = modeOf(object) >>> 12;
    const id = this.#roots.identityOf(root, object, type !== 4 && type !== 8);
    close(object);
    return id;
  }

  /** Opens a directory by identity. Returns -errno. */
  open(id: number): TargetDirectory | number {
    const path = this.locations?.pathOf(id) ?? (this.#tops.includes(id) ? { top: id, names: [] } : null);
    if (path === null) return -errnos.ENOENT;
    if (path.top !== LIMBO)
      return this.#descend(
        this.#tops.indexOf(path.top),
        this.#roots.fds[this.#tops.indexOf(path.top)]!,
        path.names,
        false,
      );
    return this.#inLimbo(path.names);
  }

  /** Opens the limbo of the directory number `root`. Throws SystemError. */
  limbo(root: number): number {
    return openLimbo(this.#roots.fds[root]!);
  }

  #inLimbo(names: readonly string[]): TargetDirectory | number {
    for (const [root, fd] of this.#roots.fds.entries()) {
      const limbo = openLimbo(fd);
      const found = this.#descend(root, limbo, names, true);
      if (typeof found !== "number") return found;
    }
    return -errnos.ENOENT;
  }

  /** Opens what `names` lead to from `from`, which is closed afterwards if it is `owned`. */
  #descend(root: number, from: number, names: readonly string[], owned: boolean): TargetDirectory | number {
    let fd = owned
      ? from
      : openat(from, kernelName(Uint8Array.of(46), 0, 1), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    for (const name of names) {
      if (fd < 0) return fd;
      const bytes = nameBytes(name);
      const next = openat(
        fd,
        kernelName(bytes, 0, bytes.length),
        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        0,
      );
      close(fd);
      fd = next;
    }
    return fd < 0 ? fd : { fd, root };
  }

  /** Begins to list an open directory, a little at a time; the caller closes both. */
  listing({ fd, root }: TargetDirectory, id: number): Listing {
    return new Listing(
      fd,
      this.#roots.identities[root]!,
      this.#tops.includes(id),
      this.#filters[root] ?? null,
    );
  }

  #listAndClose({ fd, root }: TargetDirectory, top: boolean): Entry[] {
    const entries = listDirectory(fd, this.#roots.identities[root]!, top, this.#filters[root] ?? null);
    close(fd);
    return typeof entries === "number" ? [] : entries;
  }
}
