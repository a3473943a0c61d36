/** Power fencing, case by case: no takeover without a hook that succeeded, nobody's power cut in vain, and what a person may do about it. */
import t from "tap";
import type { FailoverConfig, WitnessWord } from "../../core/failover/types.ts";
import { Driver, primView, recordOf, secondary, viewOf } from "./failover_driver.ts";

const FENCES: Partial<FailoverConfig> = { fences: true };
const PROMOTION = /persist ALONE/;
const isPromoted = (acts: readonly string[]): boolean => acts.some((act) => PROMOTION.test(act));

t.test("a secondary takes over once the power of its silent primary is cut, and not before", async (t) => {
  const n1 = secondary(FENCES);
  n1.hold = /^fence$/;
  n1.lost();
  t.same(n1.since(), ["fence"]);
  t.match(n1.told, {
    state: "SECOND",
    readiness: "Transient",
    reason: /the power of n2 is cut before n1 begins/,
  });
  n1.timer("anything");
  t.same(n1.since(), [], "it is run once");
  n1.release();
  t.match(n1.since()[0], PROMOTION);
  t.equal(n1.told.state, "ALONE");
});

t.test(
  "a hook that fails: no takeover, said aloud, tried again after a pause, until it succeeds",
  async (t) => {
    const n1 = secondary(FENCES);
    n1.fail = /^fence$/;
    n1.lost();
    for (const attempt of [1, 2, 3]) {
      t.same(n1.since(), ["fence"], `attempt ${attempt}`);
      t.match(n1.told, { state: "SECOND", readiness: "NotReady", remedy: "holdfast prim db --force" });
      t.match(
        n1.told.reason,
        /fence failed on n1: failed by the test: n1 does NOT take over.*tried again in 10 s/,
      );
      t.equal(n1.shouts.length, attempt);
      n1.resource("heartbeat.lan", "down").timer("anything");
      t.same(n1.since(), [], "nothing before the pause is over");
      if (attempt === 3) n1.fail = null;
      n1.timer("fence again");
    }
    t.ok(isPromoted(n1.since()));
    t.equal(n1.told.state, "ALONE");
  },
);

t.test("a person overrides a hook that fails, and no other secondary is promoted like that", async (t) => {
  const n1 = secondary(FENCES);
  n1.command({ name: "prim", force: true });
  t.match(n1.answers.pop(), { ok: false, message: /this node is SECOND/ });
  n1.fail = /^fence$/;
  n1.lost().since();
  n1.command({ name: "prim", force: false });
  t.match(n1.answers.pop(), { ok: false, message: /this node is SECOND/ });
  n1.command({ name: "prim", force: true });
  const acts = n1.since();
  t.notOk(acts.includes("fence"), "it is not asked again");
  t.match(n1.told, { state: "ALONE", reason: "started as primary by command" });
  t.match(n1.answers.pop(), { ok: true });
});

t.test("the primary is heard while its power is cut: what the hook did counts for nothing", async (t) => {
  const n1 = secondary(FENCES);
  n1.hold = /^fence$/;
  n1.lost().since();
  n1.peer(primView());
  n1.lost();
  n1.release();
  t.same(n1.since(), ["fence"], "once more");
  n1.release();
  t.ok(isPromoted(n1.since()));
});

t.test("a primary that says that it stopped, or agrees, keeps its power", async (t) => {
  const n1 = secondary(FENCES);
  n1.peer(viewOf("STOP", recordOf({ role: "PRIM" }), { leaving: true }));
  const acts = n1.since();
  t.ok(isPromoted(acts));
  t.notOk(acts.includes("fence"));
  const n2 = secondary(FENCES);
  n2.fail = /^fence$/;
  n2.lost().since();
  n2.peer(primView());
  n2.peer(viewOf("STOP", recordOf({ role: "PRIM" }), { leaving: true }));
  t.ok(isPromoted(n2.since()), "nor does a hook that failed before stand in the way");
});

t.test(
  "nobody's power is cut in vain: not where the copy, the module or the witness forbids the takeover",
  async (t) => {
    const forbidden: [string, Driver][] = [
      ["manual", secondary({ ...FENCES, failover: "manual" })],
      ["wait", secondary({ ...FENCES, onIsolation: "wait" })],
      ["maintenance", secondary({ ...FENCES, maintenance: true })],
      ["outdated", secondary(FENCES).peer(primView({ outdate: "g2" }))],
    ];
    for (const [why, n1] of forbidden) {
      n1.lost();
      t.notOk(n1.since().includes("fence"), why);
      t.equal(n1.told.state, "WAIT", why);
    }
    const n1 = secondary({ ...FENCES, witness: { records: true, leaseMs: 1000 } });
    const word = (version: string, sole: string | null): WitnessWord => ({ version, sole, generation: "g1" });
    n1.state = { ...n1.state, record: { ...n1.state.record, witness: "v7" } };
    n1.witness({ kind: "record", word: word("v7", null) });
    n1.lost().witness({ kind: "granted", sentAt: n1.now });
    n1.witness({ kind: "changed", word: word("v8", "n2") });
    t.notOk(n1.since().includes("fence"), "the primary goes on, and rightly so");
  },
);

t.test("after the hook, the witness is asked again: its lease may be over", async (t) => {
  const n1 = secondary({ ...FENCES, witness: { records: true, leaseMs: 1000 } });
  const word = (version: string, sole: string | null): WitnessWord => ({ version, sole, generation: "g1" });
  n1.state = { ...n1.state, record: { ...n1.state.record, witness: "v7" } };
  n1.witness({ kind: "record", word: word("v7", null) });
  n1.hold = /^fence$/;
  n1.lost()
    .witness({ kind: "granted", sentAt: n1.now })
    .witness({ kind: "recorded", word: word("v8", "n1") });
  t.equal(n1.since().at(-1), "fence");
  n1.now += 20_000;
  n1.release();
  t.ok(n1.since().includes("askLease"));
  t.equal(n1.told.state, "SECOND");
  while (n1.asked.length > 1) n1.witness({ kind: "unknown", why: "no answer" });
  n1.now += 1000;
  n1.timer("witness");
  t.notOk(isPromoted(n1.since()));
});

t.test("a start without the other node cuts its power too, but by force", async (t) => {
  const n1 = new Driver(FENCES);
  n1.hold = /^fence$/;
  n1.boot(recordOf({ role: "ALONE" })).lost();
  t.equal(n1.since().at(-1), "fence");
  t.equal(n1.told.state, "WAIT");
  n1.release();
  t.equal(n1.told.state, "ALONE");
  const n2 = new Driver(FENCES);
  n2.boot(recordOf({ role: "SECOND" })).lost();
  n2.since();
  n2.command({ name: "prim", force: true });
  t.notOk(n2.since().includes("fence"));
  t.equal(n2.told.state, "ALONE");
});

t.test("a person asks for the start, and the hook fails: the answer says so", async (t) => {
  const n1 = new Driver(FENCES);
  n1.fail = /^fence$/;
  n1.boot(recordOf({ role: "SECOND" })).lost();
  n1.command({ name: "prim", force: false });
  t.match(n1.answers, [{ ok: false, message: /does NOT take over/ }]);
  t.match(n1.told, { state: "WAIT", remedy: "holdfast prim db --force" });
});
