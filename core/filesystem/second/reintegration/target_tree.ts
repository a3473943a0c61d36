/**
 * The target's own tree during a reintegration: directories by identity, as core/replication's `Locations` knows them.
 *
 * What is there and cannot be read is not taken for gone: what it held would be made anew or removed, and a rename would be none. Whoever
 * meets it throws SystemError with its path.
 */
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../../../platform/linux/constants.ts";
import { errnos, isAbsent, SystemError } from "../../../platform/linux/errno.ts";
import { close, openat } from "../../../platform/linux/libc.ts";
import { DT_DIR, type Entry, LIMBO, type Locations, type TreeReader } from "../../../replication/names.ts";
import type { NameFilter } from "../../objects/exclusion.ts";
import { PRIVATE_NAME } from "../../objects/identity.ts";
import { Listing } from "../../objects/listing.ts";
import { modeOf, openObject, textName } from "../../objects/object_access.ts";
import type { ReplicaRoots } from "../../replica/replica_identity.ts";
import { openLimbo } from "./limbo.ts";

const LIMBO_PATH = [PRIVATE_NAME, "limbo"];

/** An open directory of the target; the caller closes `fd`. */
export interface TargetDirectory {
  fd: number;
  root: number;
}

/** An entry of the directory `parent`. */
type Placed = Entry & { parent: number };

/** See the top of the file. */
export class TargetTree implements TreeReader {
  locations: Locations | null = null;
  readonly #roots: ReplicaRoots;
  readonly #filters: readonly (NameFilter | null)[];
  readonly #paths: readonly string[];
  /** Identities of the replicated directories, by index. */
  readonly #tops: number[] = [];

  /** `paths` are those of the roots, in the same order. */
  constructor(roots: ReplicaRoots, filters: readonly (NameFilter | null)[], paths: readonly string[]) {
    this.#roots = roots;
    this.#filters = filters;
    this.#paths = paths;
  }

  /** The replicated directory number `root` is the object `id`. */
  setTop(root: number, id: number): void {
    this.#tops[root] = id;
  }
  get tops(): readonly number[] {
    return this.#tops;
  }

  *list(directory: number): Generator<Entry> {
    if (directory === LIMBO) {
      for (const root of this.#roots.fds.keys())
        yield* this.#entriesAndClose({ fd: this.limbo(root), root }, false, LIMBO_PATH);
      return;
    }
    const opened = this.open(directory);
    if (typeof opened !== "number")
      yield* this.#entriesAndClose(opened, this.#tops.includes(directory), this.#namesTo(directory));
  }

  *#entriesAndClose(opened: TargetDirectory, top: boolean, names: readonly string[]): Generator<Entry> {
    try {
      yield* this.#entries(opened, top, names);
    } finally {
      close(opened.fd);
    }
  }

  *walk(): Generator<Placed> {
    for (const [root, top] of this.#tops.entries()) {
      const opened = this.#descend(root, this.#roots.fds[root]!, []);
      if (typeof opened !== "number") yield* this.#walkBelow(opened, top, []);
    }
  }

  /** `names` lead here, to the directory `parent`. */
  *#walkBelow(opened: TargetDirectory, parent: number, names: readonly string[]): Generator<Placed> {
    const below: Entry[] = [];
    try {
      for (const entry of this.#entries(opened, names.length === 0, names)) {
        yield { ...entry, parent };
        if (entry.type === DT_DIR) below.push(entry);
      }
      for (const { id, name } of below) {
        const next = this.#descend(opened.root, opened.fd, [name], names);
        if (typeof next !== "number") yield* this.#walkBelow(next, id, [...names, name]);
      }
    } finally {
      close(opened.fd);
    }
  }

  lookup(directory: number, name: string): number {
    const opened = this.open(directory);
    if (typeof opened === "number") return 0;
    const id = this.#identityAt(opened, name);
    close(opened.fd);
    if (id >= 0) return id;
    if (isAbsent(id)) return 0;
    throw this.#unreadable(opened.root, [...this.#namesTo(directory), name], "read", id);
  }

  /** The identity behind a name in an open directory. Returns -errno. */
  #identityAt({ fd, root }: TargetDirectory, name: string): number {
    const object = openObject(fd, textName(name), true);
    if (object < 0) return object;
    const type = modeOf(object) >>> 12;
    const id = this.#roots.identityOf(root, object, type !== 4 && type !== 8);
    close(object);
    return id;
  }

  /** Opens a directory by identity. Returns -errno when this copy has none. */
  open(id: number): TargetDirectory | number {
    const path = this.locations?.pathOf(id) ?? (this.#tops.includes(id) ? { top: id, names: [] } : null);
    if (path === null) return -errnos.ENOENT;
    if (path.top === LIMBO) return this.#inLimbo(path.names);
    const root = this.#tops.indexOf(path.top);
    return this.#descend(root, this.#roots.fds[root]!, path.names);
  }

  /** Opens the limbo of the directory number `root`. Throws SystemError. */
  limbo(root: number): number {
    return openLimbo(this.#roots.fds[root]!, this.#paths[root]!);
  }

  #inLimbo(names: readonly string[]): TargetDirectory | number {
    for (const root of this.#roots.fds.keys()) {
      const limbo = this.limbo(root);
      try {
        const found = this.#descend(root, limbo, names, LIMBO_PATH);
        if (typeof found !== "number") return found;
      } finally {
        close(limbo);
      }
    }
    return -errnos.ENOENT;
  }

  /** Opens what `names` lead to from `from`, which lies at `above`. Returns -errno when it is not there. */
  #descend(
    root: number,
    from: number,
    names: readonly string[],
    above: readonly string[] = [],
  ): TargetDirectory | number {
    let fd = openat(from, textName("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    for (const [depth, name] of names.entries()) {
      if (fd < 0) break;
      const next = openat(fd, textName(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
      close(fd);
      fd = next;
      if (fd < 0 && !isAbsent(fd))
        throw this.#unreadable(root, [...above, ...names.slice(0, depth + 1)], "opened", fd);
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

  /** Why the located directory `id` cannot be listed, to be thrown. */
  notListed({ root }: TargetDirectory, id: number, result: number): SystemError {
    return this.#unreadable(root, this.#namesTo(id), "listed", result);
  }

  /** The names in an open directory, some hundred read at once. */
  *#entries(opened: TargetDirectory, top: boolean, names: readonly string[]): Generator<Entry> {
    const { fd, root } = opened;
    const listing = new Listing(fd, this.#roots.identities[root]!, top, this.#filters[root] ?? null);
    try {
      for (let found = listing.next(); found !== null; found = listing.next()) yield* found;
      if (listing.failed !== 0) throw this.#unreadable(root, names, "listed", listing.failed);
    } finally {
      listing.close();
    }
  }

  #namesTo(id: number): readonly string[] {
    const path = this.locations?.pathOf(id) ?? null;
    if (path === null) return [];
    return path.top === LIMBO ? [...LIMBO_PATH, ...path.names] : path.names;
  }

  #unreadable(root: number, names: readonly string[], how: string, result: number): SystemError {
    const path = [this.#paths[root], ...names.map((name) => Buffer.from(name, "latin1").toString())];
    return new SystemError(-result, `${path.join("/")} cannot be ${how}`);
  }
}
