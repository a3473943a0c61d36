/** Modules without roles: a light one, and one node of a farm. */
import t from "tap";
import { Driver, recordOf } from "./failover_driver.ts";

const START = ["transition STOP WAIT", "prestart", "transition WAIT UP", "start_both"];
const STOP = ["stop_both", "transition UP WAIT", "poststop", "transition WAIT STOP"];

function node(kind: "farm" | "light", more = {}): Driver {
  return new Driver({ kind, peer: null, replicated: false, virtualIp: false, ...more });
}

/** One that runs. */
function up(kind: "farm" | "light"): Driver {
  const driver = node(kind).boot(recordOf({ role: "NONE", consistency: "blank" }));
  driver.since();
  return driver;
}

/** Everything but the record's writes. */
const seen = (driver: Driver): string[] => driver.since().filter((act) => !act.startsWith("persist"));

for (const kind of ["farm", "light"] as const) {
  t.test(`${kind}: from start to stop`, async (t) => {
    const n1 = node(kind).boot(recordOf({ running: false }));
    t.equal(n1.short, "STOP NotReady");
    n1.command({ name: "start" });
    t.same(seen(n1), START);
    t.match(n1.told, { state: "UP", readiness: "Ready", upToDate: null, reason: "runs" });
    t.equal(n1.records.at(-1)?.running, true);
    n1.command({ name: "restart" });
    t.same(seen(n1), ["stop_both", "start_both"]);
    n1.command({ name: "stopstart" });
    t.same(seen(n1), [...STOP, ...START]);
    n1.command({ name: "stop" });
    t.same(seen(n1), STOP);
    t.equal(n1.records.at(-1)?.running, false);
    t.equal(n1.short, "STOP NotReady");
    t.ok(n1.answers.every(({ ok }) => ok));
  });

  t.test(`${kind}: Transient while its hooks run, and forcestop ends them`, async (t) => {
    const n1 = node(kind);
    n1.hold = /start_both/;
    n1.boot(recordOf());
    t.equal(n1.short, "UP Transient");
    n1.hold = null;
    n1.since();
    n1.command({ name: "forcestop" });
    n1.release(false);
    t.equal(seen(n1)[0], "fence");
    t.equal(n1.short, "STOP NotReady");
  });

  t.test(`${kind}: a start that fails ends in STOP, with the reason and what to type`, async (t) => {
    const n1 = node(kind);
    n1.fail = /start_both/;
    n1.boot(recordOf());
    t.same(seen(n1), [...START, ...STOP]);
    t.match(n1.told, { state: "STOP", reason: /start_both failed on n1/, remedy: "holdfast start db" });
    n1.fail = null;
    n1.command({ name: "start" });
    t.equal(n1.short, "UP Ready");
  });

  t.test(`${kind}: a restart that fails stops it`, async (t) => {
    const n1 = up(kind);
    n1.fail = /start_both/;
    n1.command({ name: "restart" });
    t.same(seen(n1), ["stop_both", "start_both", ...STOP]);
    t.match(n1.answers, [{ ok: false, message: /start_both failed/ }]);
  });

  t.test(`${kind}: a stop hook that fails is called with force, then all is killed`, async (t) => {
    const n1 = up(kind);
    n1.fail = /stop_both/;
    n1.command({ name: "stop" });
    t.same(seen(n1), ["stop_both", "stop_both force", "fence", ...STOP.slice(1)]);
    t.equal(n1.short, "STOP NotReady");
  });

  t.test(`${kind}: what the guardian fenced starts again`, async (t) => {
    const n1 = up(kind);
    n1.tell({ type: "fenced", cause: "the daemon did not run" });
    t.same(seen(n1), ["fence", "transition UP WAIT", "prestart", "transition WAIT UP", "start_both"]);
    t.equal(n1.short, "UP Ready");
  });

  t.test(`${kind}: a daemon that is back adopts what runs`, async (t) => {
    const n1 = node(kind);
    const adopt = { state: "UP", inSync: false } as const;
    n1.tell({ type: "boot", record: recordOf(), start: false, incarnation: "me", adopt });
    t.same(n1.since(), []);
    t.equal(n1.short, "UP Ready");
    n1.command({ name: "stop" });
    t.same(seen(n1), STOP);
  });

  t.test(`${kind}: no roles`, async (t) => {
    const n1 = up(kind);
    n1.command({ name: "prim", force: true });
    n1.command({ name: "second", full: false });
    n1.command({ name: "swap" });
    t.match(
      n1.answers,
      [1, 2, 3].map(() => ({ ok: false, message: `db is a ${kind}: it has no primary and no secondary` })),
    );
    t.same(n1.since(), []);
    t.equal(n1.short, "UP Ready");
  });

  t.test(`${kind}: rules restart it no more often than maxLoop says`, async (t) => {
    const n1 = node(kind, { maxLoop: { count: 2, intervalMs: 1000 } }).boot(recordOf());
    for (let i = 0; i < 2; i++) n1.command({ name: "restart" }, "rule");
    t.equal(n1.short, "UP Ready");
    n1.command({ name: "restart" }, "rule");
    t.match(n1.told, { state: "STOP", reason: /stopped by maxLoop/ });
    n1.command({ name: "start" });
    n1.command({ name: "restart" }, "rule");
    t.equal(n1.short, "UP Ready", "a person's start resets the count");
  });
}

t.test("its own address is up before the start hook, and down after the stop hook", async (t) => {
  const n1 = node("light", { virtualIp: true }).boot(recordOf());
  t.same(seen(n1).slice(-2), ["address up", "start_both"]);
  n1.command({ name: "stop" });
  t.same(seen(n1).slice(0, 2), ["stop_both", "address down"]);
});
