/**
 * Networks that break: both lans, one of two, one direction only. Without a witness and with `onIsolation: continue` both nodes run when
 * they are parted; what the loser wrote is kept (G5).
 */
import t from "tap";
import { onRealNodes, SCRIPTS, startLife } from "./life.ts";
import { until } from "./testbed.ts";

t.setTimeout(150_000);
const { toSecond, joined, left, takeover, stopAlone } = SCRIPTS;

t.test("G5: PRIM is isolated, both run, the loser's own writes are kept", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  await life.writesGoOn("before");
  await life.mirror.bed.isolate(n1);
  await life.mirror.answeredBy(n2);
  await life.comesToApart("isolated", "ALONE Ready", "ALONE Ready");
  life.hooks("isolated", [...left], [...takeover]);
  await n1.exec(["bash", "-c", `echo n1 > ${life.mirror.data}/of-n1; echo n1 > ${life.mirror.data}/of-both`]);
  await n2.exec(["bash", "-c", `echo n2 > ${life.mirror.data}/of-n2; echo n2 > ${life.mirror.data}/of-both`]);
  await life.writesGoOn("isolated");
  const promised = life.acknowledged();

  await life.mirror.bed.heal();
  await life.comesTo("healed", "PRIM Ready", "SECOND Ready", n1, 40_000);
  life.hooks("healed", [...joined], [...stopAlone, ...toSecond]);
  t.ok(life.isAppAlive(n1), "the former PRIM stays");
  t.notOk(life.isAppAlive(n2), "the application of the loser was stopped");
  await life.verified("healed", n1);
  const read = async (file: string): Promise<string> =>
    (await n2.exec(["cat", file], { mayFail: true })).stdout.trim();
  t.equal(await read(`${life.mirror.data}/of-both`), "n1", "the loser's copy is that of the former PRIM");
  t.equal(await read(`${life.mirror.data}/of-n2`), "", "its own file is gone from the copy");
  const saved = `${n2.varDir}/saved/db`;
  const files = (await n2.exec(["find", saved, "-type", "f"], { mayFail: true })).stdout.trim().split("\n");
  t.comment(files.join("\n"));
  const keptAs = (name: string): string => files.find((file) => file.endsWith(`/${name}`)) ?? "";
  t.equal(await read(keptAs("of-n2")), "n2", "but kept aside");
  t.equal(await read(keptAs("of-both")), "n2", "and so is its version of a file that both changed");
  const kept = (await read(keptAs("journal"))).split("\n");
  const ofLoser = promised.filter((line) => line.endsWith("n2"));
  t.same(
    ofLoser.filter((line) => !kept.includes(line)).slice(0, 5),
    [],
    `${ofLoser.length} lines written by the loser alone are all kept`,
  );
  life.nothingLost(
    "of what the former PRIM wrote",
    n1,
    promised.filter((line) => line.endsWith("n1")),
  );
});

t.test("one lan of two is cut: nothing happens", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  const app = life.application(n1);
  for (const lan of ["lan", "repl"]) {
    await life.mirror.bed.cut(n1, n2, { lan });
    await life.mirror.bed.cut(n2, n1, { lan });
    await Bun.sleep(2500);
    await life.writesGoOn(`${lan} is cut`);
    await life.comesTo(`${lan} is cut`, "PRIM Ready", "SECOND Ready", n1);
    t.equal(await life.resource(n1, `heartbeat.${lan}`), "down", `${lan} is cut: status says so`);
    await life.mirror.bed.heal();
    await until(`${lan} is healed`, async () => (await life.resource(n1, `heartbeat.${lan}`)) === "up");
  }
  await life.comesTo("healed", "PRIM Ready", "SECOND Ready", n1);
  t.equal(life.application(n1), app, "the application was not touched");
  const ran = [...life.ran(n1), ...life.ran(n2)];
  t.same(
    ran.filter((name) => !name.startsWith("transition")),
    [],
    "no script of the application ran",
  );
  await life.verified("healed", n1);
});

t.test("trap 17: one direction is cut", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2, mirror } = life;
  for (const [from, to] of [
    [n1, n2],
    [n2, n1],
  ] as const) {
    await mirror.bed.cut(from, to);
    await Bun.sleep(4000);
    const holders = await mirror.whoAnswers();
    t.equal(
      holders.length,
      1,
      `${from.name} is not heard by ${to.name}: one node answers: ${holders.join()}`,
    );
    t.equal([n1, n2].filter((node) => life.isAppAlive(node)).length, 1, "one application runs");
    await life.writesGoOn("one direction is cut");
    await mirror.bed.heal();
    const holder = mirror.bed.nodes.find(({ name }) => name === holders[0]) ?? n1;
    const [first, second] = holder === n1 ? ["PRIM Ready", "SECOND Ready"] : ["SECOND Ready", "PRIM Ready"];
    await life.comesTo("healed", first!, second!, holder);
    life.nothingLost("healed", holder);
    await life.verified("healed", holder);
  }
});
