/**
 * Where the objects are that this node's file system has seen: parent and name for each identity, and back.
 *
 * The stream introduces an object by its place, and the dirty map remembers it, so that it is found again after a restart.
 */
import type { Place } from "../../replication/marks.ts";
import { NameTable } from "../../replication/name_table.ts";
import { nameText } from "../../replication/name_text.ts";
import { DT_DIR } from "../../replication/names.ts";
import { STAT, STX_MODE, STX_NLINK, scratch } from "./places.ts";

/** See the top of the file. */
export class KnownPlaces {
  /** Of an object with several names, those that were seen: what loses one of them is still found by another. */
  readonly #names = new NameTable();
  /** How often something was moved. */
  renames = 0;
  /** How often an object lost the last name by which it was known and has others, which nobody told. */
  lost = 0;

  /** Finds what a former process knew; null: nothing was taken over. */
  finder: ((id: number) => Place | null) | null = null;

  /** Where `id` is, by the name that was told last; null when that is not known, or when it has no name any more. */
  get(id: number): Place | null {
    const row = this.#names.ofId(id);
    if (row >= 0) return { parent: this.#names.parent(row), name: this.#names.name(row) };
    const found = this.finder?.(id) ?? null;
    if (found !== null) this.set(id, found.parent, found.name);
    return found;
  }

  /** The directory of `id`: 0 for a replicated directory itself, -1 when that is not known. */
  parentOf(id: number): number {
    const row = this.#names.ofId(id);
    return row >= 0 ? this.#names.parent(row) : (this.get(id)?.parent ?? -1);
  }

  /** What `name` in `parent` is, or 0 when that is not known. */
  idOf(parent: number, name: string): number {
    const row = this.#names.find(parent, name);
    return row < 0 ? 0 : this.#names.id(row);
  }

  /** Has it a known name, and is it known to be no directory? */
  isFile(id: number): boolean {
    const row = this.#names.ofId(id);
    return row >= 0 && this.#names.type(row) !== 0 && this.#names.type(row) !== DT_DIR;
  }

  /** `id` is called `name` in `parent`: a file maybe by other names too. `type`: its d_type, 0 when that is not known. */
  set(id: number, parent: number, name: string, type = 0): void {
    const row = this.#names.ofId(id);
    const known = type || (row < 0 ? 0 : this.#names.type(row));
    const met = this.#names.find(parent, name);
    if (met >= 0) {
      if (this.#names.id(met) === id && this.#names.type(met) === known) return;
      this.#names.remove(met);
    }
    if (known === 0 || known === DT_DIR) this.forget(id);
    this.#names.add(id, parent, name, known);
  }

  /** The kernel met `id`, whose attributes are in STAT, under the name that begins at `at` and ends before a NUL. */
  seen(id: number, parent: number, name: Uint8Array, at: number): void {
    const { view } = scratch;
    const type = view.getUint16(STAT + STX_MODE, true) >>> 12;
    if (this.#names.ofId(id) >= 0 && (type === DT_DIR || view.getUint32(STAT + STX_NLINK, true) <= 1)) return;
    this.set(id, parent, nameText(name, at, name.indexOf(0, at) - at), type);
  }

  /** The name is gone, the object's `last` one or not. Returns what it was, 0 when unknown. */
  remove(parent: number, name: string, last: boolean): number {
    const id = this.#take(parent, name);
    if (id === 0) return 0;
    if (last) this.forget(id);
    else if (this.#names.ofId(id) < 0) this.lost++;
    return id;
  }

  #take(parent: number, name: string): number {
    const row = this.#names.find(parent, name);
    if (row < 0) return 0;
    const id = this.#names.id(row);
    this.#names.remove(row);
    return id;
  }

  /** The object is gone, whatever it was called. */
  forget(id: number): void {
    for (let row = this.#names.ofId(id); row >= 0; row = this.#names.ofId(id)) this.#names.remove(row);
  }

  /** A rename happened; what was replaced lost its `last` name by it, or not. */
  rename(from: number, fromName: string, to: number, toName: string, exchange: boolean, last: boolean): void {
    this.renames++;
    const type = this.#typeOf(from, fromName);
    const otherType = this.#typeOf(to, toName);
    const id = this.#take(from, fromName);
    const other = exchange ? this.#take(to, toName) : this.remove(to, toName, last);
    if (id !== 0) this.set(id, to, toName, type);
    if (exchange && other !== 0) this.set(other, from, fromName, otherType);
  }

  #typeOf(parent: number, name: string): number {
    const row = this.#names.find(parent, name);
    return row < 0 ? 0 : this.#names.type(row);
  }
}
