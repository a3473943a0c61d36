/**
 * Real programs in the replicated directory, with SECOND in sync and again while it is away: both replicas are equal afterwards by
 * content and metadata, and `verify` finds nothing.
 */
import t, { type Test } from "tap";
import { lastWords } from "../campaign/power_cuts.ts";
import { differences, treeOf } from "./life_tree.ts";
import { createMirror, type Mirror } from "./mirror.ts";
import { programs, SOURCE_TREE } from "./programs.ts";
import { testbedImpossible, until } from "./testbed.ts";

const skip = testbedImpossible() ?? false;
t.setTimeout(400_000);

/** Runs every program, in a directory of its own. */
async function runPrograms(t: Test, mirror: Mirror, when: string): Promise<void> {
  const { n1, data } = mirror;
  const source = `${n1.dataDir}/source`;
  for (const [name, script] of Object.entries(programs)) {
    const started = performance.now();
    const whole = `set -euo pipefail\nmkdir -p ${name}\ncd ${name}\n${script}`;
    const ended = await n1.exec(["bash", "-c", whole], { cwd: data, env: { SOURCE: source }, mayFail: true });
    const said =
      ended.status === 0 ? "" : `\n${ended.stdout}${ended.stderr}`.slice(0, 4000) + lastWords(mirror);
    t.equal(ended.status, 0, `${name}, ${when}: ${Math.round(performance.now() - started)} ms${said}`);
  }
}

/** Pages that nobody synced follow within a second. */
async function areEqual(t: Test, { n1, n2, data }: Mirror, when: string): Promise<void> {
  const compare = async (): Promise<string[]> => differences(await treeOf(n1, data), await treeOf(n2, data));
  await until("both are equal", async () => (await compare()).length === 0, 6000, 500).catch(() => undefined);
  t.same((await compare()).slice(0, 20), [], `${when}: both replicas are equal`);
  t.ok((await treeOf(n2, data)).size > 1500, "there was much to compare");
  const verified = await n1.holdfast(["verify", "db"], { mayFail: true });
  t.equal(verified.status, 0, `${when}: verify finds nothing: ${verified.stdout}${verified.stderr}`);
}

t.test("real programs in the replicated directory", { skip }, async (t) => {
  // The default of a cluster without a witness: this is not about failing over quickly.
  const mirror = await createMirror({ heartbeat: "{ interval: 200ms, timeout: 3s }" });
  t.teardown(() => mirror.bed.destroy());
  const { n1, n2, data } = mirror;
  await n1.exec(["bash", "-ec", `mkdir ${n1.dataDir}/source; cd ${n1.dataDir}/source; ${SOURCE_TREE}`]);
  await mirror.start();
  await runPrograms(t, mirror, "with SECOND in sync");
  await areEqual(t, mirror, "with SECOND in sync");
  await n2.holdfast(["stop", "db"]);
  await mirror.settled("ALONE", "STOP");
  await runPrograms(t, mirror, "while SECOND is away");
  await n2.holdfast(["start", "db"]);
  await mirror.settled("PRIM", "SECOND", "60s");
  await areEqual(t, mirror, "after the reintegration");
  await n1.holdfast(["swap", "db"]);
  await mirror.settled("SECOND", "PRIM");
  const git = await n2.exec([
    "git",
    "-c",
    "safe.directory=*",
    "-C",
    `${data}/git/origin.git`,
    "fsck",
    "--full",
    "--strict",
  ]);
  t.equal(git.status, 0, "git finds its repository sound on the other node");
});
