/** What a node may do that was away for a while, or has only just begun to look: found by the simulator, told here one by one. */
import t from "tap";
import { Driver, primary, primView, recordOf, secondary, secondView } from "./failover_driver.ts";

t.test(
  "a primary whose daemon is new does not go alone before it knows whether it hears its secondary",
  async (t) => {
    const n1 = new Driver();
    const record = recordOf({ role: "PRIM", wasPrimaryAtParting: true });
    const adopt = { state: "PRIM", inSync: true } as const;
    n1.tell({ type: "boot", record, start: true, incarnation: "me", adopt });
    n1.since();
    n1.report({ kind: "peerGone", cause: "link cut" });
    t.same(
      n1.since(),
      [],
      "nothing is known of the secondary yet: it may live, and must say that it is outdated",
    );
    n1.peer(secondView({ outdatedIn: n1.view.outdate }));
    t.same(n1.since(), ["persist ALONE uptodate", "goAlone", "transition PRIM ALONE"]);
    t.equal(n1.state.durable.peerOutdatedIn, n1.state.durable.generations.current);
  },
);

t.test("it goes alone when the secondary turns out to be silent, or takes too long", async (t) => {
  for (const then of ["lost", "late"]) {
    const n1 = new Driver();
    const adopt = { state: "PRIM", inSync: true } as const;
    n1.tell({ type: "boot", record: recordOf({ role: "PRIM" }), start: true, incarnation: "me", adopt });
    n1.report({ kind: "peerGone", cause: "link cut" });
    n1.since();
    if (then === "lost") n1.lost();
    else n1.timer("outdate");
    t.same(n1.since(), ["persist ALONE uptodate", "goAlone", "transition PRIM ALONE"], then);
  }
});

t.test(
  "a secondary that was fenced has missed what its primary did: it is not promoted before it follows again",
  async (t) => {
    const n2 = secondary();
    n2.tell({ type: "fenced", cause: "the daemon was late" });
    n2.report({ kind: "died", detail: "killed by signal 9" });
    n2.since();
    n2.lost();
    t.equal(n2.short, "WAIT NotReady");
    t.match(n2.told, {
      upToDate: false,
      reason: /n2 is silent: n2 may have gone further/,
      remedy: "holdfast prim db",
    });

    const again = secondary();
    again.tell({ type: "fenced", cause: "the daemon was late" });
    again.report({ kind: "died", detail: "killed by signal 9" });
    again.timer("follow again");
    again.peer(primView({ note: { reason: "", since: "" } })).report({ kind: "inSync" });
    t.equal(again.short, "SECOND Ready", "in the same generation, in the stream again: nothing was missed");
    again.since();
    again.lost();
    t.equal(again.told.state, "ALONE");
  },
);

t.test(
  "a target whose disk failed is stopped before it follows again, however long its record takes",
  async (t) => {
    const n2 = secondary();
    n2.hold = /^persist/;
    n2.report({ kind: "diskFailed", detail: "fsync: input/output error" });
    t.same(n2.since(), ["persist SECOND suspect"]);
    n2.timer("follow again");
    n2.hold = null;
    n2.release();
    t.same(
      n2.since(),
      ["stopReplication"],
      "the time to follow again came while the disk was slow: what failed is stopped all the same",
    );
    n2.timer("follow again");
    t.same(n2.since(), ["follow"]);
  },
);

t.test(
  "a primary that was fenced by its guardian starts again only with its secondary's consent",
  async (t) => {
    const n1 = primary();
    n1.tell({ type: "fenced", cause: "the daemon was late" });
    t.equal(n1.told.state, "WAIT");
    t.notMatch(n1.since().join(" "), /serve/);
  },
);

t.test("what a connection still says whose target's disk failed does not make the copy count", async (t) => {
  const n2 = secondary();
  n2.hold = /^stopReplication/;
  n2.report({ kind: "diskFailed", detail: "fsync: input/output error" });
  t.same(n2.since(), ["persist SECOND suspect", "stopReplication"]);
  n2.report({ kind: "reintegrating", side: "target", full: false });
  n2.report({ kind: "caughtUp", side: "target", generations: n2.state.record.generations });
  n2.report({ kind: "inSync" });
  t.same(n2.since(), []);
  t.equal(n2.view.caughtUp, null);
  t.match(n2.told, { upToDate: false, readiness: "Transient" });
});
