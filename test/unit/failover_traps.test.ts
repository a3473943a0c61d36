/** The traps that fall into the failover core, each with its remedy. */
import t from "tap";
import { elect, relation } from "../../core/failover/generations.ts";
import { step } from "../../core/failover/step.ts";
import { Driver, primary, primView, recordOf, secondary, secondView, viewOf } from "./failover_driver.ts";

const generations = (current: string, ...history: string[]) => ({ current, parted: null, history });

t.test("trap 1: which copy is newer is read from the generations", async (t) => {
  t.equal(relation(generations("a"), generations("a")), "equal");
  t.equal(relation(generations("a"), generations("b", "a")), "theirsNewer");
  t.equal(relation(generations("b", "a"), generations("a")), "mineNewer");
  t.equal(relation(generations("b", "a"), generations("c", "a")), "split-brain");
  t.equal(relation(generations("b"), generations("c", "a")), "unrelated");
  t.equal(relation(generations(""), generations("c")), "blank");
  const pairs = ["NONE", "SECOND", "PRIM", "ALONE"] as const;
  for (const mine of pairs)
    for (const theirs of pairs) {
      const a = elect(recordOf({ role: mine }), recordOf({ role: theirs }), "n1", "n2").winner;
      const b = elect(recordOf({ role: theirs }), recordOf({ role: mine }), "n2", "n1").winner;
      t.not(a, b, `${mine} and ${theirs}: one wins, and both nodes say the same`);
    }
});

t.test("trap 4: PRIM does not go on alone in secret", async (t) => {
  const n1 = primary();
  n1.report({ kind: "peerGone", cause: "link cut" });
  t.same(n1.since(), [], "nothing is released while SECOND is heard and has not answered");
  const asked = n1.view.outdate!;
  t.ok(asked);
  n1.hold = /^persist/;
  n1.peer(secondView({ outdatedIn: asked }));
  t.same(n1.since(), ["persist ALONE uptodate"]);
  t.notOk(n1.since().includes("goAlone"), "not before it is on disk");
  n1.release();
  t.same(n1.since(), ["goAlone", "transition PRIM ALONE"]);
  t.match(n1.state.durable, {
    generations: { current: asked, parted: "g1" },
    peerOutdatedIn: asked,
    wasPrimaryAtParting: true,
  });
});

t.test(
  "trap 4: SECOND answers durably, and can never be promoted from the moment it reads the request",
  async (t) => {
    const n2 = secondary();
    n2.hold = /^persist/;
    n2.peer(primView({ outdate: "g2" }));
    t.same(n2.since(), ["persist SECOND outdated"]);
    t.equal(n2.view.outdatedIn, null, "not said before it is durable");
    n2.lost();
    t.same(n2.since(), [], "the crash of PRIM right now promotes nobody");
    n2.hold = null;
    n2.release();
    t.equal(n2.view.outdatedIn, "g2");
    t.equal(n2.short, "WAIT NotReady");
    t.match(n2.told, { remedy: "holdfast prim db --force" });
  },
);

t.test("trap 5: a half-done reintegration is not a copy", async (t) => {
  const n2 = new Driver();
  const source = recordOf({
    role: "ALONE",
    generations: { current: "g2", parted: "g1", history: ["g1", "g0"] },
  });
  n2.boot(recordOf()).peer(viewOf("ALONE", source));
  n2.since();
  n2.hold = /^persist/;
  n2.report({ kind: "reintegrating", side: "target", full: false });
  t.same(n2.since(), ["persist SECOND inconsistent"], "the data path waits");
  n2.hold = null;
  n2.release();
  t.same(n2.since(), ["proceed after reintegrating"]);
  n2.lost();
  t.equal(n2.short, "WAIT NotReady");
  n2.command({ name: "prim", force: false });
  t.match(n2.answers.at(-1), { ok: false, message: /half old, half new.*prim db --force/ });
  const rebooted = new Driver().boot(n2.state.durable).lost();
  t.equal(rebooted.short, "WAIT NotReady");
  rebooted.command({ name: "prim", force: true });
  t.equal(rebooted.short, "ALONE Ready");
  t.same(rebooted.state.durable.generations.history, [], "nobody may be reintegrated from it by differences");
});

