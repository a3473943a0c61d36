/**
 * A replication process is replaced under the live mount: what an application that writes and syncs sees of it is a pause.
 */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { type Life, onRealNodes, SCRIPTS, startLife } from "./life.ts";
import { createMirror } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

/** What may run meanwhile: nothing that touches the application. The secondary was away for a moment, and that is told. */
const told = [...SCRIPTS.left, ...SCRIPTS.joined];
const KILLS = 10;
const METADATA_KILLS = 3;

/** Kills a node's replication process and waits until another is there; returns how long nothing was acknowledged, ms. */
async function replaced(life: Life, what: string): Promise<number> {
  const { n1 } = life;
  const before = life.pidOf(n1, "__replication");
  const began = performance.now();
  n1.signal(before, "SIGKILL");
  await until(
    `${what}: another process`,
    () =>
      life.ours(n1).some(({ pid, command }) => command.split(" ")[1] === "__replication" && pid !== before),
    5000,
    5,
  );
  const promised = life.acknowledged().length;
  await until(`${what}: writes are acknowledged`, () => life.acknowledged().length > promised, 10_000, 5);
  return performance.now() - began;
}

t.test(
  "the replication process of PRIM is killed ten times: the application sees nothing",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1 } = life;
    await life.writesGoOn("before");
    const app = life.application(n1);
    for (let kill = 1; kill <= KILLS; kill++) {
      const what = `kill ${kill}`;
      const pause = await replaced(life, what);
      t.ok(pause < 3000, `${what}: the application waited ${Math.round(pause)} ms`);
      t.equal(life.application(n1), app, `${what}: the application was not touched`);
      await life.comesTo(what, "PRIM Ready", "SECOND Ready", n1, 30_000);
      life.hooks(what, told, []);
    }
    life.nothingLost("after", n1);
    life.nothingLost("after", life.n2);
    await life.verified("after", n1);
  },
);

t.test(
  "no operation on names is carried out twice, and files that are open without a name survive",
  onRealNodes,
  async (t) => {
    const application = `${process.execPath} ${import.meta.dir}/live_names.ts DATA RECORD $HOLDFAST_NODE`;
    const life = await startLife(t, { application });
    const { n1 } = life;
    await life.writesGoOn("before");
    for (let kill = 1; kill <= KILLS; kill++) {
      const what = `kill ${kill}`;
      await replaced(life, what);
      await life.mirror.settled("PRIM", "SECOND", "30s");
      await Bun.sleep(Math.random() * 300);
      const failed = `${life.mirror.bed.dir}/n1.application`;
      t.notOk(existsSync(failed) && readFileSync(failed, "utf8"), `${what}: the application saw no error`);
      t.same(life.ran(n1), told, `${what}: no hook ran that touches it`);
    }
    life.nothingLost("after", n1);
    await life.verified("after", n1);
  },
);

t.test(
  "a change that was answered and not told yet when the replication process was killed reaches the secondary",
  onRealNodes,
  async (t) => {
    const application = `${process.execPath} ${import.meta.dir}/live_metadata.ts DATA RECORD $HOLDFAST_NODE`;
    const life = await startLife(t, { application });
    const { n1 } = life;
    await life.writesGoOn("before");
    for (let kill = 1; kill <= METADATA_KILLS; kill++) {
      const what = `kill ${kill}`;
      await Bun.sleep(Math.random() * 200);
      await replaced(life, what);
      await life.mirror.settled("PRIM", "SECOND", "30s");
      const failed = `${life.mirror.bed.dir}/n1.application`;
      t.notOk(existsSync(failed) && readFileSync(failed, "utf8"), `${what}: the application saw no error`);
      // Before the next one: its reintegration would mend what this one left out.
      await life.verified(what, n1);
    }
  },
);

t.test(
  "daemon and replication process of PRIM are killed, and the daemon is back in time",
  onRealNodes,
  async (t) => {
    const life = await startLife(t, { heartbeat: "{ interval: 200ms, timeout: 3s }" });
    const { n1 } = life;
    await life.writesGoOn("before");
    const app = life.application(n1);
    const daemon = life.pidOf(n1, "daemon");
    n1.signal(daemon, "SIGKILL");
    n1.signal(life.pidOf(n1, "__replication"), "SIGKILL");
    await until("it is gone", () => !life.ours(n1).some(({ pid }) => pid === daemon), 1000, 1);
    await n1.startDaemon();
    await life.writesGoOn("both are back");
    t.equal(life.application(n1), app, "the application was not touched");
    await life.comesTo("both are back", "PRIM Ready", "SECOND Ready", n1, 30_000);
    life.hooks("both are back", told, []);
    life.nothingLost("both are back", n1);
    await life.verified("both are back", n1);
  },
);

t.test(
  "the replication process dies just before its node: what was acknowledged is on the other",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2 } = life;
    await life.writesGoOn("before");
    await replaced(life, "replaced");
    await life.comesTo("replaced", "PRIM Ready", "SECOND Ready", n1, 30_000);
    n1.signal(life.pidOf(n1, "__replication"), "SIGKILL");
    await n1.powerCut();
    await life.mirror.answeredBy(n2);
    await life.writesGoOn("taken over", 15_000);
    life.nothingLost("taken over", n2);
  },
);

/** MiB in use on a node's disk. */
async function usedOf(node: Node): Promise<number> {
  const { stdout } = await node.exec(["df", "--output=used", "--block-size=1M", node.dataDir]);
  return Number(stdout.split("\n")[1]);
}

t.test("a removed file that was kept for the next process gives its space back", onRealNodes, async (t) => {
  const mirror = await createMirror({ diskMiB: 1024 });
  t.teardown(() => mirror.bed.destroy());
  await mirror.start();
  const { n1, n2, data } = mirror;
  const before = await Promise.all([usedOf(n1), usedOf(n2)]);
  const isFree = (node: Node, index: number) => async (): Promise<boolean> =>
    (await usedOf(node)) < before[index]! + 16;
  for (const what of ["removed", "removed, and closed later"]) {
    const holder = what === "removed" ? "" : `exec 9<${data}/large;`;
    const written = `dd if=/dev/zero of=${data}/large bs=1M count=128 conv=fsync status=none`;
    await n1.exec(["bash", "-ec", `${written}; ${holder} rm ${data}/large`]);
    await until(`${what}: free on PRIM`, isFree(n1, 0), 10_000, 100);
    await until(`${what}: free on SECOND`, isFree(n2, 1), 10_000, 100);
    t.pass(what);
  }
});
