/**
 * Machines that go down in order and come up again: the daemon's SIGTERM, `shutdown`, the boot setting, and who may start alone.
 */
import t from "tap";
import { type Life, onRealNodes, SCRIPTS, startLife } from "./life.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);
const { start, toAlone, toSecond, joined, left, takeover, stopPrim, stopAlone, stopSecond, stopped } =
  SCRIPTS;

/** SIGTERM, as the service manager sends it; nothing of ours may be left. */
async function terminate(life: Life, node: Node): Promise<void> {
  const daemon = life.pidOf(node, "daemon");
  node.signal(daemon, "SIGTERM");
  await until(`nothing of ours is left on ${node.name}`, () => life.ours(node).length === 0, 10_000);
}

t.test(
  "trap 23: a clean end of the daemon hands the service over at once, and boot: auto starts it again",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2 } = life;
    n1.signal(life.pidOf(n1, "daemon"), "SIGTERM");
    await life.mirror.answeredBy(n2);
    t.match(
      (await n2.holdfast(["log", "db"])).stdout,
      /n1 (stopped|does not serve any more): n2 takes over/,
      "nobody waits for a time-out",
    );
    await until("nothing of ours is left on n1", () => life.ours(n1).length === 0, 10_000);
    t.notOk(life.isAppAlive(n1), "the application was stopped");
    t.notMatch((await n1.exec(["ip", "addr"])).stdout, "10.77.0.100", "the address is gone from n1");
    t.notMatch((await n1.exec(["nft", "list", "ruleset"])).stdout, "10.77.0.100", "and so is its deadline");
    await life.comesTo("n1 is down", "off", "ALONE Ready", n2);
    life.hooks("SIGTERM of PRIM's daemon", [...stopPrim, ...stopped], [...takeover]);
    const command = await n1.holdfast(["status"], { mayFail: true });
    t.equal(command.status, 3, "commands say that the daemon is not reachable");
    await n1.startDaemon();
    await life.comesTo("n1 is back", "SECOND Ready", "PRIM Ready", n2);
    life.hooks("n1 is back, by itself", [...start, ...toSecond], [...joined]);
  },
);

t.test(
  "both nodes down before: the one that went last starts, the other waits for it",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2 } = life;
    await terminate(life, n1);
    await life.comesTo("n1 ended first", "off", "ALONE Ready", n2);
    await terminate(life, n2);
    life.hooks("both ended", [...stopPrim, ...stopped], [...takeover, ...stopAlone, ...stopped]);

    await n1.startDaemon();
    await life.comesTo("n1 alone, whose peer may have gone further", "WAIT NotReady", "off", null);
    const { modules } = await n1.json<{
      modules: Record<string, { nodes: Record<string, { remedy?: string }> }>;
    }>(["status"]);
    t.equal(
      modules["db"]?.nodes["n1"]?.remedy,
      "holdfast prim db --force",
      "it says which command would force it",
    );
    life.hooks("n1 waits", [...start], []);
    await n2.startDaemon();
    await life.comesTo("n2 is there too", "SECOND Ready", "PRIM Ready", n2);
    life.hooks("n2 is there too", [...toSecond], [...start, ...toAlone, ...joined]);

    await terminate(life, n1);
    await terminate(life, n2);
    life.ran(n1);
    life.ran(n2);
    await n2.startDaemon();
    await life.comesTo("n2, which went last, alone", "off", "ALONE Ready", n2);
    life.hooks("n2 alone", [], [...start, ...toAlone]);
  },
);

t.test("the boot setting, and shutdown", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  await n1.holdfast(["boot", "db", "never"]);
  await n2.holdfast(["boot", "db", "always"]);
  await terminate(life, n1);
  await n1.startDaemon();
  await life.comesTo("boot never", "STOP NotReady", "ALONE Ready", n2);
  await n1.holdfast(["boot", "db", "auto"]);
  await n1.holdfast(["start", "db"]);
  await life.comesTo("started by hand", "SECOND Ready", "PRIM Ready", n2);
  life.ran(n1);
  life.ran(n2);
  await n1.holdfast(["shutdown"]);
  await life.comesTo("shutdown of n1", "STOP NotReady", "ALONE Ready", n2);
  life.hooks("shutdown of n1", [...stopSecond, ...stopped], [...left]);
  await terminate(life, n1);
  await n1.startDaemon();
  await life.comesTo("boot auto, stopped by hand before", "STOP NotReady", "ALONE Ready", n2);
  life.hooks("boot auto, stopped by hand before", [], []);
  await n2.holdfast(["stop", "db"]);
  await terminate(life, n2);
  life.ran(n2);
  await n2.startDaemon();
  await life.comesTo("boot always, stopped by hand before", "STOP NotReady", "ALONE Ready", n2);
  life.hooks("boot always, stopped by hand before", [], [...start, ...toAlone]);
});
