/** The node table, and the arithmetic of 64-bit fields. */
import t from "tap";
import { NodeTable, ROOT } from "../../core/filesystem/fuse/node_table.ts";
import { allocate, memfdCreate } from "../../core/platform/linux/libc.ts";
import { getI64, getU64, setU64 } from "../../core/platform/linux/memory.ts";

const handle = allocate(4096);
handle.view.setUint32(0, 8, true);
handle.view.setInt32(4, 1, true);

/** A table with a root and `count` more objects, whose inode numbers collide often. */
function tableWith(
  count: number,
  memfd = memfdCreate("test"),
): { table: NodeTable; memfd: number; indices: number[] } {
  const table = new NodeTable(memfd, 1 << 16);
  const indices: number[] = [];
  for (let i = 0; i <= count; i++) {
    handle.view.setUint32(8, i, true);
    const index = table.add(2 ** 45 + i, i * 4096, i % 3, 8, handle, 0);
    table.remember(index);
    indices.push(index);
  }
  return { table, memfd, indices };
}

await t.test("trap 26: records are found until the last reference is taken away", (tt) => {
  const { table, indices } = tableWith(5000);
  tt.equal(indices[0], ROOT);
  for (let i = 1; i <= 5000; i += 2) {
    const index = indices[i]!;
    table.remember(index);
    if (table.forget(index, 1) || !table.forget(index, 1))
      tt.fail(`object ${i} was forgotten at the wrong time`);
    table.free(index);
  }
  for (let i = 1; i <= 5000; i++) {
    const expected = i % 2 === 1 ? 0 : indices[i]!;
    if (table.find(i * 4096, i % 3) !== expected) tt.fail(`object ${i}`);
  }
  tt.equal(table.size, 2501);
  tt.notOk(table.forget(ROOT, 1000));
  tt.end();
});

await t.test("trap 12b: a node id is never valid for the next object at its place", (tt) => {
  const { table, indices } = tableWith(3);
  const index = indices[2]!;
  const generation = table.generation(index);
  table.free(index);
  tt.equal(table.fromNodeId(index, generation), 0);
  const next = table.add(2 ** 45 + 99, 99, 0, 8, handle, 0);
  table.remember(next);
  tt.equal(next, index);
  tt.equal(table.fromNodeId(index, generation), 0);
  tt.equal(table.fromNodeId(index, generation + 1), index);
  tt.end();
});

await t.test("a new process takes the table over", (tt) => {
  const { table, memfd, indices } = tableWith(300);
  table.free(indices[7]!);
  const taken = new NodeTable(memfd, 1 << 16);
  tt.equal(taken.size, 300);
  tt.equal(taken.find(8 * 4096, 8 % 3), indices[8]);
  tt.equal(taken.identity(indices[8]!), 2 ** 45 + 8);
  tt.equal(taken.find(7 * 4096, 7 % 3), 0);
  handle.view.setUint32(8, 8, true);
  tt.ok(taken.sameHandle(indices[8]!, handle, 0));
  handle.view.setUint32(8, 9, true);
  tt.notOk(taken.sameHandle(indices[8]!, handle, 0));
  tt.equal(taken.add(1, 7 * 4096, 1, 8, handle, 0), indices[7]);
  tt.end();
});

await t.test("trap 32: 64-bit numbers, negative ones too", (tt) => {
  const { view } = allocate(4096);
  for (const value of [0, 1, -1, 2 ** 32, -(2 ** 31) - 1, 2 ** 53 - 1, -(2 ** 40)]) {
    setU64(view, 8, value);
    tt.equal(getI64(view, 8), value);
    tt.equal(view.getBigInt64(8, true), BigInt(value));
  }
  setU64(view, 0, 2 ** 47 + 5);
  tt.equal(getU64(view, 0), 2 ** 47 + 5);
  tt.end();
});

await t.test("a table that outgrows what is mapped of it, in this process and in the next", (tt) => {
  const { table, memfd, indices } = tableWith(50_000);
  const successor = new NodeTable(memfd, 1 << 16);
  for (const each of [table, successor]) {
    tt.equal(each.size, 50_001);
    const lost = indices.filter((index, i) => each.find(i * 4096, i % 3) !== index);
    tt.same(lost, []);
    tt.equal(each.identity(indices[49_999]!), 2 ** 45 + 49_999);
  }
  table.close();
  tt.not(table.identity(indices[5]!), 2 ** 45 + 5, "a closed one knows nothing, and harms nobody");
  successor.close();
  tt.end();
});