t.test("trap 5: a target counts only once the source is durably PRIM", async (t) => {
  const n2 = new Driver();
  const alone = recordOf({
    role: "ALONE",
    generations: { current: "g2", parted: "g1", history: ["g1", "g0"] },
  });
  n2.boot(recordOf())
    .peer(viewOf("ALONE", alone))
    .report({ kind: "reintegrating", side: "target", full: false });
  n2.since();
  n2.report({ kind: "caughtUp", side: "target", generations: alone.generations });
  t.same(n2.since(), []);
  t.equal(n2.view.caughtUp, "g2");
  n2.peer(viewOf("ALONE", { ...alone, role: "PRIM" }));
  t.same(n2.since(), ["persist SECOND uptodate", "proceed after caughtUp"]);
  t.match(n2.state.durable.generations, { current: "g2", parted: null });
});

t.test(
  "trap 15, 15a: who sees a higher generation running fences itself at once, without hooks",
  async (t) => {
    const n1 = primary();
    const newer = recordOf({
      role: "ALONE",
      generations: { current: "g9", parted: "g1", history: ["g1", "g0"] },
    });
    n1.peer(viewOf("ALONE", newer));
    t.same(n1.since().slice(0, 2), ["fence", "address down"]);
    t.equal(n1.state.state, "SECOND", "and then it follows");
  },
);

t.test("trap 15a: outdate and promote race: the one that is durable first wins", async (t) => {
  const n2 = secondary();
  n2.hold = /^persist/;
  n2.lost();
  t.same(n2.since(), ["persist ALONE uptodate"]);
  n2.peer(primView({ outdate: "g2" }));
  t.equal(n2.view.outdatedIn, null, "a node past its decision does not consent");
  n2.hold = null;
  n2.release();
  t.equal(n2.state.state, "ALONE");
  const n1 = primary();
  n1.report({ kind: "peerGone", cause: "sealed" });
  n1.since();
  n1.peer(n2.view);
  t.equal(n1.since()[0], "fence", "the old primary never goes alone");
});

t.test("trap 18: alive and useless: heartbeats flow, the stream does not", async (t) => {
  const n1 = primary();
  n1.report({ kind: "peerGone", cause: "no answer" });
  t.ok(n1.view.outdate);
  n1.timer("outdate");
  t.ok(
    n1.since().includes("goAlone"),
    "a peer that is heard and never answers does not freeze the application for ever",
  );
});

t.test("going alone does not wait for a start hook that waits for an fsync", async (t) => {
  const n1 = secondary();
  n1.hold = /start_prim/;
  n1.offered({ id: "x", phase: "drained" });
  n1.since();
  n1.lost();
  t.same(n1.since(), ["persist ALONE uptodate", "goAlone"]);
});

t.test("trap 19: every prefix of a transition leads to a correct state at the next start", async (t) => {
  const lives: [string, (n: Driver) => void, () => Driver][] = [
    ["takeover", (n) => n.lost(), () => secondary()],
    ["swap out", (n) => n.command({ name: "swap" }), () => primary()],
    ["swap in", (n) => n.offered({ id: "x", phase: "drained" }), () => secondary()],
    ["stop", (n) => n.command({ name: "stop" }), () => primary()],
  ];
  for (const [name, act, make] of lives)
    for (let prefix = 0; prefix < 9; prefix++) {
      const n = make();
      let left = prefix;
      n.hold = { test: () => left-- <= 0 } as unknown as RegExp;
      act(n);
      for (const record of [n.state.durable, n.state.record]) {
        const next = new Driver().boot({ ...record, running: true }).lost();
        const may = record.role === "ALONE";
        t.equal(
          next.state.state,
          may ? "ALONE" : "WAIT",
          `${name}, ${prefix} effects, ${record.role}: alone only where it was ALONE`,
        );
      }
    }
});

