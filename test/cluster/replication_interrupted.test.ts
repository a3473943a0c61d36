/** A full copy that is interrupted goes on where it was, whoever fell silent; another disk, or a person's word, begins it anew. */
import { rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const FILES = 2000;
const BYTES = FILES * 100_000;
const port = 21000 + (process.pid % 20000);
const lab = makeLab(`/tmp/holdfast-interrupted-${process.pid}`, port, { bandwidth: BYTES / 35 });
const { n1, n2 } = lab;
const blank = generation("");

/** The lan between the two, which can be cut. */
const cables = new Set<Socket>();
const lan = createServer((near) => {
  const far = connect(port + 1, "127.0.0.1");
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    cables.add(from);
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => {
      to.destroy();
      cables.delete(from);
    });
  }
});
const cut = (): void => {
  for (const cable of cables) cable.destroy();
};
n2.config.dial = [{ address: "127.0.0.1", port: port + 7 }];

t.teardown(async () => {
  cut();
  lan.close();
  await lab.close();
});

let began = 0;
/**
 * Waits until a new copy has all names and has moved something, and for so many durable points since; returns what it had to move at its
 * beginning. The first may have begun with the names: what was moved is settled by the second at the latest, for PRIM. SECOND hears of that
 * in the stream, before the third: what is under way when the link is cut is lost, and it tells what it holds unsettled.
 */
async function copied(points: number): Promise<number> {
  const isNew = (): boolean => {
    const copy = n1.reintegration;
    return copy?.phase === "data" && copy.startedAt !== began && copy.bytesDone > 0;
  };
  await n1.until(isNew, "all names");
  const before = n1.counters!.durablePoints;
  const { bytesTotal, startedAt } = n1.reintegration!;
  began = startedAt;
  await n1.until(() => n1.counters!.durablePoints >= before + points, `${points} durable points`, 60_000);
  return bytesTotal;
}

/** The next reintegration after report number `from` of the source: is everything copied? */
async function begins(from: number): Promise<boolean> {
  const report = await n1.reported("reintegrating", from);
  return report.kind === "reintegrating" && report.full;
}

const serve = (): Promise<unknown> => n1.must({ op: "serve", alone: true, generations: generation("g1") });
const follow = (full: boolean): Promise<unknown> =>
  n2.must({ op: "follow", full, sacrifice: false, generations: blank });

t.test("a first copy goes on after the lan, SECOND, and PRIM were lost", async (t) => {
  lan.listen(port + 7);
  await shell(
    n1.directory,
    `i=0; while [ $i -lt 20 ]; do mkdir d$i; j=0; while [ $j -lt ${FILES / 20} ]; do head -c 100000 /dev/urandom > d$i/$j; j=$((j+1)); done; i=$((i+1)); done`,
  );
  await n1.start();
  await n2.start();
  await serve();
  await follow(false);
  t.equal(await begins(0), true, "at first everything is copied");
  // The first durable point after the names makes the copy resumable, the next settles what was moved meanwhile.
  t.ok((await copied(3)) >= BYTES);

  let from = n1.reports.length;
  cut();
  t.equal(await begins(from), false, "after the lan was cut it goes on");
  const afterCut = await copied(2);
  t.ok(afterCut < BYTES, `${afterCut} bytes were left`);

  await shell(
    n1.directory,
    "echo live > d3/live; mv d4 moved; rm d5/7; mkdir new; echo in > new/in; sync -f .",
  );
  from = n1.reports.length;
  await n2.kill();
  await n1.reported("peerGone", from);
  await n2.start();
  await follow(false);
  t.equal(await begins(from), false, "after SECOND was killed it goes on");
  const afterSecond = await copied(1);
  t.ok(afterSecond < afterCut, `${afterSecond} bytes were left`);

  from = n1.reports.length;
  await n1.kill();
  await n1.start();
  await serve();
  t.equal(await begins(from), false, "after PRIM was killed it goes on");
  await n1.until(() => n1.reports.slice(from).some(({ kind }) => kind === "inSync"), "inSync", 60_000);
  const last = n1.finished.at(-1)!;
  t.equal(last.full, false);
  t.ok(last.bytes < afterSecond, `${last.bytes} bytes were left`);
  t.same(await becomesEqual(n1, n2), []);
});

t.test("when a person asks for a full copy again, it is one, also of a copy that is under way", async (t) => {
  let from = n1.reports.length;
  await follow(true);
  t.equal(await begins(from), true);
  await copied(1);
  from = n1.reports.length;
  await follow(true);
  t.equal(await begins(from), true);
  t.ok((await copied(1)) > BYTES * 0.99);
});

t.test("another disk is copied in full", async (t) => {
  const from = n1.reports.length;
  await n2.must({ op: "exit" });
  rmSync(n2.config.stateDir, { recursive: true });
  await shell(n2.directory, "rm -rf .holdfast *");
  await n2.start();
  await follow(false);
  t.equal(await begins(from), true);
  t.ok((await copied(1)) > BYTES * 0.99);
});
