/** Trap 10: a path is not a file. An object with several names, or with none, loses the one by which it was known, in the midst of a reintegration. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-links-${process.pid}`, 21000 + (process.pid % 20000), {
  bandwidth: 4_000_000,
});
const { n1, n2 } = lab;
const [libc, constants] = ["libc", "constants"].map(
  (name) => new URL(`../../core/platform/linux/${name}.ts`, import.meta.url).pathname,
);
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
  await lab.part();
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

t.test(
  "trap 10: what lost its names while SECOND was away is used by who has it open, and what is made anew has the names it has then",
  async (t) => {
    await shell(n1.directory, "echo old > held; sync held");
    await lab.part();
    await n1.must({ op: "goAlone", generations: generation("g3", "g2", ["g1"]) });
    await shell(n1.directory, "head -c 12000000 /dev/urandom > slow1; ln -s there symlink");
    const [ready, go] = ["ready", "go"].map((name) => join(n1.base, name)) as [string, string];
    const holder = shell(
      n1.directory,
      `exec 3<>held; echo x >&3; ln held other; rm other held; : > ${ready}
     while [ ! -e ${go} ]; do sleep 0.02; done; echo y >&3`,
    );
    await n1.until(() => existsSync(ready), "the names are removed");
    const from = n1.reports.length;
    await n2.start();
    await n2.must({
      op: "follow",
      full: false,
      sacrifice: false,
      generations: generation("g2", null, ["g1"]),
    });
    await n1.until(() => (n1.reintegration?.bytesDone ?? 0) > 0, "data are copied");
    writeFileSync(go, "");
    await holder;
    await shell(n1.directory, "chown -h 5:6 symlink; ln -P symlink another; rm symlink");
    await n1.reported("inSync", from);
    t.equal(n1.finished.at(-1)!.full, false);
    t.same(await becomesEqual(n1, n2), []);
  },
);

t.test(
  "what was made without a name while SECOND was away is there under the name that it gets when both are equal",
  async (t) => {
    await lab.part();
    await n1.must({ op: "goAlone", generations: generation("g4", "g3", ["g2", "g1"]) });
    const code = `
    const { linkat, open, cString } = await import(${JSON.stringify(libc)});
    const { AT_SYMLINK_FOLLOW, O_RDWR, O_TMPFILE } = await import(${JSON.stringify(constants)});
    const fd = open(".", O_TMPFILE | O_RDWR, 0o644);
    require("node:fs").writeSync(fd, "made without a name");
    console.log("made");
    for await (const _ of console) break;
    if (linkat(-100, cString("/proc/self/fd/" + fd).address, -100, cString("named").address, AT_SYMLINK_FOLLOW) < 0) process.exit(1);`;
    const maker = Bun.spawn([process.execPath, "-e", code], {
      cwd: n1.directory,
      stdin: "pipe",
      stdout: "pipe",
    });
    await maker.stdout.getReader().read();
    const from = n1.reports.length;
    await n2.start();
    await n2.must({
      op: "follow",
      full: false,
      sacrifice: false,
      generations: generation("g3", null, ["g2", "g1"]),
    });
    await n1.reported("inSync", from);
    maker.stdin.write("go on\n");
    maker.stdin.end();
    t.equal(await maker.exited, 0);
    t.same(await becomesEqual(n1, n2), []);
  },
);
