/** Loss of a peer: what is acknowledged, what is held, and who has what afterwards. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-replication-loss-${process.pid}`, 21000 + (process.pid % 20000));
const { n1, n2 } = lab;
t.teardown(() => lab.close());

/** A write with fsync in a process of its own; resolves to its milliseconds once fsync returned. */
async function durableWrite(directory: string, name: string, text: string): Promise<number> {
  const begun = performance.now();
  await shell(directory, `printf %s '${text}' | dd of=${name} conv=fsync 2>/dev/null`);
  return performance.now() - begun;
}

t.before(async () => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  await n2.reported("inSync");
});

t.test("fsync returns only when the peer has synced (traps 3 and 9: the slow peer)", async (t) => {
  n2.process!.kill("SIGSTOP");
  let returned = false;
  const write = durableWrite(n1.directory, "slow", "held back").then(() => {
    returned = true;
  });
  await Bun.sleep(500);
  t.equal(returned, false, "a stopped peer acknowledges nothing");
  n2.process!.kill("SIGCONT");
  await write;
  t.equal(readFileSync(join(n2.directory, "slow"), "utf8"), "held back");
  t.end();
});

t.test("a peer that hangs: held, reported in time, and released by goAlone only (trap 4)", async (t) => {
  const from = n1.reports.length;
  n2.process!.kill("SIGSTOP");
  let returned = false;
  const begun = performance.now();
  const write = durableWrite(n1.directory, "alone", "written alone").then(() => {
    returned = true;
  });
  await n1.reported("peerGone", from);
  const waited = performance.now() - begun;
  t.ok(waited < n1.config.timeoutMs + 1500, `the peer was given up after ${Math.round(waited)} ms`);
  await Bun.sleep(700);
  t.equal(returned, false, "nothing is acknowledged before this node is durably alone");
  await n1.must({ op: "goAlone", generations: generation("g2", "g1") });
  await write;
  t.ok((await durableWrite(n1.directory, "more", "x")) < 1000, "alone, nobody is waited for");
  n2.process!.kill("SIGCONT");
  const before = n2.reports.length;
  await n2.reported("inSync", before);
  t.same(await becomesEqual(n1, n2), []);
  t.end();
});

t.test(
  "kill -9 of PRIM: SECOND has everything that was acknowledged, and the old PRIM is brought up to date",
  async (t) => {
    await shell(n1.directory, "mkdir -p db; echo one > db/one; mv db/one db/uno; ln -s uno db/link");
    await durableWrite(n1.directory, "db/commit", "acknowledged");
    await n1.kill();
    await n2.must({ op: "sealStream" });
    await n2.must({ op: "serve", alone: true, generations: generation("g3", "g2", ["g1"]) });
    t.equal(readFileSync(join(n2.directory, "db/commit"), "utf8"), "acknowledged");
    t.equal(readFileSync(join(n2.directory, "db/link"), "utf8"), "one\n");
    await shell(
      n2.directory,
      "echo new primary > db/new; rm db/link; mv db/uno db/three; echo appended >> slow",
    );
    await n1.start();
    await n1.must({
      op: "follow",
      full: false,
      sacrifice: false,
      generations: generation("g2", null, ["g1"]),
    });
    const from = n2.reports.length;
    await n1.until(() => n1.hello !== null, "hello");
    await n2.reported("inSync", Math.max(0, from - 3));
    t.same(await becomesEqual(n1, n2), []);
    t.equal(n2.finished.at(-1)?.full, false);
    t.end();
  },
);

t.test("a swap in good order: PRIM drains and follows, SECOND serves, without a copy", async (t) => {
  await shell(n2.directory, "for i in $(seq 200); do echo $i > s$i; done; rm s7");
  await n2.must({ op: "stop" });
  await n1.must({ op: "sealStream" });
  await n1.must({ op: "serve", alone: true, generations: generation("g4", "g3", ["g2"]) });
  const [a, b] = [n1.reports.length, n2.reports.length];
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g3", null, ["g2"]) });
  await n1.reported("inSync", a);
  await n2.reported("inSync", b);
  t.same(await becomesEqual(n1, n2), []);
  t.end();
});

t.test(
  "split brain: refused; then given way to, with what the loser wrote kept file by file (G5)",
  async (t) => {
    const from = n1.reports.length;
    await n2.kill();
    await n1.reported("peerGone", from);
    await n1.must({ op: "goAlone", generations: generation("g5", "g4", ["g3"]) });
    await shell(n1.directory, "echo winner > both; echo winner > won");
    await n2.start();
    // Cut off, promoted by force, and written to: what a partition without a witness leads to.
    await n2.must({ op: "serve", alone: true, generations: generation("g5b", "g4", ["g3"]) });
    await shell(
      n2.directory,
      "echo loser > both; mkdir -p lost/deep; echo precious > lost/deep/file; echo x >> slow; sync -f .",
    );
    await n2.must({ op: "stop" });

    let told = n1.reports.length;
    await n2.must({
      op: "follow",
      full: false,
      sacrifice: false,
      generations: generation("g5b", "g4", ["g3"]),
    });
    t.match(await n1.reported("refused", told), { relation: "split-brain" });
    t.match(readFileSync(join(n2.directory, "both"), "utf8"), "loser");

    told = n1.reports.length;
    const heard = n2.reports.length;
    await n2.must({
      op: "follow",
      full: false,
      sacrifice: true,
      generations: generation("g5b", "g4", ["g3"]),
    });
    await n2.reported("inSync", heard);
    await n1.reported("inSync", told);
    t.same(await becomesEqual(n1, n2), []);
    const saved = join(n2.config.savedDir, readdirSync(n2.config.savedDir)[0]!);
    t.equal(readFileSync(join(saved, "0/both"), "utf8"), "loser\n");
    t.equal(readFileSync(join(saved, "0/lost/deep/file"), "utf8"), "precious\n");
    const report = JSON.parse(readFileSync(join(saved, "report.json"), "utf8")) as {
      objects: { path: string }[];
    };
    t.ok(report.objects.some(({ path }) => path === "0/slow"));
    t.notOk(
      report.objects.some(({ path }) => path === "0/db/three"),
      "what it did not change is not kept",
    );
    t.end();
  },
);
