/**
 * What administrators choose: `failover: manual`, `failback`, a full copy, a primary by force after an interrupted reintegration; and a
 * SECOND whose disk is full, which says why and comes back by itself.
 */
import t from "tap";
import { onRealNodes, SCRIPTS, startLife } from "./life.ts";
import { until } from "./testbed.ts";

t.setTimeout(400_000);
const { start, toSecond, joined, left, swapIn, swapOut, takeover, stopSecond, stopped } = SCRIPTS;
const REPLICATE = "replicate:\n  paths:\n    - path: DATA\n";

t.test("failover: manual", onRealNodes, async (t) => {
  const life = await startLife(t, { yaml: `failover: manual\n${REPLICATE}` });
  const { n1, n2 } = life;
  await life.writesGoOn("before");
  await n1.powerCut();
  const promised = life.acknowledged();
  await life.comesTo("PRIM is gone, nobody takes over", "off", "WAIT NotReady", null);
  life.hooks("PRIM is gone", [], ["stop_second", "stop_both", "transition SECOND WAIT"]);
  await n2.holdfast(["prim", "db"]);
  await life.comesTo("prim by hand", "off", "ALONE Ready", n2);
  life.nothingLost("prim by hand", n2, promised);
  life.ran(n2);
  await life.boot(n1);
  await life.comesTo("the old PRIM is back", "SECOND Ready", "PRIM Ready", n2);
  life.hooks("the old PRIM is back", [...start, ...toSecond], [...joined]);
});

t.test("failback: n1 swaps back by itself after its reintegration", onRealNodes, async (t) => {
  const life = await startLife(t, { yaml: `failback: n1\n${REPLICATE}` });
  const { n1, n2 } = life;
  await life.writesGoOn("before");
  await n1.powerCut();
  await life.comesTo("PRIM is gone", "off", "ALONE Ready", n2);
  life.hooks("PRIM is gone", [], [...takeover]);
  await life.writesGoOn("on n2");
  await life.boot(n1);
  await life.comesTo("back, and swapped", "PRIM Ready", "SECOND Ready", n1);
  life.hooks("back, and swapped", [...start, ...toSecond, ...swapIn], [...joined, ...swapOut]);
  await life.writesGoOn("on n1 again");
  life.nothingLost("back, and swapped", n1);
  await life.verified("back, and swapped", n1);
});

t.test("second --full copies everything, also when it cannot begin at first", onRealNodes, async (t) => {
  const life = await startLife(t, { application: "sleep 100000" });
  const { n1, n2, mirror } = life;
  await n1.exec([
    "bash",
    "-c",
    `for i in $(seq 300); do echo $i > ${mirror.data}/f$i; done; sync ${mirror.data}/f*`,
  ]);
  await n2.holdfast(["stop", "db"]);
  const user = await n2.spawn(["bash", "-c", `cd ${mirror.data} && exec sleep 1000`]);
  await n2.holdfast(["second", "db", "--full"]);
  t.match(await life.status(n2), { state: "SECOND", reason: /follow failed .*is in use/ }, "it cannot begin");
  user.signal("SIGKILL");
  await until("the log says so", async () =>
    /Reintegration ended \(full\): 30\d files/.test((await n1.holdfast(["log", "db"])).stdout),
  );
  await life.comesTo("copied whole", "PRIM Ready", "SECOND Ready", n1);
  life.hooks("copied whole", [...left, ...joined], [...stopSecond, ...stopped, ...start, ...toSecond]);
  await life.verified("copied whole", n1);
});

t.test(
  "trap 5: an interrupted reintegration is no copy; prim --force takes it all the same",
  onRealNodes,
  async (t) => {
    const slow = REPLICATE.replace("replicate:", "replicate:\n  bandwidth: 4MiB/s");
    const life = await startLife(t, { yaml: slow, application: "sleep 100000" });
    const { n1, n2, mirror } = life;
    await n2.holdfast(["stop", "db"]);
    await n1.exec([
      "bash",
      "-c",
      `head -c 60000000 /dev/urandom > ${mirror.data}/big; sync ${mirror.data}/big`,
    ]);
    await n2.holdfast(["start", "db"]);
    await until("the reintegration runs", async () => {
      const { reintegration } = await life.status(n2);
      return (reintegration?.bytesDone ?? 0) > 4_000_000;
    });
    await n1.powerCut();
    await life.comesTo("the source is gone", "off", "WAIT NotReady", null);
    const { upToDate, remedy } = await life.status(n2);
    t.equal(upToDate, false, "the half-done copy does not count");
    t.equal(remedy, "holdfast prim db --force", "status says what would force it");
    const refused = await n2.holdfast(["prim", "db"], { mayFail: true });
    t.equal(refused.status, 1, "prim is refused");
    t.match(refused.stderr, /half old, half new/, "and says why");
    t.test("resumed when the source is back", async (t) => {
      await life.boot(n1);
      await life.comesTo("the source is back", "PRIM Ready", "SECOND Ready", n1, 40_000);
      t.match(
        (await n1.holdfast(["log", "db"])).stdout,
        /Reintegration ended \(incremental\)/,
        "it was resumed",
      );
      await life.verified("the source is back", n1);
    });
    t.test("forced when the source does not come back", async () => {
      await n2.holdfast(["stop", "db"]);
      await n1.exec([
        "bash",
        "-c",
        `head -c 60000000 /dev/urandom > ${mirror.data}/big; sync ${mirror.data}/big`,
      ]);
      await n2.holdfast(["start", "db"]);
      await until(
        "the reintegration runs",
        async () => ((await life.status(n2)).reintegration?.bytesDone ?? 0) > 4_000_000,
      );
      await n1.powerCut();
      await life.comesTo("the source is gone again", "off", "WAIT NotReady", null);
      await n2.holdfast(["prim", "db", "--force"]);
      await life.comesTo("forced", "off", "ALONE Ready", n2);
      await life.boot(n1);
      await life.comesTo("the old source finds an unrelated copy", "WAIT NotReady", "ALONE Ready", n2);
      t.equal((await life.status(n1)).remedy, "holdfast second db --full", "and says which command decides");
      await n1.holdfast(["second", "db", "--full"]);
      await life.comesTo("copied whole", "SECOND Ready", "PRIM Ready", n2, 40_000);
      await life.verified("copied whole", n2);
    });
  },
);

t.test(
  "SECOND's disk is full: PRIM goes on, SECOND says why and comes back by itself",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2, mirror } = life;
    const app = life.application(n1);
    await n2.exec(
      [
        "bash",
        "-c",
        `fallocate -l 900M ${n2.varDir}/../filler || true; cat /dev/zero > ${n2.varDir}/../filler2 || true`,
      ],
      { mayFail: true },
    );
    await n1.exec([
      "bash",
      "-c",
      `head -c 30000000 /dev/urandom > ${mirror.data}/big; timeout 20 sync ${mirror.data}/big`,
    ]);
    await life.writesGoOn("SECOND's disk is full");
    await until("PRIM goes on alone", async () => (await life.status(n1)).state === "ALONE", 15_000);
    t.match((await n2.holdfast(["log", "db"])).stdout, /ENOSPC|No space left/, "SECOND says why");
    await n2.exec(["bash", "-c", `rm ${n2.varDir}/../filler*`]);
    await life.comesTo("there is room again", "PRIM Ready", "SECOND Ready", n1, 60_000);
    t.equal(life.application(n1), app, "the application was not touched");
    life.nothingLost("there is room again", n1);
    await life.verified("there is room again", n1);
  },
);
