import t from "tap";
import { Marks } from "../../core/replication/marks.ts";
import {
  type Announced,
  DT_DIR,
  type Entry,
  LIMBO,
  Locations,
  limboName,
  type NameAction,
  reconcile,
} from "../../core/replication/names.ts";
import { Reintegration } from "../../core/replication/reintegration.ts";

type Tap = typeof t;
const FILE = 8;
const TOP = 1;
/** A tree as names by directory. */
type Names = Record<number, Record<string, number>>;

/** A target with these directories; every identity that is a key is a directory, the others are files. */
class Target {
  readonly names: Map<number, Map<string, number>>;
  readonly locations: Locations;
  readonly made: number[] = [];
  walks = 0;

  constructor(
    names: Names,
    readonly directories: ReadonlySet<number>,
  ) {
    this.names = new Map(
      Object.entries(names).map(([id, entries]) => [Number(id), new Map(Object.entries(entries))]),
    );
    this.names.set(LIMBO, this.names.get(LIMBO) ?? new Map());
    this.locations = new Locations([TOP], {
      list: (directory) => this.list(directory),
      lookup: (directory, name) => this.names.get(directory)?.get(name) ?? 0,
      walk: () => this.walk(),
    });
  }

  list(directory: number): Entry[] {
    return [...(this.names.get(directory) ?? [])].map(([name, id]) => ({
      name,
      id,
      type: this.directories.has(id) ? DT_DIR : FILE,
    }));
  }

  *walk(): Generator<Entry & { parent: number }> {
    this.walks++;
    for (const parent of this.names.keys())
      if (parent !== LIMBO) for (const entry of this.list(parent)) yield { ...entry, parent };
  }

  act(directory: number, action: NameAction): void {
    const names = this.names.get(directory)!;
    if (action.do === "toLimbo") {
      this.names.get(LIMBO)!.set(action.limboName, names.get(action.name)!);
      names.delete(action.name);
    } else if (action.do === "remove") names.delete(action.name);
    else if (action.do === "make") {
      this.made.push(action.id);
      names.set(action.name, action.id);
      if (action.type === DT_DIR) this.names.set(action.id, new Map());
    } else {
      const from = this.names.get(action.from.parent)!;
      if (from.get(action.from.name) !== action.id)
        throw new Error(`${action.id} is not at ${action.from.name}`);
      if (action.do === "take") from.delete(action.from.name);
      names.set(action.name, action.id);
    }
  }

  get tree(): Names {
    const reachable = new Set([TOP]);
    for (const id of reachable)
      for (const child of this.names.get(id)?.values() ?? []) if (this.names.has(child)) reachable.add(child);
    return Object.fromEntries(
      [...reachable]
        .sort((a, b) => a - b)
        .map((id) => [id, Object.fromEntries([...this.names.get(id)!].sort())]),
    );
  }
}

/** Reintegrates `source` into `target`, the given directories dirty; the source's directories are done from the top. */
function reintegrate(target: Target, source: Names, dirty: number[]): void {
  const parents = new Map<number, { parent: number; name: string }>();
  for (const [id, names] of Object.entries(source))
    for (const [name, child] of Object.entries(names)) parents.set(child, { parent: Number(id), name });
  const announced: Announced[] = [];
  const announce = (id: number): void => {
    if (announced.some((other) => other.id === id)) return;
    const place = parents.get(id);
    if (place !== undefined) announce(place.parent);
    announced.push({ id, parent: place?.parent ?? 0, name: place?.name ?? "", dirty: dirty.includes(id) });
  };
  dirty.forEach(announce);
  target.locations.announce(announced);
  for (const { id } of announced) {
    if (!dirty.includes(id) || source[id] === undefined) continue;
    const names = Object.values(source).flatMap((entries) => Object.values(entries));
    const wanted = Object.entries(source[id]).map(([name, child]) => ({
      name,
      id: child,
      type: source[child] === undefined ? FILE : DT_DIR,
      hasOthers: source[child] === undefined && names.filter((other) => other === child).length > 1,
    }));
    for (const action of reconcile(id, wanted, target.list(id), target.locations)) target.act(id, action);
  }
}

function check(
  t: Pick<Tap, "same">,
  what: string,
  before: Names,
  after: Names,
  dirty: number[],
  made: number[] = [],
): Target {
  const directories = new Set([...Object.keys(before), ...Object.keys(after)].map(Number));
  const target = new Target(before, directories);
  reintegrate(target, after, dirty);
  t.same(target.tree, after, what);
  t.same(target.made, made, `${what}: made`);
  return target;
}

t.test("G6: renames as renames, deletes as deletes, however tangled", async (t) => {
  check(t, "a file renamed", { 1: { a: 9 } }, { 1: { b: 9 } }, [1]);
  check(t, "two names exchanged", { 1: { a: 8, b: 9 } }, { 1: { a: 9, b: 8 } }, [1]);
  check(
    t,
    "a directory moved, with all that is in it",
    { 1: { a: 2, b: 3 }, 2: { x: 9 }, 3: {} },
    { 1: { b: 3 }, 2: { x: 9 }, 3: { c: 2 } },
    [1, 3],
  );
  check(
    t,
    "parent and child exchanged",
    { 1: { a: 2 }, 2: { b: 3 }, 3: {} },
    { 1: { b: 3 }, 2: {}, 3: { a: 2 } },
    [1, 2, 3],
  );
  check(
    t,
    "a cycle of three",
    { 1: { a: 2, b: 3, c: 4 }, 2: {}, 3: {}, 4: {} },
    { 1: { a: 3, b: 4, c: 2 }, 2: {}, 3: {}, 4: {} },
    [1],
  );
  check(t, "removed", { 1: { a: 2, f: 9 }, 2: { x: 8 } }, { 1: {} }, [1, 2]);
  check(t, "new", { 1: {} }, { 1: { d: 2 }, 2: { f: 9 } }, [1, 2], [2, 9]);
});

