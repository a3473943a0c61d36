/** The order of scripts and of what surrounds them, transition by transition; what a failing hook leads to. */
import t from "tap";
import {
  Driver,
  primary,
  primView,
  recordOf,
  reintegrated,
  secondary,
  secondView,
  viewOf,
} from "./failover_driver.ts";

t.test("first start ever: both wait until somebody says prim", async (t) => {
  const n1 = new Driver();
  n1.boot({
    ...recordOf(),
    consistency: "blank",
    role: "NONE",
    generations: { current: "", parted: null, history: [] },
  });
  const blank = n1.state.record;
  t.same(n1.since(), ["persist NONE blank", "transition STOP WAIT", "prestart"]);
  n1.peer(viewOf("WAIT", blank));
  t.equal(n1.short, "WAIT NotReady");
  t.match(n1.told, { remedy: "holdfast prim db", reason: /neither node has held the data/ });
  n1.command({ name: "prim", force: false });
  t.same(n1.since(), [], "the peer must first record that it goes second");
  n1.peer(viewOf("WAIT", blank, { outdatedIn: n1.view.outdate }));
  t.same(n1.since(), [
    "persist ALONE uptodate",
    "transition WAIT ALONE",
    "serve alone",
    "address up",
    "start_both",
    "start_prim",
  ]);
  t.equal(n1.short, "ALONE Ready");
  t.match(n1.answers, [{ ok: true }]);
});

t.test(
  "prim, typed while the node boots: answered when it is primary, and it stops for good later",
  async (t) => {
    const n1 = new Driver();
    n1.hold = /^persist/;
    n1.boot(recordOf());
    n1.command({ name: "prim", force: true });
    n1.hold = null;
    n1.release();
    t.equal(n1.told.state, "WAIT");
    t.same(n1.answers, [], "not while the peer is looked for");
    n1.lost();
    t.equal(n1.short, "ALONE Ready");
    t.match(n1.answers, [{ ok: true }]);
    n1.command({ name: "stop" });
    t.equal(n1.told.state, "STOP");
  },
);

t.test("SECOND takes over: decided durably, stream sealed, then the rest", async (t) => {
  const n1 = secondary();
  n1.lost();
  t.same(n1.since(), [
    "persist ALONE uptodate",
    "sealStream",
    "stop_second",
    "transition SECOND ALONE",
    "serve alone",
    "address up",
    "start_prim",
  ]);
  t.not(n1.state.record.generations.current, "g1", "a new generation");
  t.equal(n1.state.record.generations.parted, "g1");
});

t.test("a clean stop of PRIM says goodbye after the clean role is durable", async (t) => {
  const n1 = primary();
  n1.hold = /^persist/;
  n1.command({ name: "stop" });
  t.same(n1.since(), ["stop_prim", "stop_both", "address down", "stopReplication", "persist PRIM uptodate"]);
  t.notOk(n1.view.leaving);
  n1.hold = /poststop/;
  n1.release();
  t.ok(n1.view.leaving, "before poststop: the peer may take over at once");
  n1.release();
  t.same(n1.since(), ["transition PRIM WAIT", "poststop", "transition WAIT STOP"]);
  t.equal(n1.short, "STOP NotReady");
  t.notOk(n1.state.durable.running);
  const n2 = secondary();
  n2.peer(primView({ state: "WAIT", leaving: true }));
  t.equal(n2.short, "ALONE Ready", "no timeout is waited for");
});

t.test("both stop: the secondary that is gone first does not become the reason", async (t) => {
  const n1 = primary();
  n1.hold = /^stop_prim/;
  n1.command({ name: "stop" });
  n1.report({ kind: "peerGone", cause: "the peer closed the connection" });
  n1.lost();
  n1.hold = null;
  n1.release();
  t.ok(n1.since().includes("goAlone"), "though it went alone on the way");
  t.match(n1.told, { state: "STOP", reason: "stopped (test)" });
});

t.test("SECOND stops", async (t) => {
  const n1 = secondary();
  n1.command({ name: "stop" });
  t.same(n1.since(), [
    "stop_second",
    "stop_both",
    "stopReplication",
    "persist SECOND uptodate",
    "transition SECOND WAIT",
    "poststop",
    "transition WAIT STOP",
  ]);
});

t.test("restart runs hooks only, in each role", async (t) => {
  const prim = primary();
  prim.command({ name: "restart" });
  t.same(prim.since(), ["stop_prim", "stop_both", "start_both", "start_prim"]);
  const second = secondary();
  second.command({ name: "restart" });
  t.same(second.since(), ["stop_second", "stop_both", "start_both", "start_second"]);
});

