/**
 * The life of a mirror as its users drive it: first start ever, stop and start, restart, stopstart, swap, forcestop.
 */
import t from "tap";
import { createLife, onRealNodes, SCRIPTS, startLife } from "./life.ts";
import { until } from "./testbed.ts";

t.setTimeout(400_000);
const { start, toAlone, toSecond, joined, left, takeover, stopPrim, stopAlone, stopSecond, stopped } =
  SCRIPTS;

t.test("first start ever: both wait until one is told to be primary", onRealNodes, async (t) => {
  const life = await createLife(t);
  const { n1, n2, mirror } = life;
  await life.comesTo("applied", "STOP NotReady", "STOP NotReady", null);
  life.hooks("applied", [], []);
  await n1.holdfast(["start", "db", "--all"]);
  await life.comesTo("started", "WAIT NotReady", "WAIT NotReady", null);
  life.hooks("started", [...start], [...start]);
  const { modules } = await n1.json<{
    modules: Record<string, { nodes: Record<string, { remedy?: string }> }>;
  }>(["status"]);
  t.equal(modules["db"]?.nodes["n2"]?.remedy, "holdfast prim db", "status says which command decides");
  await n2.holdfast(["prim", "db"]);
  await life.comesTo("prim on n2", "SECOND Ready", "PRIM Ready", n2);
  life.hooks("prim on n2", [...toSecond], [...toAlone, ...joined]);
  const refused = await n1.holdfast(["prim", "db"], { mayFail: true });
  t.equal(refused.status, 1, "prim beside a primary is refused");
  t.match(refused.stderr, /swap/, "and says what to do instead");
  const again = await n2.holdfast(["start", "db"]);
  t.equal(again.stdout, "n2 is PRIM already; nothing was done\n");

  await n1.holdfast(["stop", "db", "--all"]);
  await life.comesTo("both stopped", "STOP NotReady", "STOP NotReady", null);
  t.notOk(life.isAppAlive(n1) || life.isAppAlive(n2), "no application is left");
  life.ran(n1);
  life.ran(n2);
  await n1.holdfast(["start", "db", "--all"]);
  await mirror.settled("PRIM,SECOND", "PRIM,SECOND");
  const first = (await mirror.states())[0] === "PRIM Ready";
  await life.comesTo(
    "both start again",
    first ? "PRIM Ready" : "SECOND Ready",
    first ? "SECOND Ready" : "PRIM Ready",
    first ? n1 : n2,
  );
});

t.test("stop, start, restart, stopstart", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  await n1.holdfast(["restart", "db"]);
  await life.comesTo("restart of PRIM", "PRIM Ready", "SECOND Ready", n1);
  life.hooks("restart of PRIM", ["stop_prim", "stop_both", "start_both", "start_prim"], []);
  await n2.holdfast(["restart", "db"]);
  await life.comesTo("restart of SECOND", "PRIM Ready", "SECOND Ready", n1);
  life.hooks("restart of SECOND", [], ["stop_second", "stop_both", "start_both", "start_second"]);

  t.equal(await life.inArpTable(), "n1");
  await n1.holdfast(["stop", "db"]);
  await until("the third host was told, without asking", async () => (await life.inArpTable()) === "n2");
  t.match(
    (await n2.holdfast(["log", "db"])).stdout,
    /n1 (stopped|does not serve any more): n2 takes over/,
    "the peer takes over at once: nobody waits for a time-out",
  );
  await life.comesTo("stop of PRIM", "STOP NotReady", "ALONE Ready", n2);
  life.hooks("stop of PRIM", [...stopPrim, ...stopped], [...takeover]);
  await n2.holdfast(["restart", "db"]);
  await life.comesTo("restart of ALONE", "STOP NotReady", "ALONE Ready", n2);
  life.hooks("restart of ALONE", [], ["stop_prim", "stop_both", "start_both", "start_prim"]);
  await n1.holdfast(["start", "db"]);
  await life.comesTo("start again", "SECOND Ready", "PRIM Ready", n2);
  life.hooks("start again", [...start, ...toSecond], [...joined]);

  await n1.holdfast(["stop", "db"]);
  await life.comesTo("stop of SECOND", "STOP NotReady", "ALONE Ready", n2);
  life.hooks("stop of SECOND", [...stopSecond, ...stopped], [...left]);
  await n1.holdfast(["start", "db"]);
  await life.comesTo("SECOND starts again", "SECOND Ready", "PRIM Ready", n2);
  life.hooks("SECOND starts again", [...start, ...toSecond], [...joined]);

  await n2.holdfast(["stopstart", "db"]);
  await life.comesTo("stopstart of PRIM", "PRIM Ready", "SECOND Ready", n1);
  life.hooks("stopstart of PRIM", [...takeover, ...joined], [...stopPrim, ...stopped, ...start, ...toSecond]);
  await n2.holdfast(["stop", "db"]);
  await n1.holdfast(["stop", "db"]);
  await life.comesTo("all stopped", "STOP NotReady", "STOP NotReady", null);
  life.hooks("all stopped", [...left, ...stopAlone, ...stopped], [...stopSecond, ...stopped]);
});

t.test("swap from either side, and forcestop", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  const { swapOut, swapIn } = SCRIPTS;
  await n1.holdfast(["swap", "db"]);
  await life.comesTo("swap asked of PRIM", "SECOND Ready", "PRIM Ready", n2);
  life.hooks("swap asked of PRIM", [...swapOut], [...swapIn]);
  await n1.holdfast(["swap", "db"]);
  await life.comesTo("swap asked of SECOND", "PRIM Ready", "SECOND Ready", n1);
  life.hooks("swap asked of SECOND", [...swapIn], [...swapOut]);
  await n1.holdfast(["forcestop", "db"]);
  await life.comesTo("forcestop of PRIM", "STOP NotReady", "ALONE Ready", n2);
  t.notOk(life.isAppAlive(n1), "the application is dead");
  life.hooks("forcestop of PRIM", ["transition PRIM WAIT", ...stopped], [...takeover]);
  const refused = await n2.holdfast(["swap", "db"], { mayFail: true });
  t.equal(refused.status, 1, "no swap without a secondary");
  await n1.holdfast(["start", "db"]);
  await life.comesTo("start after forcestop", "SECOND Ready", "PRIM Ready", n2);
});
