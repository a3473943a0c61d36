/** Trap 10: a path is not a file. An object with several names loses the one by which it was known, in the midst of a reintegration. */
import t from "tap";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(120_000);
const lab = makeLab(`/tmp/holdfast-links-${process.pid}`, 21000 + (process.pid % 20000), {
  bandwidth: 4_000_000,
});
const { n1, n2 } = lab;
t.teardown(() => lab.close());

t.test("trap 10: what is dirty is found by another name, whenever the known one goes", async (t) => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  await shell(
    n1.directory,
    "head -c 1000 /dev/zero > slow1; for i in 1 2 3 4 5 6 7 8; do echo old > later$i; done; sync -f .",
  );
  t.same(await becomesEqual(n1, n2), []);
  const points = n1.counters?.durablePoints ?? 0;
  await n1.until(() => (n1.counters?.durablePoints ?? 0) >= points + 2, "two durable points");
  const gone = n1.reports.length;
  await n2.kill();
  await n1.reported("peerGone", gone);
  await n1.must({ op: "goAlone", generations: generation("g2", "g1") });
  // The first is looked for in the whole tree before anything is copied; the others lose one of their names after that, some of them the known one.
  await shell(
    n1.directory,
    `head -c 12000000 /dev/urandom > slow1; ln slow1 slow2; rm slow2
     for i in 1 2 3 4 5 6 7 8; do head -c 1000000 /dev/urandom > later$i; ln later$i other$i; done; echo x > replacing`,
  );
  const from = n1.reports.length;
  await n2.start();
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g1") });
  await n1.reported("reintegrating", from);
  await n1.until(() => (n1.reintegration?.bytesDone ?? 0) > 0, "data are copied");
  await shell(
    n1.directory,
    "rm later1 other2 later3 other4 later5 other6; mv replacing later7; ln -f slow1 other8",
  );
  await n1.reported("inSync", from);
  t.same(await becomesEqual(n1, n2), []);
});
