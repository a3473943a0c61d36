/**
 * Networks that break: both lans, one of two, one direction only. Without a witness and with `onIsolation: continue` both nodes run when
 * they are parted; what the loser wrote is kept (G5).
 */
import { readFileSync } from "node:fs";
import t from "tap";
import type { Explanation } from "../../core/explain/explain.ts";
import { onRealNodes, SCRIPTS, startLife } from "./life.ts";
import { until } from "./testbed.ts";

t.setTimeout(400_000);
/** What is read of report.json. */
interface Report {
  objects: { path: string }[];
  directories: { path: string; names: string[] }[];
}

const { toSecond, joined, left, takeover, stopAlone } = SCRIPTS;

/** What there is before the nodes part, and what the one that is to lose makes of it. */
const TOGETHER = `mkdir kinds; cd kinds; for name in changed deleted old-name untouched; do echo before > $name; done`;
const APART = `cd kinds; echo loser >> changed; chmod 640 changed; setfattr -n user.note -v loser changed
rm deleted; mv old-name new-name; mkdir -p deep/er; echo precious > deep/er/new; ln -s deep/er/new link; mkfifo pipe
truncate -s 4G sparse; echo end | dd of=sparse bs=1 seek=3G conv=notrunc 2>/dev/null; echo x > $'latin-\\xe9'`;

t.test("G5: PRIM is isolated, both run, the loser's own writes are kept", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2 } = life;
  await life.writesGoOn("before");
  const { data } = life.mirror;
  await n1.exec(["bash", "-ec", `cd ${data}; ${TOGETHER}`]);
  await life.mirror.bed.isolate(n1);
  await life.mirror.answeredBy(n2);
  await life.comesToApart("isolated", "ALONE Ready", "ALONE Ready");
  life.hooks("isolated", [...left], [...takeover]);
  await n1.exec(["bash", "-c", `echo n1 > ${life.mirror.data}/of-n1; echo n1 > ${life.mirror.data}/of-both`]);
  await n2.exec(["bash", "-c", `echo n2 > ${life.mirror.data}/of-n2; echo n2 > ${life.mirror.data}/of-both`]);
  await n2.exec(["bash", "-ec", `cd ${data}; ${APART}`]);
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
  const home = saved + files[0]!.slice(saved.length).split("/", 2).join("/");
  const look = async (command: string): Promise<string> =>
    (await n2.exec(["bash", "-ec", `cd ${home}/0/kinds; ${command}`])).stdout.trim();
  t.equal(await look("cat changed; stat -c %a changed"), "before\nloser\n640", "changed, with its mode");
  t.equal(await look("getfattr --only-values -n user.note changed"), "loser", "and its extended attributes");
  t.equal(
    await look("cat deep/er/new; readlink link"),
    "precious\ndeep/er/new",
    "new, with their directories",
  );
  t.equal(await look("cat $'latin-\\xe9'"), "x", "whatever the name");
  t.equal(await look("stat -c %s sparse; tail -c +3221225473 sparse | head -c 3"), `${2 ** 32}\nend`);
  t.ok(Number(await look("du -k sparse | cut -f 1")) < 1000, "a hole stays a hole");
  for (const asked of ["status", "doctor"])
    t.match(
      (await n2.holdfast([asked], { mayFail: true })).stdout,
      home,
      `${asked} says so until it is removed`,
    );
  const report = JSON.parse(readFileSync(n2.on.path(`${home}/report.json`), "utf8")) as Report;
  const listed = report.objects.map(({ path }) => path);
  for (const path of ["changed", "deep", "deep/er/new", "link", "pipe", "sparse"])
    t.ok(listed.includes(`0/kinds/${path}`), `the report names ${path}`);
  const names = report.directories.find(({ path }) => path === "0/kinds")?.names ?? [];
  t.same(
    ["deleted", "old-name", "new-name", "untouched"].map((name) => names.includes(name)),
    [false, false, true, true],
    "what it removed and renamed shows in the names that its directories had",
  );
  t.same(
    (await n2.exec(["ls", `${data}/kinds`])).stdout.trim().split("\n"),
    ["changed", "deleted", "old-name", "untouched"],
    "the copy itself is that of the former PRIM",
  );

  const { incident } = (await n1.json<{ data: Explanation }>(["explain", "db"])).data;
  const story = incident!.moments.map(({ node, saw, decided }) => `${node}: ${saw}: ${decided}`).join("\n");
  t.match(incident!.title, /split brain: both nodes ran alone/);
  t.match(story, /n1: .*split brain: both nodes ran alone; n1 stays, it was primary before/);
  t.match(story, /n2: .*split brain: both nodes ran alone; n1 stays, this node keeps its own writes aside/);
  t.match(story, /n2: both nodes had written alone; what this one wrote is kept in .*saved\/db/);
  t.match(incident!.prevention.join(), /recording witness, or onIsolation: wait/);
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
