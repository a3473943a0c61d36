/** The application of a simulated run: one draw, one operation, written into the history when it was carried out. */
import { DT_DIR } from "../../core/replication/names.ts";
import { DT_REG, type Inode, type ModelFileSystem } from "./model_file_system.ts";
import type { History } from "./replication_history.ts";
import type { SourceRole } from "./replication_source.ts";
import type { World } from "./replication_world.ts";

const BLOCKS = [0, 1, 2, 3, 5, 1022, 1023, 1024, 2047, 2050];
const NAMES = ["a", "b", "c", "d", "e"];

/** What runs on whichever node serves. */
export class Application {
  readonly #world: World;
  readonly #history: History;

  constructor(world: World, history: History) {
    this.#world = world;
    this.#history = history;
  }

  /** Does one thing, or nothing when what it drew is not possible. */
  act(source: SourceRole): void {
    this.#world.statistics.operations++;
    const objects = [...source.node.fs.walk()];
    const directories = objects.filter(({ inode }) => inode.type === DT_DIR).map(({ inode }) => inode);
    const named = objects.filter(({ parent }) => parent !== null);
    const files = named.filter(({ inode }) => inode.type === DT_REG);
    const any = <T>(list: T[]): T | undefined => list[this.#world.random(Math.max(1, list.length))];
    const parent = any(directories)!;
    const name = any(NAMES)!;
    const file = any(files);
    const draw = this.#world.random(20);
    if (draw < 5 && !parent.names.has(name) && objects.length < 16) this.#create(source, parent, name);
    else if (draw < 10 && file) this.#write(source, file.inode);
    else if (draw === 10 && file) {
      const size = any(BLOCKS)!;
      if (source.truncate(file.inode, size))
        this.#history.changed(this.#world.time, file.inode.id, size, Number.POSITIVE_INFINITY, 0);
    } else if (draw === 11) {
      const inode = any(objects)!.inode;
      if (source.setMode(inode, this.#world.random(0o777)))
        this.#history.changed(this.#world.time, inode.id, 0, 0, 0);
    } else if (draw < 14 && file) source.fsync(file.inode);
    else if (draw === 14 && file && !parent.names.has(name))
      source.link_(file.inode, file.parent!, parent, name);
    else if (draw === 15) this.#unlink(source, any(named));
    else if (draw < 20) this.#rename(source, any(named), parent, name);
  }

  #create(source: SourceRole, parent: Inode, name: string): void {
    const id = source.create(parent, name, this.#world.random(3) === 0 ? DT_DIR : DT_REG);
    if (id !== 0) this.#history.changed(this.#world.time, id, 0, Number.POSITIVE_INFINITY, 0);
  }

  #write(source: SourceRole, inode: Inode): void {
    const block = BLOCKS[this.#world.random(BLOCKS.length)]!;
    const count = 1 + this.#world.random(3);
    if (source.write(inode, block, count, this.#world.time))
      this.#history.changed(this.#world.time, inode.id, block, block + count, this.#world.time);
  }

  #unlink(
    source: SourceRole,
    victim: { inode: Inode; parent: Inode | null; name: string } | undefined,
  ): void {
    if (victim === undefined || victim.inode.names.size > 0) return;
    if (source.unlink(victim.parent!, victim.name, victim.inode))
      this.#history.nameLost(this.#world.time, victim.inode.id);
  }

  #rename(
    source: SourceRole,
    moved: { inode: Inode; parent: Inode | null; name: string } | undefined,
    to: Inode,
    name: string,
  ): void {
    if (moved === undefined) return;
    const { fs } = source.node;
    const from = moved.parent!;
    const met = fs.lookup(to.id, name);
    const exchange = met !== null && this.#world.random(3) === 0;
    if (met === moved.inode || this.#isBelow(fs, to, moved.inode)) return;
    if (exchange && this.#isBelow(fs, from, met)) return;
    if (met !== null && !exchange && (met.type !== moved.inode.type || met.names.size > 0)) return;
    if (!source.rename(from, moved.name, to, name, exchange)) return;
    if (met !== null && !exchange) this.#history.nameLost(this.#world.time, met.id);
  }

  #isBelow(fs: ModelFileSystem, directory: Inode, above: Inode): boolean {
    for (let id = directory.id; id > 0; id = fs.placeOf(id).parent) if (id === above.id) return true;
    return false;
  }
}
