/** The witness, case by case: what a node may do with which answer. The simulator looks for the cases that nobody thought of. */
import t from "tap";
import { blankRecord } from "../../core/failover/step.ts";
import type { FailoverConfig, WitnessAnswer, WitnessWord } from "../../core/failover/types.ts";
import { rightUntil } from "../../core/failover/witness.ts";
import { Driver, primary, recordOf, secondary, secondView, viewOf } from "./failover_driver.ts";

const T = 1000;
const WITNESSED: Partial<FailoverConfig> = { witness: { records: true, leaseMs: T } };
const word = (version: string, sole: string | null = null): WitnessWord => ({
  version,
  sole,
  generation: "g1",
});
const unknown: WitnessAnswer = { kind: "unknown", why: "no answer" };
const AGREED = "v7";
const agreed = recordOf({ witness: AGREED });

/** A primary with its secondary, promised until 0.72 T, that has read the record. */
function promised(config: Partial<FailoverConfig> = {}): Driver {
  const n1 = primary({ ...WITNESSED, ...config });
  n1.state = { ...n1.state, record: { ...n1.state.record, witness: AGREED } };
  n1.tell({ type: "promised", since: 0 });
  t.same(n1.asked.length, 2, "a new daemon asks for a lease, and reads the record");
  n1.witness(unknown).witness({ kind: "record", word: word(AGREED) });
  n1.since();
  return n1;
}

/** A secondary whose primary fell silent. */
function bereft(config: Partial<FailoverConfig> = {}): Driver {
  const n1 = secondary({ ...WITNESSED, ...config });
  n1.state = { ...n1.state, record: { ...n1.state.record, witness: AGREED } };
  n1.now = 2 * T;
  n1.witness({ kind: "record", word: word(AGREED) });
  n1.since();
  return n1.lost();
}

t.test(
  "in maintenance a secondary does not take over by the witness either, unless a person says so",
  async (t) => {
    const n1 = bereft({ maintenance: true });
    t.equal(n1.short, "WAIT NotReady");
    t.match(n1.told, { reason: /maintenance is on: no takeover/, remedy: "holdfast prim db" });
    t.notOk(n1.since().some((effect) => /^askLease|^recordSole/.test(effect)));
    n1.command({ name: "prim", force: false });
    t.ok(n1.since().includes("askLease"));
  },
);

t.test(
  "a copy that never held data starts beside a silent peer by force only: a witness may have lost its record of what the peer holds",
  async (t) => {
    const blank = (config: Partial<FailoverConfig>): Driver => {
      const n1 = new Driver(config).boot(blankRecord(), true);
      n1.since();
      return n1;
    };
    const n1 = blank(WITNESSED).lost();
    t.match(n1.told, { state: "WAIT", remedy: "holdfast prim db --force" });
    n1.command({ name: "prim", force: false });
    t.match(n1.answers, [{ ok: false, message: /n2 is silent, and may hold the data: this node never did/ }]);
    t.notOk(n1.since().some((act) => /^askLease|^recordSole|^persist/.test(act)));
    n1.command({ name: "prim", force: true });
    t.equal(n1.told.state, "ALONE");

    const early = blank(WITNESSED).command({ name: "prim", force: false });
    t.same(early.answers, [], "it is not known yet whether n2 is there");
    t.match(early.lost().answers, [{ ok: false, message: /--force/ }]);
    const unwitnessed = blank({}).lost().command({ name: "prim", force: false });
    t.equal(unwitnessed.told.state, "ALONE", "where there is no witness, a person's word is all there is");
  },
);

t.test("a primary that nobody vouches for stops at once, and not before", async (t) => {
  const n1 = promised();
  n1.now = 0.71 * T;
  n1.timer("witness");
  t.same(n1.since(), ["askLease"], "the promise is old: the witness is asked too");
  n1.witness(unknown);
  t.equal(n1.told.state, "PRIM");
  n1.now = 0.72 * T;
  n1.timer("witness");
  t.match(n1.since(), ["fence", "address down"]);
  t.equal(n1.told.state, "WAIT");
});

t.test("a lease runs from when its request was sent", async (t) => {
  const n1 = promised();
  n1.now = 0.5 * T;
  n1.timer("witness");
  n1.now = 0.7 * T;
  n1.witness({ kind: "granted", sentAt: 0.5 * T });
  t.equal(rightUntil(n1.state), 1.22 * T);
});

t.test(
  "a lease is no right to run for who is recorded as the one that the other goes on without",
  async (t) => {
    for (const [said, until] of [
      [word("v8", "n2"), 0.72 * T],
      [word("v8", "n1"), 1.22 * T],
      [word(AGREED, "n2"), 1.22 * T],
    ] as const) {
      const n1 = promised();
      n1.now = 0.5 * T;
      n1.timer("witness");
      n1.witness({ kind: "granted", sentAt: 0.5 * T, word: said });
      t.equal(rightUntil(n1.state), until, JSON.stringify(said));
    }
  },
);

