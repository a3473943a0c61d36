/** Trap 12a: a copy that was put back to an older state looks equal by its generation, and is not. */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { becomesEqual, generation, type LabNode, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-restored-${process.pid}`, 21000 + (process.pid % 20000));
const { n1, n2 } = lab;
t.teardown(() => lab.close());
const together = generation("g1");

/** Copies the state or the data of a stopped node aside, or back. */
const snapshot = (from: string, to: string): void => {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true, preserveTimestamps: true });
};
const parts = (node: LabNode): { live: string; kept: string }[] => [
  { live: node.directory, kept: join(node.base, "kept-data") },
  { live: node.config.stateDir, kept: join(node.base, "kept-state") },
];

async function follow(full = false): Promise<void> {
  const from = n2.reports.length;
  await n2.must({ op: "follow", full, sacrifice: false, generations: full ? generation("") : together });
  await n2.reported("inSync", from);
}

t.test("a secondary that was put back is copied in full, whatever its marks say", async (t) => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: together });
  await follow(true);
  await shell(n1.directory, "echo old > old; echo first > changes; sync -f .");
  await n1.pointPasses();
  await n2.must({ op: "exit" });
  for (const { live, kept } of parts(n2)) snapshot(live, kept);
  await n2.start();
  await follow();
  await shell(n1.directory, "echo second > changes; echo new > new; mv old older; sync -f .");
  await n1.pointPasses();
  await n2.must({ op: "exit" });
  for (const { live, kept } of parts(n2)) snapshot(kept, live);
  const moved = n1.finished.length;
  await n2.start();
  await follow();
  t.same(await becomesEqual(n1, n2), []);
  t.equal(n1.finished[moved]?.full, true);
  t.match(
    n1.logs.join("\n"),
    /the peer's copy was restored: its durable point is \d+, this node remembers \d+/,
  );
  t.match(n2.logs.join("\n"), /the primary copies everything: the peer's copy was restored/);
});

t.test("the same when nothing else than its data was put back", async (t) => {
  await n2.must({ op: "exit" });
  snapshot(n2.directory, join(n2.base, "kept-data"));
  await n2.start();
  await follow();
  await shell(n1.directory, "echo third > changes; sync -f .");
  await n1.pointPasses();
  await n2.must({ op: "exit" });
  snapshot(join(n2.base, "kept-data"), n2.directory);
  const moved = n1.finished.length;
  await n2.start();
  await follow();
  t.same(await becomesEqual(n1, n2), []);
  t.equal(n1.finished[moved]?.full, true);
  t.match(
    n2.logs.join("\n"),
    /a replicated directory was restored: it is at durable point \d+, this node's state at \d+/,
  );
});

t.test("data without their record are noticed", async (t) => {
  await n2.must({ op: "exit" });
  rmSync(join(n2.directory, ".holdfast/copy"));
  const moved = n1.finished.length;
  await n2.start();
  await follow();
  t.match(n2.logs.join("\n"), /carries no \.holdfast\/copy/);
  t.equal(n1.finished[moved]?.full, true);
});

t.test("a copy that was not put back goes on where it was", async (t) => {
  await n2.must({ op: "exit" });
  await shell(n1.directory, "echo small > small; sync -f .").catch(() => undefined);
  await n1.must({ op: "goAlone", generations: together });
  const moved = n1.finished.length;
  await n2.start();
  await follow();
  t.same(await becomesEqual(n1, n2), []);
  t.not(n1.finished[moved]?.full, true);
});

t.test(
  "a primary that was put back is no source for what its peer had, unless it is told to be",
  async (t) => {
    await n2.must({ op: "exit" });
    await n1.must({ op: "exit" });
    for (const { live, kept } of parts(n1)) snapshot(live, kept);
    await n1.start();
    await n2.start();
    await n1.must({ op: "serve", alone: true, generations: together });
    await follow();
    await shell(n1.directory, "echo precious > precious; sync -f .");
    await n1.pointPasses();
    await n2.must({ op: "exit" });
    await n1.must({ op: "exit" });
    for (const { live, kept } of parts(n1)) snapshot(kept, live);
    const from = n2.reports.length;
    await n1.start();
    await n2.start();
    await n1.must({ op: "serve", alone: true, generations: together });
    await n2.must({ op: "follow", full: false, sacrifice: false, generations: together });
    const refused = await n2.reported("refused", from);
    t.match(refused, { relation: "unrelated", detail: /this copy was restored/ });
    t.match(await shell(n2.directory, "cat precious"), "precious\n", "nothing of the newer copy was touched");
    await follow(true);
    t.same(await becomesEqual(n1, n2), []);
  },
);