t.test("trap 5: a directory moved over, a file replaced by a directory of the same name", async (t) => {
  check(t, "file by directory", { 1: { a: 9, b: 2 }, 2: {} }, { 1: { a: 2 }, 2: {} }, [1]);
  check(t, "directory by file", { 1: { a: 2, b: 9 }, 2: { x: 8 } }, { 1: { a: 9 } }, [1, 2]);
  check(
    t,
    "moved over an empty one",
    { 1: { a: 2, b: 3 }, 2: {}, 3: { x: 9 } },
    { 1: { a: 3 }, 3: { x: 9 } },
    [1],
  );
});

t.test("trap 10: hard links, also across directories and after a crash undid a removal", async (t) => {
  check(
    t,
    "a second name elsewhere",
    { 1: { a: 9, d: 2 }, 2: {} },
    { 1: { a: 9, d: 2 }, 2: { b: 9 } },
    [1, 2],
  );
  check(t, "the first name removed", { 1: { a: 9, d: 2 }, 2: {} }, { 1: { d: 2 }, 2: { b: 9 } }, [1, 2]);
  const rare = check(
    t,
    "the other name is in a clean directory",
    { 1: { d: 2 }, 2: { b: 9 } },
    { 1: { a: 9, d: 2 }, 2: { b: 9 } },
    [1],
  );
  t.equal(rare.walks, 1);
});

t.test("hard links that are known nowhere cost one walk, in however many directories they are", async (t) => {
  const before: Names = { 1: {}, 2: { kept: 20 } };
  const after: Names = { 1: {}, 2: { kept: 20 } };
  const dirty = [1];
  for (let id = 100; id < 150; id++) {
    const [directory, old, fresh] = [`d${id}`, id + 100, id + 200];
    before[1]![directory] = after[1]![directory] = id;
    before[2]![`${old}`] = after[2]![`${old}`] = old;
    before[id] = {};
    // One whose other name here is in a clean directory, and one that is to be made.
    after[id] = { old, fresh, again: fresh };
    dirty.push(id);
  }
  before[1]!["clean"] = after[1]!["clean"] = 2;
  const made = dirty.slice(1).map((id) => id + 200);
  const target = check(t, "fifty directories", before, after, dirty, made);
  t.equal(target.walks, 1);
});

t.test("what was moved out of a directory that is gone is found in it", async (t) => {
  check(t, "gone at the source", { 1: { d: 2 }, 2: { e: 3 }, 3: { x: 9 } }, { 1: { x: 9 } }, [1, 2, 3]);
  const target = new Target({ 1: { d: 2 }, 2: { e: 50 }, 50: { x: 9 } }, new Set([1, 2, 50]));
  target.locations.announceRange(50, 60);
  reintegrate(target, { 1: { d: 2 }, 2: {}, 3: { x: 9 } }, [1, 2]);
  t.same(
    target.locations.placeOf(9),
    { parent: 50, name: "x" },
    "in a directory that the source has no mark for",
  );
});

t.test(
  "what was moved into a listed directory, live and from where nothing was listed, is found there",
  async (t) => {
    const [listed, clean, moved, other] = [10, 11, 12, 13];
    for (const exchange of [false, true]) {
      const target = new Target(
        { [TOP]: { listed, clean }, [listed]: { other }, [clean]: { moved }, [moved]: {}, [other]: {} },
        new Set([TOP, listed, clean, moved, other]),
      );
      const { locations, names } = target;
      const tops: Announced[] = [{ id: TOP, parent: 0, name: "", dirty: false }];
      locations.announce([...tops, { id: listed, parent: TOP, name: "listed", dirty: true }]);
      const from = { parent: exchange ? listed : clean, name: exchange ? "other" : "moved" };
      const to = { parent: exchange ? clean : listed, name: "moved" };
      names.get(clean)!.delete("moved");
      names.get(listed)!.set(exchange ? "other" : "moved", moved);
      if (exchange) names.get(clean)!.set("moved", other);
      locations.renamed(from, to, exchange);
      const name = exchange ? "other" : "moved";
      locations.announce([{ id: moved, parent: listed, name, dirty: true }]);
      t.same(locations.pathOf(moved), { top: TOP, names: ["listed", name] });
    }
  },
);

t.test("an interrupted reintegration goes on with what lies in limbo", async (t) => {
  const before: Names = {
    1: { a: 3 },
    3: {},
    [LIMBO]: { [limboName(2)]: 2, [limboName(9)]: 9 },
    2: { x: 8 },
  };
  const after: Names = { 1: { a: 3 }, 2: { x: 8 }, 3: { d: 2, f: 9 } };
  check(t, "taken from limbo", before, after, [3]);
  check(t, "from a directory in limbo", before, { 1: { a: 3 }, 3: { x: 8 } }, [3]);
});

t.test("a full copy to an old disk takes a file from a directory that the source never had", async (t) => {
  const marks = new Marks({ nodeNumber: 1, placeOf: () => null });
  const tree = { parentOf: (id: number) => (id === TOP ? 0 : -1), nameOf: () => "" };
  const { ranges } = new Reintegration(marks, tree, [TOP], true);
  const [unknown, file] = [5, 9];
  const target = new Target({ [TOP]: { old: unknown }, [unknown]: { file } }, new Set([TOP, unknown]));
  for (const { from, to } of ranges) target.locations.announceRange(from, to);
  reintegrate(target, { [TOP]: { file } }, [TOP]);
  t.same(target.tree, { [TOP]: { file } });
  t.same(target.made, [], "there is no second one with its identity");
});