t.test("a secondary is told at once that its primary goes on by the record, and waits", async (t) => {
  const n1 = bereft();
  n1.witness({ kind: "granted", sentAt: 2 * T, word: word("v8", "n2") });
  t.same(n1.since(), ["askLease", "recordSole"]);
  n1.witness({ kind: "changed", word: word("v8", "n2") });
  t.equal(n1.short, "WAIT NotReady");
});

t.test("a compare-and-swap without a clear answer is read back before anybody goes alone", async (t) => {
  for (const went of [true, false]) {
    const n1 = promised();
    n1.lost();
    t.same(n1.since(), ["recordSole"]);
    n1.witness(unknown);
    t.same(n1.since(), ["readWitness"], "what came of it is asked, nothing is done");
    n1.witness({ kind: "record", word: went ? word("v8", "n1") : word(AGREED) });
    const acts = n1.since();
    if (went) t.same(acts, ["persist ALONE uptodate", "goAlone", "transition PRIM ALONE"]);
    else t.same(acts, [], "it came to nothing: asked again a little later");
    t.equal(n1.state.durable.witness ?? null, went ? "v8" : null);
  }
});

t.test("a primary of which the witness says that its secondary goes on stops at once", async (t) => {
  const n1 = promised();
  n1.lost().since();
  n1.witness({ kind: "changed", word: word("v8", "n2") });
  t.match(n1.since(), ["fence", "address down"]);
});

t.test("a record that the secondary goes on is taken back only when it promises after that", async (t) => {
  const n1 = promised();
  n1.now = 0.5 * T;
  n1.timer("witness");
  t.same(n1.since(), ["askLease"]);
  n1.witness({ kind: "refused", why: "n2 has it", word: word("v8", "n2") });
  n1.tell({ type: "promised", since: 0.4 * T });
  t.same(n1.since(), [], "the clocks of this machine may have stood still, and what it heard is old");
  n1.tell({ type: "promised", since: 0.51 * T });
  t.same(n1.since(), ["recordSole"], "the attempt came to nothing: both are together");
});

t.test("a secondary takes over with a lease, then with the record, and in no other way", async (t) => {
  const n1 = bereft();
  t.same(n1.since(), ["askLease"]);
  n1.witness({ kind: "refused", why: "n2 has it" });
  t.same(n1.since(), [], "the primary runs by its lease");
  n1.now += T / 2;
  n1.timer("witness");
  t.same(n1.since(), ["askLease"]);
  n1.witness({ kind: "granted", sentAt: n1.now });
  t.same(n1.since(), ["recordSole"]);
  n1.witness({ kind: "recorded", word: word("v8", "n1") });
  t.match(n1.since()[0], /persist ALONE/);
  t.equal(n1.state.durable.witness, "v8");
});

t.test(
  "the version that a takeover has won is not given up for the old primary's, heard again while it is written",
  async (t) => {
    const n1 = bereft();
    n1.witness({ kind: "granted", sentAt: n1.now });
    n1.hold = /persist ALONE/;
    n1.witness({ kind: "recorded", word: word("v8", "n1") });
    n1.peer(viewOf("PRIM", { ...agreed, role: "PRIM" }));
    n1.release();
    t.equal(n1.told.state, "ALONE", "what the witness has on record is carried out");
    t.equal(n1.state.record.witness, "v8");
  },
);

t.test("a record that came when the lease was over is not enough", async (t) => {
  const n1 = bereft();
  n1.witness({ kind: "granted", sentAt: n1.now });
  n1.since();
  n1.now += 0.8 * T;
  n1.witness({ kind: "recorded", word: word("v8", "n1") });
  t.same(n1.since(), ["askLease"], "the primary may have one by now: asked anew");
});

t.test("a secondary that the witness refuses is outdated, and waits", async (t) => {
  const n1 = bereft();
  n1.witness({ kind: "granted", sentAt: n1.now });
  n1.witness({ kind: "changed", word: word("v8", "n2") });
  t.match(n1.since(), ["askLease", "recordSole", "stop_second"]);
  t.equal(n1.state.durable.consistency, "outdated");
  t.equal(n1.told.state, "WAIT");
  t.match(n1.told.reason, /the witness has recorded that n2 goes on/);
});

t.test("a primary that stops is taken over from by its own consent, when the witness is away", async (t) => {
  const n1 = secondary(WITNESSED);
  n1.peer(viewOf("STOP", recordOf({ role: "PRIM" }), { leaving: true }));
  for (let times = 0; times < 5; times++) {
    n1.now += T;
    n1.timer("witness");
    while (n1.asked.length > 0) n1.witness(unknown);
  }
  t.equal(n1.told.state, "SECOND", "it waits for one of the two");
  const generation = n1.view.outdate;
  n1.peer(
    viewOf("STOP", recordOf({ role: "PRIM", consistency: "outdated" }), {
      leaving: true,
      outdatedIn: generation,
    }),
  );
  t.equal(n1.told.state, "ALONE");
  t.equal(n1.state.durable.peerOutdatedIn, generation);
});

