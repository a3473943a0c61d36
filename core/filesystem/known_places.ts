/**
 * Where the objects are that this node's file system has seen: parent and name for each identity, and back.
 *
 * The stream introduces an object by its place, and the dirty map remembers it, so that it is found again after a restart.
 */
import type { Place } from "../replication/marks.ts";

/** A name as a string of one character per byte: exact for any name. */
export function nameText(name: Uint8Array, at = 0, length = name.length - at): string {
  let text = "";
  for (let index = at; index < at + length; index++) text += String.fromCharCode(name[index]!);
  return text;
}

/** The bytes of a name that `nameText` made. */
export const nameBytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"));

const keyOf = (parent: number, name: string): string => `${parent}/${name}`;

/** See the top of the file. */
export class KnownPlaces {
  readonly #places = new Map<number, Place>();
  readonly #ids = new Map<string, number>();
  /** How often something was moved. */
  renames = 0;
  /** How often an object lost the name by which it was known and has others, which nobody told. */
  lost = 0;

  /** Finds what a former process knew; null: nothing was taken over. */
  finder: ((id: number) => Place | null) | null = null;

  /** Where `id` is, or null when that is not known, or when it has no name any more. */
  get(id: number): Place | null {
    const place = this.#places.get(id);
    if (place !== undefined) return place;
    const found = this.finder?.(id) ?? null;
    if (found !== null) this.set(id, found.parent, found.name);
    return found;
  }

  /** What `name` in `parent` is, or 0 when that is not known. */
  idOf(parent: number, name: string): number {
    return this.#ids.get(keyOf(parent, name)) ?? 0;
  }

  /** `id` is called `name` in `parent` (and maybe by other names too). */
  set(id: number, parent: number, name: string): void {
    const old = this.#places.get(id);
    if (old !== undefined) {
      if (old.parent === parent && old.name === name) return;
      this.#ids.delete(keyOf(old.parent, old.name));
    }
    this.#places.set(id, { parent, name });
    if (parent !== 0) this.#ids.set(keyOf(parent, name), id);
  }

  /** The kernel met `id` under the name that begins at `at` and ends before a NUL: one of its names, if none is known. */
  seen(id: number, parent: number, name: Uint8Array, at: number): void {
    if (this.#places.has(id)) return;
    this.set(id, parent, nameText(name, at, name.indexOf(0, at) - at));
  }

  /** The name is gone, the object's `last` one or not. Returns what it was, 0 when unknown. */
  remove(parent: number, name: string, last: boolean): number {
    const key = keyOf(parent, name);
    const id = this.#ids.get(key) ?? 0;
    if (id === 0) return 0;
    this.#ids.delete(key);
    this.#places.delete(id);
    if (!last) this.lost++;
    return id;
  }

  /** The object is gone, whatever it was called. */
  forget(id: number): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#places.delete(id);
    this.#ids.delete(keyOf(place.parent, place.name));
  }

  /** A rename happened; what was replaced lost its `last` name by it, or not. */
  rename(from: number, fromName: string, to: number, toName: string, exchange: boolean, last: boolean): void {
    this.renames++;
    const id = this.remove(from, fromName, true);
    const other = this.remove(to, toName, last || exchange);
    if (id !== 0) this.set(id, to, toName);
    if (exchange && other !== 0) this.set(other, from, fromName);
  }
}
