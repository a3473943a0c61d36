/** Descriptors are a cache: many more objects than a process may have open are created, linked, removed, verified and brought up to date. */
import { readdirSync } from "node:fs";
import t, { type Test } from "tap";
import type { VerifyResult } from "../../core/filesystem/control.ts";
import { becomesEqual, generation, type LabNode, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const MOST = 1024;
const lab = makeLab(`/tmp/holdfast-descriptors-${process.pid}`, 21000 + (process.pid % 20000));
const { n1, n2 } = lab;
t.teardown(() => lab.close());

const opened = ({ process: child }: LabNode): number => readdirSync(`/proc/${child?.pid}/fd`).length;

async function isSound(t: Test, when: string): Promise<void> {
  t.same(await becomesEqual(n1, n2), [], `${when}: the copies are equal`);
  const { result } = await n1.must({ op: "verify" });
  const { differences, objects } = result as VerifyResult;
  t.same(differences.slice(0, 10), [], `${when}: verify finds nothing`);
  t.ok(objects > 2 * MOST, `${objects} objects`);
  for (const node of [n1, n2])
    t.ok(
      opened(node) < MOST * 0.9,
      `${when}: ${node.name} has ${opened(node)} descriptors open, and may have ${MOST}`,
    );
  t.same(
    n2.logs.filter((text) => text.includes("failed")),
    [],
    `${when}: nothing failed on SECOND`,
  );
}

t.test("more objects than descriptors", async (t) => {
  n1.openFiles = MOST;
  n2.openFiles = MOST;
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  // Directories stay introduced; a file that lost the name by which it was known is reached by none; a fifo is made, then opened.
  const from = n1.reports.length;
  await shell(
    n1.directory,
    `seq -f d%g 700 | xargs mkdir; seq -f p%g 700 | xargs mkfifo; seq -f d%g/f 700 | xargs touch
     mkdir other; for i in $(seq 700); do echo $i > f$i; done; cp -al f* other; rm f*
     for i in $(seq 700); do echo $i >> other/f$i; done`,
  );
  // Open, and its last name goes: what SECOND had put aside must be there for what is written afterwards.
  await shell(
    n1.directory,
    "exec 3>>other/f1 4>>other/f2; echo new > replacing; rm other/f1; mv replacing other/f2; echo late >&3; echo late >&4",
  );
  await isSound(t, "while it was followed");
  t.same(n1.reports.slice(from), [], "the connection lasted");

  await n2.kill();
  await n1.reported("peerGone", from);
  await n1.must({ op: "goAlone", generations: generation("g2", "g1") });
  await shell(
    n1.directory,
    `mkdir new; mv d* new; rm p*; ln other/* new; rm other/f*; for i in $(seq 700); do echo new > new/d$i/f; done; for i in $(seq 100); do ln -s x new/d$i/s; done`,
  );
  const again = n1.reports.length;
  await n2.start();
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g1") });
  await n1.reported("inSync", again);
  await isSound(t, "after a reintegration");
  t.notOk(
    n1.reports.slice(again).some(({ kind }) => kind === "peerGone"),
    "by one connection",
  );
  t.end();
});
