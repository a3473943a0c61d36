/** The application of a simulated run: each operation is written into the history when it was carried out. */
import { DT_DIR } from "../../core/replication/names.ts";
import { DiskError, DT_REG, type Inode, type ModelFileSystem } from "./model_file_system.ts";
import type { History } from "./replication_history.ts";
import type { SourceRole } from "./replication_source.ts";
import type { World } from "./replication_world.ts";

const BLOCKS = [0, 1, 2, 3, 5, 1022, 1023, 1024, 2047, 2050];
const NAMES = ["a", "b", "c", "d", "e"];
const MOST_OBJECTS = 16;

/** An object by one of its names. */
export interface Named {
  inode: Inode;
  parent: Inode;
  name: string;
}

/** What runs on whichever node serves. Each operation says whether it was carried out: not while the marks must be written first. */
export class Application {
  readonly #world: World;
  readonly #history: History;

  constructor(world: World, history: History) {
    this.#world = world;
    this.#history = history;
  }

  /** Does one thing that chance picks, or nothing when it is not possible. */
  act(source: SourceRole): void {
    this.#world.statistics.operations++;
    this.attempt(source, () => this.#draw(source));
  }

  /** Does what is asked for; the disk may be full, and then the application is told so. */
  attempt(source: SourceRole, operation: () => void): void {
    try {
      operation();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#world.tell(() => `the application is told: ${error.message}`);
    }
    this.#world.changed(source);
  }

  #draw(source: SourceRole): void {
    const { random } = this.#world;
    const objects = source.node.fs.walk();
    const directories = objects.filter(({ inode }) => inode.type === DT_DIR).map(({ inode }) => inode);
    const named = objects.filter((object): object is Named => object.parent !== null);
    const files = named.filter(({ inode }) => inode.type === DT_REG);
    const any = <T>(list: readonly T[]): T | undefined => list[random(Math.max(1, list.length))];
    const parent = any(directories)!;
    const name = any(NAMES)!;
    const file = any(files);
    const isFree = !parent.names.has(name);
    const draw = random(20);
    if (draw < 5 && isFree && objects.length < MOST_OBJECTS)
      this.create(source, parent, name, random(3) === 0 ? DT_DIR : DT_REG);
    else if (draw < 10 && file) this.write(source, file.inode, any(BLOCKS)!, 1 + random(3));
    else if (draw === 10 && file) this.truncate(source, file.inode, any(BLOCKS)!);
    else if (draw === 11) this.setMode(source, any(objects)!.inode, random(0o777));
    else if (draw < 14 && file) this.sync(source, file.inode);
    else if (draw === 14 && file && isFree) this.link(source, file, parent, name);
    else if (draw === 15) this.#unlinkAny(source, any(named));
    else if (draw < 20) this.#renameAny(source, any(named), parent, name);
  }

  create(source: SourceRole, parent: Inode, name: string, type: number): boolean {
    const id = source.create(parent, name, type);
    if (id === 0) return false;
    this.#history.changed(this.#world.time, id, 0, Number.POSITIVE_INFINITY, 0);
    this.#did(source, "create", () => `makes ${source.node.nameOf(id)}`);
    return true;
  }

  write(source: SourceRole, inode: Inode, block: number, count: number): boolean {
    const { time } = this.#world;
    if (!source.write(inode, block, count, time)) return false;
    this.#history.changed(time, inode.id, block, block + count, time);
    this.#did(
      source,
      "write",
      () => `writes blocks ${block} to ${block + count - 1} of ${source.node.nameOf(inode.id)}`,
    );
    return true;
  }

  truncate(source: SourceRole, inode: Inode, size: number): boolean {
    if (!source.truncate(inode, size)) return false;
    this.#history.changed(this.#world.time, inode.id, size, Number.POSITIVE_INFINITY, 0);
    this.#did(source, "truncate", () => `cuts ${source.node.nameOf(inode.id)} to ${size} blocks`);
    return true;
  }

  setMode(source: SourceRole, inode: Inode, mode: number): boolean {
    if (!source.setMode(inode, mode)) return false;
    this.#history.changed(this.#world.time, inode.id, 0, 0, 0);
    this.#did(
      source,
      "chmod",
      () => `sets the mode of ${source.node.nameOf(inode.id)} to ${mode.toString(8)}`,
    );
    return true;
  }

  sync(source: SourceRole, inode: Inode): void {
    source.fsync(inode);
    this.#did(source, "fsync", () => `asks for an fsync of ${source.node.nameOf(inode.id)}`);
  }

  link(source: SourceRole, file: Named, parent: Inode, name: string): boolean {
    if (!source.link_(file.inode, file.parent, parent, name)) return false;
    this.#did(source, "link", () => `links ${file.name} as ${name}`);
    return true;
  }

  unlink(source: SourceRole, { inode, parent, name }: Named): boolean {
    if (!source.unlink(parent, name, inode)) return false;
    this.#history.nameLost(this.#world.time, inode.id);
    this.#did(source, "unlink", () => `removes ${name}`);
    return true;
  }

  rename(source: SourceRole, moved: Named, to: Inode, name: string, exchange: boolean): boolean {
    const met = source.node.fs.lookup(to.id, name);
    if (!source.rename(moved.parent, moved.name, to, name, exchange)) return false;
    if (met !== null && !exchange) this.#history.nameLost(this.#world.time, met.id);
    this.#did(source, "rename", () => `renames ${moved.name} to ${source.node.nameOf(moved.inode.id)}`);
    return true;
  }

  #did(source: SourceRole, event: string, words: () => string): void {
    this.#world.cover(event);
    this.#world.tell(() => `the application on ${source.node.name} ${words()}`);
  }

  #unlinkAny(source: SourceRole, victim: Named | undefined): void {
    if (victim !== undefined && victim.inode.names.size === 0) this.unlink(source, victim);
  }

  #renameAny(source: SourceRole, moved: Named | undefined, to: Inode, name: string): void {
    if (moved === undefined) return;
    const { fs } = source.node;
    const met = fs.lookup(to.id, name);
    const exchange = met !== null && this.#world.random(3) === 0;
    if (met === moved.inode || this.#isBelow(fs, to, moved.inode)) return;
    if (exchange && this.#isBelow(fs, moved.parent, met)) return;
    if (met !== null && !exchange && (met.type !== moved.inode.type || met.names.size > 0)) return;
    this.rename(source, moved, to, name, exchange);
  }

  #isBelow(fs: ModelFileSystem, directory: Inode, above: Inode): boolean {
    for (let id = directory.id; id > 0; id = fs.placeOf(id).parent) if (id === above.id) return true;
    return false;
  }
}