t.test("trap 20: a cold start alone", async (t) => {
  const cold = (record: Parameters<typeof recordOf>[0], config = {}) =>
    new Driver(config).boot(recordOf(record)).lost();
  t.equal(cold({ role: "ALONE" }).short, "ALONE Ready");
  t.equal(cold({ role: "PRIM" }).short, "WAIT NotReady");
  t.equal(cold({ role: "SECOND" }).short, "WAIT NotReady");
  t.equal(cold({ role: "ALONE", consistency: "outdated" }).short, "WAIT NotReady");
  t.equal(cold({ role: "ALONE" }, { onIsolation: "wait" }).short, "WAIT NotReady");
  t.equal(cold({ role: "ALONE", peerOutdatedIn: "g1" }, { onIsolation: "wait" }).short, "ALONE Ready");
  t.match(cold({ role: "PRIM" }).told, { remedy: "holdfast prim db", reason: /n2 may have gone further/ });
  t.match(cold({ consistency: "outdated" }).told, { remedy: "holdfast prim db --force" });
});

t.test(
  "trap 20: both boot: former roles, and nobody starts before the other consented durably",
  async (t) => {
    const n1 = new Driver().boot(recordOf({ role: "PRIM" })).peer(viewOf("WAIT", recordOf()));
    t.equal(n1.short, "WAIT Transient");
    t.ok(n1.view.outdate);
    n1.peer(viewOf("WAIT", recordOf({ consistency: "outdated" }), { outdatedIn: n1.view.outdate }));
    t.equal(n1.short, "ALONE Ready");
    const n2 = new Driver().boot(recordOf()).peer(viewOf("WAIT", recordOf({ role: "PRIM" })));
    t.equal(n2.view.outdate, null, "the former secondary does not ask");
    const newer = new Driver()
      .boot(recordOf())
      .peer(viewOf("STOP", recordOf({ role: "ALONE", generations: generations("g7", "g1") })));
    t.match(newer.told, { remedy: "holdfast start db --node n2" });
  },
);

t.test("trap 12a: a restored snapshot is not taken for good", async (t) => {
  const restored = new Driver().boot(recordOf({ role: "PRIM", counter: 3 }));
  restored.peer(viewOf("WAIT", recordOf({ peerCounter: 9 })));
  t.equal(
    restored.view.outdate,
    null,
    "it was primary, but its peer remembers more of it than it does itself",
  );
});

t.test("trap 12a: nor when nothing but durable points passed since the snapshot", async (t) => {
  const kept = { id: "disk of n1", counter: 40, peer: { id: "disk of n2", counter: 40 } };
  const peer = (remembered: { id: string; counter: number }) =>
    viewOf("WAIT", recordOf(), { copy: { id: "disk of n2", counter: 90, peer: remembered } });
  const started = (remembered: { id: string; counter: number }) =>
    new Driver()
      .boot(recordOf({ role: "PRIM" }))
      .tell({ type: "copy", word: kept })
      .peer(peer(remembered));
  t.ok(
    started({ id: "disk of n1", counter: 40 }).view.outdate,
    "equal copies: the former primary goes first",
  );
  const restored = started({ id: "disk of n1", counter: 90 });
  t.equal(restored.view.outdate, null, "its peer remembers a later point of it");
  t.match(restored.told.reason, /put back to an older state/);
  t.equal(started({ id: "another disk", counter: 10 }).view.outdate, null, "its peer knew another copy here");
  restored.command({ name: "prim", force: false });
  t.match(restored.answers.at(-1), { ok: false, message: /older state.*prim db --force/ });
  const n2 = new Driver({ node: "n2", peer: "n1" }).boot(recordOf());
  n2.tell({ type: "copy", word: { id: "disk of n2", counter: 90, peer: { id: "disk of n1", counter: 90 } } });
  n2.peer(viewOf("WAIT", recordOf({ role: "PRIM" }), { copy: kept }));
  t.ok(n2.view.outdate, "the other node goes first, though it was secondary");
});