t.test("a restart whose stop fails starts nothing on what the kill has unmounted", async (t) => {
  for (const n1 of [primary(), secondary()]) {
    const role = n1.told.state === "PRIM" ? "prim" : "second";
    n1.fail = new RegExp(`^stop_${role}`);
    n1.command({ name: "restart" });
    const acts = n1.since();
    t.same(acts.slice(0, 3), [`stop_${role}`, `stop_${role} force`, "fence"]);
    t.ok(acts.includes("prestart"), "it begins again");
    const start = acts.findIndex((act) => act.startsWith("start_"));
    const mounted = acts.findIndex((act) => act.startsWith("serve") || act.startsWith("follow"));
    t.ok(start < 0 || (mounted >= 0 && mounted < start), acts.join(", "));
  }
});

t.test("stopstart on PRIM fails over and comes back to follow", async (t) => {
  const n1 = primary();
  n1.command({ name: "stopstart" });
  t.equal(n1.state.state, "WAIT");
  t.ok(n1.state.durable.running);
  const newer = recordOf({
    role: "ALONE",
    generations: { current: "g2", parted: "g1", history: ["g1", "g0"] },
  });
  n1.since();
  n1.peer(viewOf("ALONE", newer));
  t.equal(n1.state.state, "SECOND");
  t.ok(n1.since().includes("follow"));
});

t.test("trap 21: the stop that does not stop: force, then the application is killed", async (t) => {
  const n1 = primary();
  n1.fail = /^stop_prim/;
  n1.command({ name: "stop" });
  t.same(n1.since().slice(0, 5), ["stop_prim", "stop_prim force", "fence", "stop_both", "address down"]);
  t.equal(n1.short, "STOP NotReady");
});

t.test("a drain that fails ends in a fence, once", async (t) => {
  const n1 = primary();
  n1.fail = /stopReplication|fence/;
  n1.command({ name: "stop" });
  t.same(
    n1.since().filter((act) => act === "fence"),
    ["fence"],
  );
  t.equal(n1.short, "STOP NotReady");
});

t.test("forcestop abandons what hangs", async (t) => {
  const n1 = primary();
  n1.hold = /^stop_prim/;
  n1.command({ name: "stop" });
  n1.hold = null;
  n1.since();
  n1.command({ name: "forcestop" });
  t.same(n1.since(), [
    "fence",
    "address down",
    "stopReplication",
    "persist PRIM uptodate",
    "transition PRIM WAIT",
    "poststop",
    "transition WAIT STOP",
  ]);
  n1.release();
  t.same(n1.since(), [], "the hook's late result changes nothing");
});

t.test("forcestop: that fencing kills the replication process is no news", async (t) => {
  const n1 = primary();
  n1.hold = /^fence/;
  n1.command({ name: "forcestop" });
  n1.report({ kind: "died", detail: "killed" });
  n1.hold = null;
  n1.since();
  n1.release();
  t.same(n1.since(), [
    "address down",
    "stopReplication",
    "persist PRIM uptodate",
    "transition PRIM WAIT",
    "poststop",
    "transition WAIT STOP",
  ]);
});

t.test("a start hook that fails stops the module, and the peer may take over", async (t) => {
  const n1 = primary();
  n1.fail = /start_prim/;
  n1.command({ name: "restart" });
  t.equal(n1.short, "STOP NotReady");
  t.match(n1.told, { reason: /start_prim failed on n1: failed by the test/, remedy: "holdfast start db" });
  t.ok(n1.view.leaving);
  t.match(n1.answers.at(-1), { ok: false });
});

t.test("swap, asked on the primary", async (t) => {
  const n1 = primary();
  n1.command({ name: "swap" });
  t.same(n1.since(), [
    "stop_prim",
    "address down",
    "stopReplication",
    "persist SECOND uptodate",
    "transition PRIM SECOND",
    "start_second",
  ]);
  t.same(n1.view.swap?.phase, "drained");
  t.same(n1.answers, [], "answered when the other has started");
  const swapped = viewOf("PRIM", recordOf({ role: "PRIM" }), {
    swap: { id: n1.view.swap!.id, phase: "stopping" },
  });
  n1.peer(swapped);
  t.same(n1.since(), ["follow"]);
  n1.report({ kind: "inSync" }).peer({ ...swapped, swap: { id: swapped.swap!.id, phase: "promoted" } });
  t.equal(n1.short, "SECOND Ready");
  t.match(n1.answers, [{ ok: true }]);
});