t.test("a cold start without the peer: when its compare-and-swap succeeds", async (t) => {
  for (const role of ["ALONE", "PRIM", "SECOND"] as const) {
    const n1 = new Driver(WITNESSED);
    n1.boot({ ...agreed, role }).lost();
    n1.witness({ kind: "record", word: word(AGREED) });
    n1.witness({ kind: "granted", sentAt: n1.now });
    t.equal(n1.told.state, "WAIT", role);
    n1.witness({ kind: "recorded", word: word("v8", "n1") });
    t.equal(n1.told.state, "ALONE", role);
  }
});

t.test("a node that takes over promises nothing any more", async (t) => {
  const n1 = secondary(WITNESSED);
  t.equal(n1.view.promises, true);
  const serving = promised();
  t.equal(serving.view.promises, false);
  t.equal(serving.peer(secondView()).view.promises, false);
});

/** A primary with a lease of the witness. */
function leased(config: Partial<FailoverConfig> = {}): Driver {
  const n1 = promised(config);
  n1.now = 0.5 * T;
  n1.timer("witness");
  n1.witness({ kind: "granted", sentAt: n1.now });
  n1.since();
  return n1;
}

t.test("a node that stops gives its lease back once nothing of it runs, and asks for none", async (t) => {
  const n1 = leased();
  n1.hold = /^stop_prim$/;
  n1.command({ name: "stop" });
  t.same(n1.since(), ["stop_prim"], "the application still runs");
  n1.hold = null;
  n1.release();
  const acts = n1.since();
  const given = acts.indexOf("releaseLease");
  for (const before of ["stop_both", "address down", "stopReplication"])
    t.ok(acts.indexOf(before) < given, `after ${before}`);
  t.notOk(acts.includes("askLease"));
  t.ok(n1.state.witness.lease <= n1.now);
  n1.command({ name: "stop" });
  t.notOk(n1.since().includes("releaseLease"), "once");
});

t.test("so does one that is fenced or stopped by force, once everything is dead", async (t) => {
  const n1 = leased();
  n1.command({ name: "forcestop" });
  t.ok(n1.since().includes("releaseLease"));
  const n2 = leased();
  n2.hold = /^fence$/;
  n2.tell({ type: "fenced", cause: "the daemon was late" });
  t.same(n2.since(), ["fence"]);
  n2.release();
  t.match(n2.since(), ["address down", "releaseLease"]);
});

t.test("who cannot say that everything has ended keeps its lease until it ends by itself", async (t) => {
  for (const fails of [
    /^(stop_prim|stop_prim force|fence)$/,
    /^address down$/,
    /^(stopReplication|fence)$/,
  ]) {
    const n1 = leased();
    n1.fail = fails;
    n1.command({ name: "stop" });
    t.equal(n1.told.state, "STOP");
    t.notOk(n1.since().includes("releaseLease"), String(fails));
  }
  const n1 = leased();
  n1.fail = /^(transition|poststop)/;
  n1.command({ name: "stop" });
  t.ok(n1.since().includes("releaseLease"), "a hook that ends nothing may fail");
});

t.test(
  "a lease that was asked for, and is answered after it was given back, counts for nothing",
  async (t) => {
    const n1 = leased();
    n1.now = 0.8 * T;
    n1.timer("witness");
    t.ok(n1.since().includes("askLease"));
    n1.command({ name: "stop" });
    t.ok(n1.since().includes("releaseLease"));
    n1.witness({ kind: "granted", sentAt: n1.now });
    t.ok(n1.state.witness.lease <= n1.now);
  },
);

t.test("a witness that comes to a primary that runs leaves it a timeout to get its right", async (t) => {
  /** What cluster.yaml says changes, and the core is told. */
  const names = (n1: Driver, witness: FailoverConfig["witness"]): Driver => {
    n1.state = { ...n1.state, config: { ...n1.state.config, witness: witness ?? null } };
    return n1.timer("reconfigured");
  };
  const before: [string, () => Driver][] = [
    ["it knew nothing", () => primary()],
    ["a promise was heard just before", () => primary().tell({ type: "promised", since: 4900 })],
    ["it had one before", () => names(leased(), null)],
    ["one that is pinged", () => primary({ witness: { records: false, leaseMs: T } })],
  ];
  for (const [what, make] of before) {
    const n1 = make();
    n1.now = 5000;
    names(n1, WITNESSED.witness);
    t.equal(n1.told.state, "PRIM", what);
    t.equal(rightUntil(n1.state), 6000, what);
    t.notOk(n1.since().includes("fence"), what);
    n1.now = 6000;
    n1.timer("witness");
    t.ok(n1.since().includes("fence"), `${what}: and no longer`);
  }
});
