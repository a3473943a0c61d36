/** The failover core where two copies, or a person, decide: which copy stays after a split brain, who waits for a word, and what a command is refused for. */
import t from "tap";
import { Driver, primary, primView, recordOf, secondary, viewOf } from "./failover_driver.ts";

const generations = (current: string, ...history: string[]) => ({ current, parted: null, history });

t.test("G5: split brain: the former secondary stops, keeps its writes aside, and follows", async (t) => {
  const n2 = secondary();
  n2.lost();
  n2.since();
  const stays = recordOf({
    role: "ALONE",
    generations: { current: "h2", parted: "g1", history: ["g1", "g0"] },
    wasPrimaryAtParting: true,
  });
  n2.peer(viewOf("ALONE", stays));
  t.equal(n2.since()[0], "stop_prim");
  t.equal(n2.state.state, "SECOND");
  const n1 = primary();
  n1.lost();
  n1.since();
  n1.peer(
    viewOf(
      "ALONE",
      recordOf({ role: "ALONE", generations: { current: "h2", parted: "g1", history: ["g1", "g0"] } }),
    ),
  );
  t.same(n1.since(), []);
  t.match(n1.told, { state: "ALONE", reason: /n1 stays/ });
});

t.test("the loser's follow says sacrifice, and an interrupted one resumes without a second", async (t) => {
  const winner = recordOf({
    role: "ALONE",
    generations: { current: "h2", parted: "g1", history: ["g1", "g0"] },
    wasPrimaryAtParting: true,
  });
  const n2 = new Driver();
  n2.boot(recordOf({ role: "ALONE", generations: { current: "k2", parted: "g1", history: ["g1", "g0"] } }));
  n2.peer(viewOf("ALONE", winner));
  t.ok(n2.since().includes("follow sacrifice"));
  n2.report({ kind: "reintegrating", side: "target", full: false });
  t.match(n2.state.durable, { consistency: "inconsistent", generations: { current: "g1" } });
  const again = new Driver().boot(n2.state.durable).peer(viewOf("ALONE", winner));
  t.ok(again.since().includes("follow"));
});

t.test(
  "a full copy that a person asks for after a split brain keeps the loser's writes aside, too",
  async (t) => {
    const apart = recordOf({
      generations: { current: "k2", parted: "g1", history: ["g1", "g0"] },
      role: "ALONE",
    });
    const winner = recordOf({
      role: "ALONE",
      generations: { current: "h2", parted: "g1", history: ["g1", "g0"] },
    });
    const n2 = new Driver().boot(apart, false).peer(viewOf("ALONE", winner));
    n2.command({ name: "second", full: true });
    t.ok(n2.since().includes("follow full sacrifice"));
    const follows = new Driver().boot(apart).peer(viewOf("ALONE", winner));
    t.ok(follows.since().includes("follow sacrifice"));
    follows.command({ name: "second", full: true });
    t.ok(follows.since().includes("follow full sacrifice"), "also in the middle of keeping them");
  },
);

t.test("onIsolation: wait: PRIM goes on, SECOND waits unless PRIM said goodbye", async (t) => {
  t.equal(secondary({ onIsolation: "wait" }).lost().short, "WAIT NotReady");
  t.equal(
    secondary({ onIsolation: "wait" }).peer(primView({ state: "WAIT", leaving: true })).short,
    "ALONE Ready",
  );
  t.equal(primary({ onIsolation: "wait" }).lost().short, "ALONE Ready");
});

t.test("failover: manual: SECOND waits for a person", async (t) => {
  const n2 = secondary({ failover: "manual" }).lost();
  t.equal(n2.short, "WAIT NotReady");
  t.equal(n2.told.remedy, "holdfast prim db");
  n2.command({ name: "prim", force: false });
  t.equal(n2.short, "ALONE Ready");
});

t.test("prim is refused where data would be lost, and says what forces it", async (t) => {
  const beside = new Driver().boot(recordOf(), false).peer(primView());
  beside.command({ name: "prim", force: true });
  t.match(beside.answers.at(-1), { ok: false, message: /n2 is primary already/ });
  const outdated = new Driver().boot(recordOf({ consistency: "outdated" })).lost();
  outdated.command({ name: "prim", force: false });
  t.match(outdated.answers.at(-1), { ok: false, message: /prim db --force/ });
});

t.test("second --full copies everything over unrelated data; second needs a primary", async (t) => {
  const n2 = new Driver().boot(recordOf({ generations: generations("z") })).peer(primView());
  t.match(n2.told, { readiness: "NotReady", remedy: "holdfast second db --full" });
  n2.since();
  n2.command({ name: "second", full: true });
  t.ok(n2.since().includes("follow full"));
  const alone = new Driver().boot(recordOf()).lost();
  alone.command({ name: "second", full: false });
  t.match(alone.answers.at(-1), { ok: false, message: /nothing to follow/ });
});