t.test("swap, as the new primary", async (t) => {
  const n1 = secondary();
  n1.peer(primView({ swap: { id: "x", phase: "stopping" } }));
  t.same(n1.since(), []);
  n1.offered({ id: "x", phase: "drained" });
  t.same(n1.since(), [
    "persist PRIM uptodate",
    "sealStream",
    "stop_second",
    "transition SECOND PRIM",
    "serve",
    "address up",
    "start_prim",
  ]);
  t.equal(n1.state.record.generations.current, "g1", "the same generation: nothing is acknowledged alone");
});

t.test("swap: an offer that waited for longer than its sender does counts no more", async (t) => {
  const n1 = secondary();
  n1.now = 900;
  n1.peer(secondView({ swap: { id: "x", phase: "drained" } }));
  t.same(n1.since(), [], "who knows when it was said");
  n1.tell({ type: "promised", since: 150 });
  t.same(n1.since(), [], "n2 takes over before n1 would be primary");
  n1.tell({ type: "promised", since: 800 });
  t.ok(n1.since().includes("start_prim"), "it has just heard n1");

  const n2 = primary();
  n2.command({ name: "swap" });
  const { id } = n2.view.swap!;
  n2.since();
  n2.now = 5000;
  n2.peer(secondView({ swap: { id, phase: "failed" } }));
  t.same(n2.since(), [], "nor does the role that was given back");
  n2.offered({ id, phase: "failed" });
  t.ok(n2.since().includes("start_prim"));
});

t.test("swap: the new primary cannot start, the old one gets the role back", async (t) => {
  const n2 = secondary();
  n2.fail = /start_prim/;
  n2.offered({ id: "x", phase: "drained" });
  t.equal(n2.state.state, "SECOND");
  t.same(n2.view.swap, { id: "x", phase: "failed" });
  t.equal(n2.state.durable.role, "SECOND");
  const n1 = primary();
  n1.command({ name: "swap" });
  const { id } = n1.view.swap!;
  n1.peer(viewOf("PRIM", recordOf({ role: "PRIM" }), { swap: { id, phase: "stopping" } }));
  n1.since();
  n1.offered({ id, phase: "failed" });
  t.ok(n1.since().includes("start_prim"));
  t.equal(n1.state.state, "PRIM");
  t.match(n1.answers, [{ ok: false, message: /n2 could not take the role/ }]);
});

t.test("swap: the secondary dies while the primary stops: the primary takes back what it had", async (t) => {
  const n1 = primary();
  n1.hold = /stop_prim/;
  n1.command({ name: "swap" });
  n1.hold = null;
  n1.lost();
  n1.release();
  t.equal(n1.short, "ALONE Ready");
  t.ok(n1.since().includes("start_prim"));
  t.match(n1.answers, [{ ok: false, message: /could not be finished/ }]);
});

t.test("failback swaps once, after a reintegration", async (t) => {
  const n1 = reintegrated({ failback: "n2" });
  t.equal(n1.view.swap?.phase, "drained");
  const other = reintegrated({ failback: "n1" });
  t.equal(other.short, "PRIM Ready");
});

t.test(
  "failback does not undo a swap by hand, though the node that it went from had something to fetch",
  async (t) => {
    const n1 = secondary({ failback: "n2" });
    n1.offered({ id: "x", phase: "drained" });
    n1.report({ kind: "caughtUp", side: "source", generations: n1.state.record.generations });
    n1.report({ kind: "inSync" });
    n1.peer(secondView());
    t.equal(n1.short, "PRIM Ready");
    t.equal(n1.view.swap, null);
  },
);

t.test("light: start_both, stop_both, restart in between", async (t) => {
  const n1 = new Driver({ kind: "light", peer: null, replicated: false, virtualIp: false });
  n1.boot(recordOf());
  t.same(n1.since().slice(1), ["transition STOP WAIT", "prestart", "transition WAIT UP", "start_both"]);
  t.equal(n1.short, "UP Ready");
  n1.command({ name: "restart" });
  t.same(n1.since(), ["stop_both", "start_both"]);
  n1.command({ name: "stop" });
  t.same(n1.since().slice(0, 1), ["stop_both"]);
  t.equal(n1.short, "STOP NotReady");
});

t.test("a mirror without replicated directories lives the same life", async (t) => {
  const n1 = new Driver({ replicated: false });
  const alone = recordOf({ role: "ALONE", generations: { current: "g2", parted: "g1", history: ["g1"] } });
  n1.boot(recordOf()).peer(viewOf("ALONE", alone));
  t.equal(n1.view.caughtUp, "g2");
  n1.peer(viewOf("ALONE", { ...alone, role: "PRIM" }));
  t.equal(n1.short, "SECOND Ready");
  n1.lost();
  t.equal(n1.short, "ALONE Ready");
  t.notOk(n1.since().some((act) => /serve|follow|seal|goAlone/.test(act)));
});