t.test(
  "trap 12a: what the only primary had is gone: the command that helps names the node that still has a copy",
  async (t) => {
    const alone = recordOf({ role: "ALONE", generations: { current: "g2", parted: "g1", history: ["g1"] } });
    const kept = { id: "disk of n2", counter: 90, peer: { id: "disk of n1", counter: 90 } };
    const empty = { id: "another disk", counter: 0, peer: null };
    const n1 = new Driver().boot(alone).tell({ type: "copy", word: empty });
    n1.peer(viewOf("WAIT", recordOf(), { copy: kept }));
    t.match(n1.told, { state: "WAIT", remedy: "holdfast prim db --force --node n2" });
    const n2 = new Driver({ node: "n2", peer: "n1" }).boot(recordOf()).tell({ type: "copy", word: kept });
    n2.peer(viewOf("WAIT", alone, { copy: empty }));
    t.match(n2.told, { state: "WAIT", remedy: "holdfast prim db --force" });
  },
);

t.test("trap 19: a target's word to a primary that has started again since means nothing", async (t) => {
  const alone = recordOf({ role: "ALONE", generations: { current: "g1", parted: "g0", history: ["g0"] } });
  const n1 = new Driver().boot(alone).lost();
  t.equal(n1.short, "ALONE Ready", "it starts without its peer: it was alone before");
  n1.since();
  n1.peer(viewOf("SECOND", recordOf({ consistency: "inconsistent" }), { caughtUp: "g1" }));
  t.same(n1.since(), [], "n2 stood still since it had everything of the former process, and says so now");
  t.equal(n1.state.record.role, "ALONE");
});

t.test("trap 24: the flapping node comes to rest, with the reason", async (t) => {
  const n1 = primary();
  for (let times = 0; times < 3; times++) n1.command({ name: "restart" }, "rule");
  t.equal(n1.short, "PRIM Ready");
  n1.command({ name: "restart" }, "rule");
  t.equal(n1.short, "STOP NotReady");
  t.match(n1.told.reason, /maxLoop/);
  const human = primary();
  for (let times = 0; times < 3; times++) human.command({ name: "restart" }, "rule");
  human.command({ name: "restart" });
  human.command({ name: "restart" }, "rule");
  t.equal(human.short, "PRIM Ready", "a person's command begins the count anew");
});

t.test("step is pure: it changes nothing that it was given", async (t) => {
  const n1 = primary();
  const before = JSON.stringify(n1.state);
  step(n1.state, { type: "peerLost", cause: "x", now: 1, wall: 1 });
  t.equal(JSON.stringify(n1.state), before);
});

t.test(
  "a takeover that is given up once it is on record acknowledges no more of the old primary's stream",
  async (t) => {
    const alone = (current: string) =>
      ({ role: "ALONE", generations: generations(current, "g1", "g0") }) as const;
    const split = secondary();
    split.hold = /^persist/;
    split.lost();
    t.same(split.since(), ["persist ALONE uptodate"]);
    split.hold = /^stop_second/;
    split.peer(viewOf("ALONE", recordOf({ ...alone("theirs"), wasPrimaryAtParting: true })));
    split.release();
    t.same(split.since(), ["sealStream", "stop_second"], "sealed before the hooks, which may take minutes");
    split.hold = null;
    split.release();
    t.same(split.since().slice(0, 3), ["stop_both", "stopReplication", "transition SECOND WAIT"]);

    const stopped = secondary();
    stopped.hold = /^persist/;
    stopped.lost().command({ name: "stop" });
    stopped.since();
    stopped.hold = null;
    stopped.release();
    t.same(
      stopped.since().slice(0, 2),
      ["sealStream", "stop_second"],
      "the same when a person stops it meanwhile",
    );
  },
);

t.test(
  "the data path hears that it is alone only when it serves: a swap that is taken back while the peer goes",
  async (t) => {
    const n1 = primary();
    n1.hold = /^stop_prim/;
    n1.command({ name: "swap" });
    n1.report({ kind: "peerGone", cause: "link cut" });
    n1.hold = /^serve/;
    n1.release();
    t.equal(n1.since().at(-1), "serve");
    n1.peer(secondView({ outdatedIn: n1.view.outdate }));
    t.same(n1.since(), ["persist ALONE uptodate"]);
    n1.hold = null;
    n1.release();
    t.ok(n1.since().includes("goAlone"));
  },
);
