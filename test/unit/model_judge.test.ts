/** The judge of the model test (test/model/judge.ts) can say no: to what is missing, out of order, or older than a sync. */
import t from "tap";
import {
  firstOperations,
  judge,
  type Survived,
  settleRange,
  type Version,
  type Work,
} from "../model/judge.ts";
import { Model } from "../model/model.ts";
import { compareTrees, copyTree, type Inode, newInode } from "../model/tree.ts";

const empty = newInode(0, "directory", 0);
for (const [index, place] of ["own", "all"].entries())
  empty.names.set(place, newInode(index + 1, "directory", 0));

const done = 600;
const work = (seed: number, more: Partial<Work> = {}): Work => ({
  seed,
  run: 0,
  worker: 0,
  done,
  initial: empty,
  durability: "fsync",
  ...more,
});

/** The tree after so many operations, and what was changed last. */
function after(seed: number, count: number): Inode {
  const model = new Model(copyTree(empty));
  for (const [index, operation] of firstOperations(work(seed), count).entries())
    model.apply(index, operation);
  return model.root;
}

const accepts = (found: Inode, how: Survived, seed: number, more: Partial<Work> = {}): boolean =>
  judge(work(seed, more), found, how).differences.length === 0;

/** The last operation of this kind that succeeded before `done`. */
function lastOf(seed: number, kind: string): number {
  const model = new Model(copyTree(empty));
  let last = -1;
  for (const [index, operation] of firstOperations(work(seed), done).entries())
    if (model.apply(index, operation) === 0 && operation.do === kind) last = index;
  return last;
}

t.test("what was done is accepted, also when the last operation was only begun", async (t) => {
  for (const seed of [1, 2, 3]) {
    t.ok(accepts(after(seed, done), "live", seed));
    t.notOk(accepts(after(seed, done - 100), "live", seed));
    for (const count of [done, done + 1])
      for (const how of ["memory", "disk"] as const) t.ok(accepts(after(seed, count), how, seed));
  }
});

t.test("what comes before a confirmed sync must be there; what comes after may be missing", async (t) => {
  for (const seed of [1, 2, 3]) {
    const synced = Math.max(...["fsync", "fdatasync", "syncHeld"].map((kind) => lastOf(seed, kind)));
    t.ok(accepts(after(seed, synced + 1), "memory", seed, { done: synced + 1 }));
    t.notOk(accepts(empty, "memory", seed), "nothing at all");
    t.notOk(accepts(empty, "disk", seed), "nothing at all, on disk");
  }
});

t.test("the moment that is told is the nearest, and all that differs from it is told", async (t) => {
  const everything = { content: () => null, fileTimes: false, most: Number.POSITIVE_INFINITY };
  for (const seed of [1, 2, 3]) {
    const synced = Math.max(...["fsync", "fdatasync", "syncHeld"].map((kind) => lastOf(seed, kind)));
    const begun = after(seed, synced + 1);
    const wrong = copyTree(begun);
    wrong.names.get("own")!.names.set("nobody's", newInode(9999, "fifo", 0o600));
    for (const found of [begun, wrong]) {
      const { found: count, differences } = judge(work(seed), found, "disk");
      t.same(differences, compareTrees(after(seed, count), found, everything), `seed ${seed}: ${count}`);
    }
  }
});

t.test("a gap is noticed: one of several objects is missing, or is what it was", async (t) => {
  for (const seed of [1, 2, 3]) {
    const whole = after(seed, done);
    const own = whole.names.get("own")!;
    for (const [name, inode] of own.names) {
      const found = copyTree(whole);
      found.names.get("own")!.names.delete(name);
      t.notOk(accepts(found, "memory", seed), `without ${JSON.stringify(name.slice(0, 9))}`);
      const other = copyTree(whole);
      const changed = other.names.get("own")!.names.get(name)!;
      changed.mode ^= 0o001;
      if (inode.kind !== "link") t.notOk(accepts(other, "memory", seed), "another mode");
    }
  }
});

t.test("bytes that the file never had since it was synced are noticed", async (t) => {
  let judged = 0;
  for (const seed of [1, 2, 3]) {
    const whole = after(seed, done);
    const files = [...whole.names.get("own")!.names].filter(([, { content }]) => content.length > 0);
    for (const [name] of files) {
      const found = copyTree(whole);
      const inode = found.names.get("own")!.names.get(name)!;
      inode.content = inode.content.slice();
      inode.content[inode.content.length - 1] = (inode.content.at(-1)! + 101) % 256;
      for (const how of ["memory", "disk"] as const) if (!accepts(found, how, seed)) judged++;
    }
  }
  t.ok(judged > 0, `${judged} trees with a wrong byte were refused`);
});

t.test(
  "a synced write vouches for its own bytes, and for the length that they need, not for others",
  async (t) => {
    const content = (text: string): Uint8Array => new TextEncoder().encode(text);
    const versions: Version[] = ["ab", "abcdef", "xbcdEFgh"].map((text, at) => ({
      at,
      content: content(text),
    }));
    settleRange(versions, { start: 4, end: 6 });
    const texts = versions.map((version) => new TextDecoder().decode(version.content));
    t.same(texts, ["ab\0\0EF", "abcdEF", "xbcdEFgh"]);
  },
);
