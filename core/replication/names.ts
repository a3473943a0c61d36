/**
 * Reintegration of names, on the target.
 *
 * The source sends, for each directory whose names are dirty, the names and identities that it has. The target makes its
 * own directory the same: what does not belong there goes to limbo, what belongs there is taken from wherever the target
 * has that identity, and only what it has nowhere is made, empty. Renames stay renames, however they are tangled.
 *
 * It finds an identity because of one property of the marks: whoever adds or removes a name dirties that directory, and
 * whoever adds a hard link also the directory of the name that it was made from. So each object that changed its names has
 * its old place in a dirty directory; and a dirty directory is found through directories that are clean, therefore equal.
 * One exception: a hard link's removal that a crash undid on one side. Then the object has another name somewhere clean, and
 * the target looks through its whole tree.
 */
import { NameTable } from "./name_table.ts";
import type { Place } from "./records.ts";

/** Stands for the directory where the target keeps what lost its place until the reintegration ends. Not an identity. */
export const LIMBO = 0;
/** d_type of a directory. */
export const DT_DIR = 4;
/** d_type of a regular file. */
export const DT_REG = 8;

/** One name in a directory. `name` has one character per byte; id 0: it has no identity; `type` is d_type. */
export interface Entry {
  name: string;
  id: number;
  type: number;
  /** The source says that the object has other names too (a hard link). */
  hasOthers?: boolean;
}

/**
 * What the source tells about a directory: where it is, and whether its names are dirty. Ancestors come first, clean ones too.
 * Parent 0: it is a replicated directory itself, or does not exist any more (its old names still tell the target a place).
 */
export interface Announced {
  id: number;
  parent: number;
  name: string;
  dirty: boolean;
}

/** One of a node's own directories, by identity: only those that were located are asked for. */
export interface TreeReader {
  /** All names; those of a large directory are read as they are asked for. */
  list(directory: number): Iterable<Entry>;
  /** The identity behind a name; 0 if there is none. */
  lookup(directory: number, name: string): number;
  /** All names of the whole tree, but limbo. Slow, and rarely needed. */
  walk(): Iterable<Entry & { parent: number }>;
}

/** Where this copy has what may have to move. Grows by `announce`; kept true by everybody who changes a name during a reintegration. */
export class Locations {
  readonly #reader: TreeReader;
  readonly #tops: ReadonlySet<number>;
  readonly #names = new NameTable();
  readonly #announced = new Map<number, Announced>();
  readonly #ranges: { from: number; to: number }[] = [];
  readonly #listed = new Set<number>();
  /** The whole tree was walked: whatever has a name here is known by it. */
  #isWalked = false;

  /** `tops`: the replicated directories themselves. */
  constructor(tops: Iterable<number>, reader: TreeReader) {
    this.#reader = reader;
    this.#tops = new Set(tops);
  }

  /**
   * Learns of directories, and finds as many of the dirty ones as this copy has. A fixpoint: listing one may show where
   * another is. All that arrived with one announcement are looked for together. What an interrupted reintegration left in limbo is found
   * with the first, whole: the source may not know any more of the directories in which it lay.
   */
  announce(directories: Iterable<Announced>): void {
    for (const _ of this.announcing(directories));
  }

