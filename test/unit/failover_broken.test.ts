/** What breaks beside a module and leaves its node alive: a disk, the replication process, the record of the role, the daemon. */
import t from "tap";
import { Driver, primary, primView, recordOf, secondary, secondView } from "./failover_driver.ts";

t.test(
  "trap 21: a primary that has stepped down does not call itself ALONE, however late its data path is",
  async (t) => {
    const n1 = primary();
    n1.hold = /^(stop_both|goAlone)$/;
    n1.report({ kind: "diskFailed", detail: "fsync: input/output error" });
    t.ok(n1.since().includes("stop_prim"), "the peer is good: it shall take over");
    n1.report({ kind: "peerGone", cause: "its disk failed as well" });
    n1.peer(secondView({ outdatedIn: n1.view.outdate }));
    n1.release();
    t.equal(n1.state.state, "WAIT");
    t.ok(n1.since().includes("address down"));
    n1.release();
    t.equal(n1.state.state, "WAIT");
  },
);

t.test(
  "the primary's disk fails: its good secondary takes over; without one it goes on and says so",
  async (t) => {
    const n1 = primary();
    n1.report({ kind: "diskFailed", detail: "EIO" });
    t.equal(n1.state.state, "WAIT");
    t.equal(n1.state.durable.consistency, "suspect");
    t.ok(n1.since().includes("stop_prim"));
    const alone = primary().lost();
    const detail = "/data/file cannot be read after byte 0: EIO; mend, restore or remove it";
    alone.report({ kind: "diskFailed", detail });
    t.equal(alone.state.state, "ALONE");
    t.match(alone.told.reason, /suspect/);
    t.match(alone.told.reason, detail, "which file, and what to do");
  },
);

t.test(
  "that a disk failed is recorded as soon as it can be, where the record could not be written then",
  async (t) => {
    const n1 = primary();
    n1.fail = /^persist/;
    n1.report({ kind: "diskFailed", detail: "EIO" });
    t.match(n1.since(), ["persist PRIM suspect", "fence"]);
    n1.fail = null;
    n1.timer("write again");
    t.equal(n1.state.durable.consistency, "suspect");
  },
);

t.test("the secondary's disk fails: it says why, waits a little, and follows again by itself", async (t) => {
  const n2 = secondary();
  n2.report({ kind: "diskFailed", detail: "ENOSPC" });
  t.same(n2.since(), ["persist SECOND suspect", "stopReplication"]);
  t.match(n2.told, { state: "SECOND", readiness: "Transient", reason: /the disk of n1 failed: ENOSPC/ });
  n2.timer("follow again");
  t.same(n2.since(), ["follow"]);
});

t.test("the secondary cannot begin to follow: it says why, and tries again by itself", async (t) => {
  const n2 = secondary();
  n2.report({ kind: "died", detail: "signal 9" });
  n2.fail = /^follow/;
  n2.timer("follow again");
  t.match(n2.told, { state: "SECOND", readiness: "Transient", reason: /follow failed on n1/ });
  n2.since();
  n2.fail = null;
  n2.timer("follow again");
  n2.timer("follow again");
  t.ok(n2.since().includes("follow"), "and again, once it can");
});

t.test("the replication process of the primary dies: fenced, and the secondary may take over", async (t) => {
  const n1 = primary();
  n1.report({ kind: "died", detail: "signal 9" });
  t.equal(n1.since()[0], "fence");
  t.equal(n1.state.state, "WAIT");
  t.equal(secondary().peer(primView({ state: "WAIT" })).short, "ALONE Ready");
});

t.test("a record that cannot be written stops a node that serves", async (t) => {
  const n1 = primary();
  n1.fail = /^persist/;
  n1.lost();
  t.ok(n1.since().includes("fence"));
  t.notOk(n1.acts.includes("goAlone"));
  t.match(n1.told.reason, /cannot be written on n1/);
});

t.test("a daemon that is back in time adopts what runs", async (t) => {
  const n1 = new Driver();
  const record = recordOf({ role: "PRIM" });
  n1.tell({ type: "boot", record, start: true, incarnation: "me", adopt: { state: "PRIM", inSync: true } });
  n1.peer(secondView());
  t.same(n1.since(), []);
  t.equal(n1.short, "PRIM Ready");
});

t.test(
  "a secondary that was started anew meanwhile is not stopped by the wait after its disk failed",
  async (t) => {
    const n2 = secondary();
    n2.report({ kind: "diskFailed", detail: "fsync: EIO" });
    n2.command({ name: "stop" }).command({ name: "start" });
    n2.peer(primView()).report({ kind: "inSync" });
    t.equal(n2.told.state, "SECOND");
    n2.since();
    n2.timer("follow again");
    t.same(n2.since(), [], "it follows, and goes on");
  },
);

t.test(
  "start, typed while what failed on the secondary is not stopped yet, does not keep it from being followed anew",
  async (t) => {
    const n2 = secondary();
    n2.hold = /^persist/;
    n2.report({ kind: "diskFailed", detail: "fsync: EIO" });
    n2.command({ name: "start" });
    n2.since();
    n2.hold = null;
    n2.release();
    t.same(n2.since(), ["stopReplication"]);
    n2.timer("follow again");
    t.same(n2.since(), ["follow"]);
  },
);
