/** The compact structures that hold whole trees, against plain ones that do the same. */
import t from "tap";
import { IdentitySet } from "../../core/replication/identity_set.ts";
import { NameTable } from "../../core/replication/name_table.ts";

/** Numbers from 0 to 1 that repeat. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Row {
  id: number;
  parent: number;
  name: string;
  type: number;
}

/** All names of an object in the table, the last first. */
function namesOf(table: NameTable, id: number): Row[] {
  const found: Row[] = [];
  for (let row = table.ofId(id); row >= 0; row = table.another(row))
    found.push({
      id: table.id(row),
      parent: table.parent(row),
      name: table.name(row),
      type: table.type(row),
    });
  return found;
}

t.test("names come and go as in a list that is searched from its end", async (t) => {
  const next = random(7);
  const table = new NameTable();
  let model: Row[] = [];
  const pick = (most: number): number => Math.floor(next() * most);
  for (let step = 0; step < 6000; step++) {
    const row: Row = {
      id: 2 ** 45 + pick(100),
      parent: 2 ** 44 + pick(5),
      name: "\xff".repeat(pick(40)) + pick(60),
      type: pick(16),
    };
    const same = model.find(
      ({ id, parent, name }) => id === row.id && parent === row.parent && name === row.name,
    );
    if (same === undefined && next() < 0.5) {
      table.add(row.id, row.parent, row.name, row.type);
      model.push(row);
    } else {
      const found = table.find(row.parent, row.name);
      if (found >= 0) {
        const id = table.id(found);
        table.remove(found);
        model = model.filter(
          (other) => !(other.id === id && other.parent === row.parent && other.name === row.name),
        );
      }
    }
    const names = model.filter(({ id }) => id === row.id).reverse();
    const found = namesOf(table, row.id);
    if (table.size === model.length && JSON.stringify(found) === JSON.stringify(names)) continue;
    t.same(found, names, `step ${step}`);
    t.equal(table.size, model.length);
    return;
  }
  t.ok(table.size > 0);
});

t.test("many names, each found by itself and by its object; room that was freed is used again", async (t) => {
  const table = new NameTable();
  const count = 100_000;
  const fill = (): void => {
    for (let id = 1; id <= count; id++) table.add(id, 1 + (id % 100), `file-${id}`, 8);
  };
  fill();
  for (let id = 1; id <= count; id += 37) {
    const row = table.find(1 + (id % 100), `file-${id}`);
    if (table.id(row) !== id || table.ofId(id) !== row) t.fail(`${id} is not found`);
  }
  t.equal(table.find(1, "file-1"), -1, "by another directory it is not found");
  for (let id = 1; id <= count; id++) table.remove(table.ofId(id));
  t.equal(table.size, 0);
  t.equal(table.ofId(5), -1);
  const highest = Math.max(...[1, 2, 3].map((id) => table.add(id, 1, `file-${id}`)));
  t.ok(highest < count, "rows are used again");
});

t.test("a name means the object that was given it last", async (t) => {
  const table = new NameTable();
  table.add(10, 1, "a");
  table.add(11, 1, "a");
  t.equal(table.id(table.find(1, "a")), 11);
  t.same(namesOf(table, 10), [{ id: 10, parent: 1, name: "a", type: 0 }], "who had it is still known by it");
  table.remove(table.ofId(10));
  t.equal(table.id(table.find(1, "a")), 11, "and letting go of it changes nothing for the other");
  table.remove(table.ofId(11));
  t.equal(table.find(1, "a"), -1);
});

t.test("a set of identities does what a Set does", async (t) => {
  const next = random(3);
  const set = new IdentitySet();
  const model = new Set<number>();
  for (let step = 0; step < 50_000; step++) {
    const id = (next() < 0.5 ? 2 ** 46 : 0) + Math.floor(next() * 5000);
    const what = next();
    if (what < 0.4) {
      const isNew = !model.has(id);
      model.add(id);
      if (set.add(id) !== isNew) t.fail(`add ${id}`);
    } else if (what < 0.8) {
      if (set.delete(id) !== model.delete(id)) t.fail(`delete ${id}`);
    } else if (set.has(id) !== model.has(id)) t.fail(`has ${id}`);
  }
  set.clear();
  t.notOk([...model].some((id) => set.has(id)));
});
