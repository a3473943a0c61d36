import t from "tap";
import type { Generations } from "../../core/failover/types.ts";
import {
  adopt,
  begin,
  HISTORY_LENGTH,
  type Lineage,
  rejoin,
  relation,
} from "../../core/replication/generations.ts";

const at = (current: string, parted: string | null = null, ...history: string[]): Generations => ({
  current,
  parted,
  history,
});
const copy = (generations: Generations, counter = 5, peerCounter = 5): Lineage => ({
  generations,
  counter,
  peerCounter,
  consistency: "uptodate",
});
const tell = (mine: Lineage, theirs: Lineage) => {
  const { relation: name, full, restored } = relation(mine, theirs);
  return [name, full, restored];
};

t.test("trap 1: generations, not dates, tell which copy is newer", async (t) => {
  const together = at("A", null, "0");
  const alone = begin(together, "B");
  t.same(alone, at("B", "A", "A", "0"));
  t.same(tell(copy(together), copy(together)), ["equal", false, null]);
  t.same(tell(copy(alone), copy(together)), ["theyAreAncestor", false, null]);
  t.same(tell(copy(together), copy(alone)), ["iAmAncestor", false, null]);
  t.same(tell(copy(alone), copy(begin(together, "C"))), ["splitBrain", false, null]);
  t.same(tell(copy(alone), copy(at("X"))), ["unrelated", true, null]);
  const again = begin(alone, "D");
  t.same(
    tell(copy(again), copy(together)),
    ["theyAreAncestor", false, null],
    "still parted at the same generation",
  );
  const caughtUp = copy(adopt(alone));
  t.same(
    tell(copy(again), caughtUp),
    ["theyAreAncestor", false, null],
    "the peer had caught up before this node knew of it",
  );
});

t.test("a generation before the last parting needs everything: the marks do not reach back", async (t) => {
  const joined = rejoin(begin(at("A"), "B"));
  t.same(joined, at("B", null, "A"));
  t.same(tell(copy(joined), copy(at("A"))), ["theyAreAncestor", true, null]);
  t.same(tell(copy(at("A")), copy(begin(joined, "C"))), ["iAmAncestor", true, null]);
  t.same(tell(copy(begin(joined, "C")), copy(begin(at("A"), "D"))), ["splitBrain", true, null]);
});

t.test("a crash between the target's record and the source's leaves equal copies", async (t) => {
  const source = begin(at("A"), "B");
  t.same(tell(copy(source), copy(adopt(source))), ["equal", false, null]);
});

t.test("trap 12a: a copy below its peer's memory of it was restored from a snapshot", async (t) => {
  const same = at("A");
  t.same(tell(copy(same, 3, 5), copy(same, 5, 5)), ["iAmAncestor", true, "mine"]);
  t.same(tell(copy(same, 5, 5), copy(same, 3, 5)), ["theyAreAncestor", true, "theirs"]);
  t.same(tell(copy(same, 3, 5), copy(same, 3, 5)), ["unrelated", true, null]);
  t.same(
    tell(copy(same, 6, 5), copy(same, 5, 5)),
    ["equal", false, null],
    "ahead of the peer's memory is ordinary",
  );
  const alone = begin(same, "B");
  t.same(tell(copy(alone, 5, 5), copy(same, 3, 5)), ["theyAreAncestor", true, "theirs"]);
  t.same(
    tell(copy(alone, 3, 5), copy(same, 5, 5)),
    ["splitBrain", true, "mine"],
    "the restored copy went on alone",
  );
});

t.test("blank copies are filled whole, and two of them know nothing", async (t) => {
  const blank: Lineage = { ...copy(at("")), consistency: "blank" };
  t.same(tell(blank, copy(at("A"))), ["iAmAncestor", true, null]);
  t.same(tell(copy(at("A")), blank), ["theyAreAncestor", true, null]);
  t.same(tell(blank, blank), ["unrelated", true, null]);
});

t.test("the history is bounded, and the relation is the same seen from either side", async (t) => {
  let generations = at("g0");
  for (let index = 1; index < 40; index++) generations = rejoin(begin(generations, `g${index}`));
  t.equal(generations.history.length, HISTORY_LENGTH);
  const mirror = {
    equal: "equal",
    theyAreAncestor: "iAmAncestor",
    iAmAncestor: "theyAreAncestor",
    splitBrain: "splitBrain",
    unrelated: "unrelated",
  };
  const all = [at("A"), at("B", "A"), at("C", "A"), at("B", null, "A"), at("D", "B", "A"), at("Z")];
  for (const one of all) {
    for (const other of all) {
      const seen = relation(copy(one), copy(other));
      const back = relation(copy(other), copy(one));
      t.equal(back.relation, mirror[seen.relation], `${one.current} and ${other.current}`);
      t.equal(back.full, seen.full);
    }
  }
});

t.test(
  "an interrupted full copy goes on only where the source knows that very copy, and neither was restored",
  async (t) => {
    const blank = (counter: number, peerCounter: number): Lineage => ({
      ...copy(at(""), counter, peerCounter),
      consistency: "blank",
    });
    const source = (counter: number, peerCounter: number, began: boolean): Lineage => ({
      ...copy(at("A"), counter, peerCounter),
      began,
    });
    t.same(tell(source(5, 4, true), blank(4, 5)), ["theyAreAncestor", false, null]);
    t.same(tell(source(5, 4, true), blank(5, 4)), ["theyAreAncestor", false, null]);
    t.same(tell(source(5, 4, false), blank(4, 5)), ["theyAreAncestor", true, null]);
    t.same(tell(source(5, 4, true), blank(3, 5)), ["theyAreAncestor", true, null], "the target was put back");
    t.same(tell(source(5, 4, true), blank(4, 6)), ["theyAreAncestor", true, null], "the source was put back");
    t.same(tell(blank(5, 5), { ...copy(at("A")), began: true }), ["iAmAncestor", true, null]);
  },
);
