/**
 * A file system in memory that loses at a crash what a real one may lose.
 *
 * Names and attributes are journaled: a crash keeps a prefix of the transactions. Data is not: of what was not synced,
 * any of the blocks may survive. fsync(file) commits the journal and the file's data, as on ext4.
 */
import { DT_DIR, type Entry, LIMBO } from "../../core/replication/names.ts";

export const DT_REG = 8;
/** Identity of the replicated directory. */
export const TOP = 2 ** 45 + 2;

/** What an object is, on one copy. Two names lead to one `Inode` if they are hard links. */
export interface Inode {
  readonly number: number;
  readonly id: number;
  readonly type: number;
  mode: number;
  mtime: number;
  /** Blocks. */
  size: number;
  /** Block number to content; absent: a hole. */
  readonly blocks: Map<number, number>;
  /** Names to inode numbers, of directories. */
  readonly names: Map<string, number>;
}

/** A reachable object, and one place where it is; without a parent it is the top. */
export interface Place {
  inode: Inode;
  parent: Inode | null;
  name: string;
}

/** The disk said no. */
export class DiskError extends Error {}

/** A change of the journal. */
type Change =
  | { do: "make"; number: number; id: number; type: number; mode: number }
  | { do: "add"; directory: number; name: string; number: number }
  | { do: "remove"; directory: number; name: string }
  | { do: "size"; number: number; size: number }
  | { do: "mode"; number: number; mode: number }
  | { do: "mtime"; number: number; mtime: number };

/** Inodes by number. */
class Tree {
  readonly inodes = new Map<number, Inode>();

  apply(change: Change): void {
    if (change.do === "make") {
      const { number, id, type, mode } = change;
      this.inodes.set(number, {
        number,
        id,
        type,
        mode,
        mtime: 0,
        size: 0,
        blocks: new Map(),
        names: new Map(),
      });
    } else if (change.do === "add") this.at(change.directory).names.set(change.name, change.number);
    else if (change.do === "remove") this.at(change.directory).names.delete(change.name);
    else if (change.do === "mode") this.at(change.number).mode = change.mode;
    else if (change.do === "mtime") this.at(change.number).mtime = change.mtime;
    else {
      const inode = this.at(change.number);
      if (change.size < inode.size)
        for (const block of [...inode.blocks.keys()]) if (block >= change.size) inode.blocks.delete(block);
      inode.size = change.size;
    }
  }

  at(number: number): Inode {
    const inode = this.inodes.get(number);
    if (inode === undefined) throw new Error(`no inode ${number}`);
    return inode;
  }

  copy(): Tree {
    const copy = new Tree();
    for (const inode of this.inodes.values()) {
      copy.inodes.set(inode.number, { ...inode, blocks: new Map(inode.blocks), names: new Map(inode.names) });
    }
    return copy;
  }
}

const TOP_INODE = 1;
const LIMBO_INODE = 2;
/** Content that no application writes. */
const ROTTEN = -1;

/** One node's disk, and the caches before it. */
export class ModelFileSystem {
  #live = new Tree();
  #durable = new Tree();
  #journal: Change[][] = [];
  /** inode -> block -> content that was written and not synced. */
  readonly #pending = new Map<number, Map<number, number>>();
  #lastNumber = LIMBO_INODE;
  /** What `walk` found, as long as no name has changed since. */
  #walked: { top?: Place[]; limbo?: Place[] } = {};
  /** What `describe` said, as long as nothing has changed since. */
  #described: string | null = null;
  /** What fails next, once: an fsync, or a change that needs room. */
  fails: "sync" | "full" | null = null;