  /** The same a little at a time: no name may change between two steps. */
  *announcing(directories: Iterable<Announced>): Generator<undefined> {
    if (!this.#listed.has(LIMBO)) yield* this.#listingAll(LIMBO);
    for (const directory of directories) {
      const known = this.#announced.get(directory.id);
      this.#announced.set(directory.id, { ...directory, dirty: directory.dirty || known?.dirty === true });
    }
    for (let progress = true; progress; ) {
      progress = false;
      for (const directory of this.#announced.values()) {
        if (!this.isLocated(directory.id) && this.#find(directory)) progress = true;
        if (directory.dirty && !this.#listed.has(directory.id) && this.isLocated(directory.id)) {
          yield* this.#listing(directory.id);
          progress = true;
        }
        yield;
      }
    }
  }

  /**
   * Every directory with an identity from `from` to before `to` is dirty. The source does not know them one by one: some were
   * removed there before it had marks for them. Before the first `announce`.
   */
  announceRange(from: number, to: number): void {
    this.#ranges.push({ from, to });
  }

  /** Has this copy the directory, and is it known where? */
  isLocated(id: number): boolean {
    return this.#tops.has(id) || this.#names.ofId(id) >= 0;
  }

  /** A place of the object, null if it is not known here. */
  placeOf(id: number): Place | null {
    const row = this.#names.ofId(id);
    return row < 0 ? null : { parent: this.#names.parent(row), name: this.#names.name(row) };
  }

  /** The names of an object with `count` of them, outside limbo: those that are known, or, if they are fewer, all that the whole tree holds. */
  namesOf(id: number, count: number): readonly Place[] {
    const known = this.#namesOutsideLimbo(id);
    if (known.length >= count) return known;
    for (const _ of this.#walking());
    return this.#namesOutsideLimbo(id);
  }

  #namesOutsideLimbo(id: number): Place[] {
    const places: Place[] = [];
    for (let row = this.#names.ofId(id); row >= 0; row = this.#names.another(row)) {
      const parent = this.#names.parent(row);
      if (parent !== LIMBO) places.push({ parent, name: this.#names.name(row) });
    }
    return places;
  }

  /**
   * Looks through the whole tree, a little at a step, when one of a directory's objects has other names at the source and none known here.
   * Once is enough, however many such directories there are: all names are known then.
   */
  *findingHardLinks(wanted: readonly Entry[]): Generator<undefined> {
    for (const { id, hasOthers } of wanted) {
      if (this.#isWalked) return;
      if (hasOthers && this.#names.ofId(id) < 0 && !this.#isInRange(id)) yield* this.#walking();
      yield;
    }
  }

  *#walking(): Generator<undefined> {
    if (this.#isWalked) return;
    for (const { id, type, parent, name } of this.#reader.walk()) {
      if (id !== 0) this.added(id, type, { parent, name });
      yield;
    }
    this.#isWalked = true;
  }

  /** Does limbo hold the object under one of its names? */
  isInLimbo(id: number): boolean {
    for (let row = this.#names.ofId(id); row >= 0; row = this.#names.another(row))
      if (this.#names.parent(row) === LIMBO) return true;
    return false;
  }

  /** The object's d_type, as listed. */
  typeOf(id: number): number | undefined {
    const row = this.#names.ofId(id);
    return row < 0 ? undefined : this.#names.type(row);
  }

  /** The names from a top (or from limbo) down to a located directory; `top` is its identity, or LIMBO. */
  pathOf(id: number): { top: number; names: string[] } | null {
    const names: string[] = [];
    let at = id;
    while (!this.#tops.has(at) && at !== LIMBO) {
      const place = this.placeOf(at);
      if (place === null || names.length > 4096) return null;
      names.unshift(place.name);
      at = place.parent;
    }
    return { top: at, names };
  }

  /** A name was added. */
  added(id: number, type: number, place: Place): void {
    const row = this.#names.find(place.parent, place.name);
    if (row >= 0 && this.#names.id(row) === id && this.#names.type(row) === type) return;
    if (row >= 0) this.#names.remove(row);
    this.#names.add(id, place.parent, place.name, type);
  }

  /** A name was removed. */
  removed(place: Place): void {
    const row = this.#names.find(place.parent, place.name);
    if (row >= 0) this.#names.remove(row);
  }

  /** A live rename was applied; `exchange`: RENAME_EXCHANGE. What lay at the new name is gone, or at the old one. */
  renamed(from: Place, to: Place, exchange: boolean): void {
    const moved = this.#at(from);
    const met = this.#at(to);
    this.removed(from);
    this.removed(to);
    if (moved !== null) this.added(moved.id, moved.type, to);
    if (exchange && met !== null) this.added(met.id, met.type, from);
    // What came from a directory that was never listed is not known by its identity: what was listed is not all any more.
    if (moved === null || (exchange && met === null)) this.#isWalked = false;
    if (moved === null) this.#listed.delete(to.parent);
    if (exchange && met === null) this.#listed.delete(from.parent);
  }

  #at(place: Place): { id: number; type: number } | null {
    const row = this.#names.find(place.parent, place.name);
    return row < 0 ? null : { id: this.#names.id(row), type: this.#names.type(row) };
  }

  #find(directory: Announced): boolean {
    const { id, parent, name } = directory;
    if (!this.isLocated(parent) || this.#listed.has(parent)) return false;
    if (this.#reader.lookup(parent, name) !== id) return false;
    this.added(id, DT_DIR, { parent, name });
    return true;
  }

  #isInRange(id: number): boolean {
    return this.#ranges.some((range) => id >= range.from && id < range.to);
  }

  *#listingAll(directory: number): Generator<undefined> {
    const below: number[] = [];
    yield* this.#listing(directory, below);
    for (const id of below) yield* this.#listingAll(id);
  }

  /** `below` gets the directories in it. */
  *#listing(directory: number, below: number[] = []): Generator<undefined> {
    this.#listed.add(directory);
    for (const { id, type, name } of this.#reader.list(directory)) {
      yield;
      if (id === 0) continue;
      this.added(id, type, { parent: directory, name });
      if (type !== DT_DIR) continue;
      below.push(id);
      if (this.#isInRange(id) && !this.#announced.has(id))
        this.#announced.set(id, { id, parent: directory, name, dirty: true });
    }
  }
}

/** One change to the target's directory, to be done in order. */
export type NameAction =
  /** Move the name into limbo. */
  | { do: "toLimbo"; name: string; limboName: string; id: number }
  /** Remove the name: limbo holds the object already. */
  | { do: "remove"; name: string; id: number }
  /** Move a directory here. */
  | { do: "take"; id: number; from: Place; name: string }
  /** Give the object one more name. */
  | { do: "link"; id: number; from: Place; name: string }
  /** This copy does not have it: make an empty one with this identity, and ask the source for all of it (NEED). */
  | { do: "make"; id: number; type: number; name: string };

/** In the flags of UNLINK: it is a directory that is removed. */
export const REMOVES_DIRECTORY = 1;
/** In the flags of UNLINK: the object has other names, of which the target may not know yet. Limbo keeps it, or it would be made anew and copied. */
export const KEEPS_OTHERS = 2;

/** The name in limbo of an object that lost its place. */
export const limboName = (id: number): string => id.toString(16).padStart(12, "0");

/**
 * What makes `directory`, which holds `mine`, hold `wanted`. The directory is at its place already, and so are all above it:
 * directories are done from the top. `locations` is brought forward as if all actions had succeeded.
 */
export function reconcile(
  directory: number,
  wanted: readonly Entry[],
  mine: readonly Entry[],
  locations: Locations,
): NameAction[] {
  return [...reconciling(directory, wanted, mine, locations)].filter((action) => action !== null);
}

/** The same, one action at a time: each is done before the next is asked for. Null: a little was found out, and there is nothing to do yet. */
export function* reconciling(
  directory: number,
  wanted: readonly Entry[],
  mine: readonly Entry[],
  locations: Locations,
): Generator<NameAction | null> {
  const wantedAt = new Map<string, Entry>();
  for (const entry of wanted) {
    wantedAt.set(entry.name, entry);
    yield null;
  }
  const kept = new Set<string>();
  for (const _ of locations.findingHardLinks(wanted)) yield null;
  for (const entry of mine) {
    const place = { parent: directory, name: entry.name };
    const want = wantedAt.get(entry.name);
    if (want !== undefined && entry.id === want.id && entry.type === want.type) {
      locations.added(entry.id, entry.type, place);
      kept.add(entry.name);
      yield null;
    } else {
      yield makeWay(entry, place, locations);
    }
  }
  for (const entry of wanted) {
    if (kept.has(entry.name)) {
      yield null;
      continue;
    }
    const place = { parent: directory, name: entry.name };
    yield bringHere(entry, place, locations);
    locations.added(entry.id, entry.type, place);
  }
}

function makeWay(entry: Entry, place: Place, locations: Locations): NameAction {
  const { id, name, type } = entry;
  locations.removed(place);
  if (id === 0)
    return { do: "toLimbo", name, id, limboName: `alien-${limboName(place.parent)}-${name}`.slice(0, 255) };
  const inLimbo = { parent: LIMBO, name: limboName(id) };
  if (locations.isInLimbo(id)) return { do: "remove", name, id };
  locations.added(id, type, inLimbo);
  return { do: "toLimbo", name, limboName: inLimbo.name, id };
}

function bringHere(entry: Entry, place: Place, locations: Locations): NameAction {
  const { id, name, type } = entry;
  const from = locations.placeOf(id);
  if (from === null || locations.typeOf(id) !== type) return { do: "make", id, type, name };
  if (type !== DT_DIR) return { do: "link", id, from, name };
  locations.removed(from);
  locations.added(id, type, place);
  return { do: "take", id, from, name };
}
