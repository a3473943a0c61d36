/** Flags that forbid changes, chattr(1): what the primary did all the same, before it set them or because they allow it, reaches the secondary (trap 11). */
import t from "tap";
import type { VerifyResult } from "../../core/filesystem/control.ts";
import { generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-replication-flags-${process.pid}`, 21000 + (process.pid % 20000));
const { n1, n2 } = lab;
t.teardown(async () => {
  // Nobody can remove them otherwise.
  for (const node of [n1, n2]) await node.close();
  for (const { directory } of [n1, n2]) await shell(directory, "chattr -R -i -a .");
  await lab.close();
});

/** What differs on the disks: the kernel may know a time that it could not tell any more. Times follow their data within two seconds. */
async function becomesEqual(): Promise<VerifyResult["differences"]> {
  for (let tries = 0; ; tries++) {
    const { result } = await n1.must({ op: "verify" });
    const { differences } = result as VerifyResult;
    if (differences.length === 0 || tries === 6) return differences;
    await Bun.sleep(500);
  }
}

t.test("set while times are still to be told; appended to; names in an append-only directory", async (t) => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  await shell(
    n1.directory,
    `mkdir fixed log; echo one > fixed/f; echo one > growing; : > empty; head -c 300000 /dev/urandom > large
     chattr +i fixed/f fixed empty large; chattr +a growing log; echo two >> growing; echo x > log/a; ln log/a log/b`,
  );
  t.same(await becomesEqual(), []);
  t.notOk(
    n1.reports.some(({ kind }) => kind === "peerGone"),
    "the secondary could do all of it",
  );
});

t.test("and what was changed while they were parted", async (t) => {
  await lab.part();
  await n1.must({ op: "goAlone", generations: generation("g2", "g1") });
  await shell(
    n1.directory,
    `chattr -i fixed fixed/f large; echo two > fixed/f; ln fixed/f second; mv fixed/f fixed/h; rm empty || { chattr -i empty; rm empty; }
     head -c 300000 /dev/urandom > large; echo three >> growing; echo y > log/c; chattr +i fixed/h large fixed`,
  );
  const before = n2.reports.length;
  await n2.start();
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g1") });
  await n2.reported("inSync", before);
  t.same(await becomesEqual(), []);
});