  /** `random(n)`: below n. */
  constructor(private readonly random: (below: number) => number) {
    this.#transact([
      { do: "make", number: TOP_INODE, id: TOP, type: DT_DIR, mode: 0o755 },
      { do: "make", number: LIMBO_INODE, id: LIMBO, type: DT_DIR, mode: 0o700 },
    ]);
    this.commit();
  }

  // ---- reading -------------------------------------------------------------------------------------------------------

  /** All reachable inodes with one place each, from the top and (if asked) from limbo; those nearest to it first. */
  walk(limbo = false): readonly Place[] {
    const from = limbo ? "limbo" : "top";
    const places = this.#walked[from] ?? this.#reach(limbo ? [TOP_INODE, LIMBO_INODE] : [TOP_INODE]);
    this.#walked[from] = places;
    return places;
  }

  #reach(from: readonly number[]): Place[] {
    const seen = new Set(from);
    const places = from.map((number): Place => ({ inode: this.#live.at(number), parent: null, name: "" }));
    for (const { inode: parent } of places)
      for (const [name, number] of parent.names) {
        if (seen.has(number)) continue;
        seen.add(number);
        places.push({ inode: this.#live.at(number), parent, name });
      }
    return places;
  }

  /** All reachable inodes with one path each. */
  *paths(): Generator<{ inode: Inode; path: string }> {
    const paths = new Map<number, string>();
    for (const { inode, parent, name } of this.walk()) {
      const path = parent === null ? "" : `${paths.get(parent.number)}/${name}`;
      paths.set(inode.number, path);
      yield { inode, path: path === "" ? "/" : path };
    }
  }

  /** The reachable object with this identity. */
  find(id: number, limbo = false): Inode | null {
    for (const { inode } of this.walk(limbo)) if (inode.id === id) return inode;
    return null;
  }

  /** A place of a reachable object; parent 0 for the top, -1 if it has none. */
  placeOf(id: number): { parent: number; name: string } {
    for (const { inode, parent, name } of this.walk())
      if (inode.id === id) return { parent: parent?.id ?? 0, name };
    return { parent: -1, name: "" };
  }

  /** A directory by identity: LIMBO, the top, or any other. Throws if it is not there. */
  directory(id: number): Inode {
    const inode = id === LIMBO ? this.#live.at(LIMBO_INODE) : this.find(id, true);
    if (inode === null || inode.type !== DT_DIR) throw new Error(`no directory ${id}`);
    return inode;
  }

  list(directory: number): Entry[] {
    return [...this.directory(directory).names].map(([name, number]) => {
      const { id, type } = this.#live.at(number);
      return { name, id, type, hasOthers: type !== DT_DIR && this.#countNames(number) > 1 };
    });
  }

  *allNames(): Generator<Entry & { parent: number }> {
    for (const { inode } of this.walk()) {
      if (inode.type !== DT_DIR) continue;
      for (const entry of this.list(inode.id)) yield { ...entry, parent: inode.id };
    }
  }

  #countNames(number: number): number {
    let count = 0;
    for (const { inode } of this.walk())
      for (const named of inode.names.values()) if (named === number) count++;
    return count;
  }

  lookup(directory: number, name: string): Inode | null {
    const number = this.directory(directory).names.get(name);
    return number === undefined ? null : this.#live.at(number);
  }

  /** The whole tree as text: two copies are equal if this is. */
  describe(): string {
    this.#described ??= this.#describe();
    return this.#described;
  }

  #describe(): string {
    const aliases = new Map<number, string>();
    const lines: string[] = [];
    const visit = (inode: Inode, path: string): void => {
      const first = aliases.get(inode.number);
      if (first !== undefined) {
        lines.push(`${path} = ${first}`);
        return;
      }
      aliases.set(inode.number, path);
      const blocks = [...inode.blocks].filter(([, content]) => content !== 0).sort((a, b) => a[0] - b[0]);
      lines.push(
        `${path} id=${inode.id} mode=${inode.mode} mtime=${inode.mtime} size=${inode.size} ${blocks.join(" ")}`,
      );
      for (const name of [...inode.names.keys()].sort())
        visit(this.#live.at(inode.names.get(name)!), `${path}/${name}`);
    };
    visit(this.#live.at(TOP_INODE), "");
    return lines.join("\n");
  }

  // ---- changing ------------------------------------------------------------------------------------------------------

  #needsRoom(): void {
    if (this.fails !== "full") return;
    this.fails = null;
    throw new DiskError("no space left on device");
  }

  /** Makes an object; without a parent it has no name. */
  make(id: number, type: number, mode: number, parent: number | null, name = ""): void {
    this.#needsRoom();
    const number = ++this.#lastNumber;
    const changes: Change[] = [{ do: "make", number, id, type, mode }];
    if (parent !== null) changes.push({ do: "add", directory: this.directory(parent).number, name, number });
    this.#transact(changes);
  }

  link(inode: Inode, parent: number, name: string): void {
    this.#needsRoom();
    this.#transact([{ do: "add", directory: this.directory(parent).number, name, number: inode.number }]);
  }

  unlink(parent: number, name: string): void {
    if (parent !== LIMBO) this.#mustBeEmpty(this.lookup(parent, name)!);
    this.#transact([{ do: "remove", directory: this.directory(parent).number, name }]);
  }

  rename(from: number, fromName: string, to: number, toName: string, exchange: boolean): void {
    this.#needsRoom();
    const source = this.directory(from);
    const target = this.directory(to);
    const moved = source.names.get(fromName)!;
    const met = target.names.get(toName);
    if (!exchange && met !== undefined && met !== moved) this.#mustBeEmpty(this.#live.at(met));
    const changes: Change[] = [{ do: "remove", directory: source.number, name: fromName }];
    if (exchange && met !== undefined)
      changes.push({ do: "add", directory: source.number, name: fromName, number: met });
    changes.push({ do: "add", directory: target.number, name: toName, number: moved });
    this.#transact(changes);
  }

  write(inode: Inode, block: number, count: number, content: number): void {
    this.#needsRoom();
    const pending = this.#pending.get(inode.number) ?? new Map<number, number>();
    this.#pending.set(inode.number, pending);
    if (block + count > inode.size)
      this.#transact([{ do: "size", number: inode.number, size: block + count }]);
    this.#described = null;
    for (let at = block; at < block + count; at++) {
      inode.blocks.set(at, content);
      pending.set(at, content);
    }
  }

  truncate(inode: Inode, size: number): void {
    this.#transact([{ do: "size", number: inode.number, size }]);
    const pending = this.#pending.get(inode.number);
    if (pending) for (const block of [...pending.keys()]) if (block >= size) pending.delete(block);
  }

  setMode(inode: Inode, mode: number): void {
    this.#transact([{ do: "mode", number: inode.number, mode }]);
  }

  setMtime(inode: Inode, mtime: number): void {
    this.#transact([{ do: "mtime", number: inode.number, mtime }]);
  }

  emptyLimbo(): void {
    for (const name of [...this.#live.at(LIMBO_INODE).names.keys()]) this.unlink(LIMBO, name);
  }

  // ---- what survives -------------------------------------------------------------------------------------------------

  /** fsync of one object. Throws DiskError. */
  sync(inode: Inode | null): void {
    this.commit();
    if (inode === null) return;
    const failed = this.fails === "sync";
    for (const [block, content] of this.#pending.get(inode.number) ?? [])
      if (!failed || this.random(2) === 0) this.#durable.at(inode.number).blocks.set(block, content);
    // The kernel gives up pages that it could not write: they are clean, and not on the disk.
    this.#pending.delete(inode.number);
    if (!failed) return;
    this.fails = null;
    throw new DiskError("fsync: input/output error");
  }

  /** fsync of everything. */
  syncAll(): void {
    this.commit();
    for (const number of [...this.#pending.keys()]) this.sync(this.#live.at(number));
  }

  /** The journal reaches the disk. */
  commit(): void {
    for (const transaction of this.#journal) for (const change of transaction) this.#durable.apply(change);
    this.#journal = [];
  }

  /** Power cut: a prefix of the journal and any subset of the unsynced data survive. */
  crash(): void {
    const { random } = this;
    this.fails = null;
    const kept = random(this.#journal.length + 1);
    for (const transaction of this.#journal.slice(0, kept))
      for (const change of transaction) this.#durable.apply(change);
    const survives = random(3);
    for (const [number, blocks] of this.#pending) {
      const inode = this.#durable.inodes.get(number);
      if (inode === undefined) continue;
      for (const [block, content] of blocks) {
        if (block < inode.size && (survives === 0 ? false : survives === 1 || random(2) === 0))
          inode.blocks.set(block, content);
      }
    }
    this.#journal = [];
    this.#pending.clear();
    this.#live = this.#durable.copy();
    this.#walked = {};
    this.#described = null;
  }

  /** Half of all blocks turn into what nobody wrote, and no error tells of it. */
  rot(): void {
    this.commit();
    this.#described = null;
    for (const { inode } of this.walk()) {
      for (const block of inode.blocks.keys()) {
        if (this.random(2) === 0) continue;
        inode.blocks.set(block, ROTTEN);
        this.#durable.at(inode.number).blocks.set(block, ROTTEN);
        this.#pending.get(inode.number)?.delete(block);
      }
    }
  }

  #mustBeEmpty(inode: Inode): void {
    if (inode.names.size > 0) throw new Error(`ENOTEMPTY: directory ${inode.id}`);
  }

  #transact(changes: Change[]): void {
    this.#described = null;
    for (const change of changes) {
      this.#live.apply(change);
      if (change.do === "add" || change.do === "remove") this.#walked = {};
    }
    this.#journal.push(changes);
  }
}
