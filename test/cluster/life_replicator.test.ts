/**
 * The replication process of PRIM dies or stops while the daemon lives: the application is started again where it should be, nothing that was
 * acknowledged is missing.
 */
import t from "tap";
import { onRealNodes, startLife } from "./life.ts";
import { until } from "./testbed.ts";

t.setTimeout(150_000);

t.test("the replication process of PRIM is killed", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  await life.writesGoOn("before");
  n1.signal(life.pidOf(n1, "__replication"), "SIGKILL");
  await life.writesGoOn("after", 15_000);
  const [prim, other] = life.isAppAlive(n1) ? [n1, n2] : [n2, n1];
  t.notOk(life.isAppAlive(other), "one application runs");
  const states =
    prim === n1 ? (["PRIM Ready", "SECOND Ready"] as const) : (["SECOND Ready", "PRIM Ready"] as const);
  await life.comesTo("the mirror is whole again", ...states, prim, 30_000);
  life.nothingLost("the mirror is whole again", prim);
  await life.verified("the mirror is whole again", prim);
});

t.test(
  "the replication process of SECOND is killed: PRIM goes on, SECOND comes back",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2 } = life;
    await life.writesGoOn("before");
    const app = life.application(n1);
    n2.signal(life.pidOf(n2, "__replication"), "SIGKILL");
    await life.writesGoOn("after", 8000);
    await until("n2 is followed again", () =>
      life.ours(n2).some(({ command }) => command.includes("__replication")),
    );
    await life.comesTo("back", "PRIM Ready", "SECOND Ready", n1, 30_000);
    t.equal(life.application(n1), app, "the application was not touched");
    life.nothingLost("back", n1);
    await life.verified("back", n1);
  },
);

t.test(
  "trap 9: the replication process of SECOND is stopped: PRIM waits no longer than replicate.timeout",
  onRealNodes,
  async (t) => {
    const life = await startLife(t, { yaml: "replicate:\n  timeout: 2s\n  paths:\n    - path: DATA\n" });
    const { n1, n2 } = life;
    await life.writesGoOn("before");
    const app = life.application(n1);
    const process = life.pidOf(n2, "__replication");
    n2.signal(process, "SIGSTOP");
    const began = performance.now();
    await Bun.sleep(300);
    await life.writesGoOn("while SECOND hangs", 8000);
    t.ok(
      performance.now() - began < 4000,
      `writes went on after ${Math.round(performance.now() - began)} ms`,
    );
    await until("PRIM says ALONE", async () => (await life.mirror.states())[0].startsWith("ALONE"), 5000);
    n2.signal(process, "SIGCONT");
    await life.comesTo("SECOND woke", "PRIM Ready", "SECOND Ready", n1, 40_000);
    t.equal(life.application(n1), app, "the application was not touched");
    life.nothingLost("SECOND woke", n1);
    await life.verified("SECOND woke", n1);
  },
);

t.test("the replication process of PRIM is stopped: writes go on somewhere", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  await life.writesGoOn("before");
  const process = life.pidOf(n1, "__replication");
  n1.signal(process, "SIGSTOP");
  await life.writesGoOn("after", 25_000);
  n1.signal(process, "SIGCONT");
  const [prim, other] = life.isAppAlive(n1) ? [n1, n2] : [n2, n1];
  t.notOk(life.isAppAlive(other), "one application runs");
  life.nothingLost("after", prim);
});
