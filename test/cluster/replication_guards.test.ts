/** What a replication process refuses to begin with, what it cleans up, and what a full disk on SECOND leads to. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-replication-guards-${process.pid}`, 21000 + (process.pid % 20000));
const { n1, n2 } = lab;
const g1 = generation("g1");
t.teardown(async () => {
  await n2.kill();
  for (const path of ["disk/data", "disk"]) spawnSync("umount", ["-l", join(n2.base, path)]);
  await lab.close();
});
t.before(async () => {
  await n1.start();
  await n2.start();
});

t.test("someone writes beside us: open files are named and refused (trap 12)", async (t) => {
  const child = spawn("sleep", ["30"], { cwd: n1.directory, stdio: "ignore" });
  await Bun.sleep(100);
  const refused = await n1.ask({ op: "serve", alone: true, generations: g1 });
  t.equal(refused.ok, false);
  t.match(refused.detail, new RegExp(`sleep \\(pid ${child.pid}`));
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
  t.end();
});

t.test("a directory that must not be empty, one that is not there, and a symbolic link", async (t) => {
  const [path] = n1.config.paths;
  await n1.must({ op: "configure", config: { ...n1.config, paths: [{ ...path!, notEmpty: true }] } });
  const empty = await n1.ask({ op: "serve", alone: true, generations: g1 });
  t.match(empty, { ok: false, detail: /is its disk mounted/ });
  await n1.must({
    op: "configure",
    config: { ...n1.config, paths: [{ ...path!, path: `${path!.path}-not` }] },
  });
  t.match(await n1.ask({ op: "serve", alone: true, generations: g1 }), {
    ok: false,
    detail: /does not exist/,
  });
  symlinkSync(path!.path, `${path!.path}-link`);
  await n1.must({
    op: "configure",
    config: { ...n1.config, paths: [{ ...path!, path: `${path!.path}-link` }] },
  });
  for (const request of [
    { op: "serve", alone: true, generations: g1 } as const,
    { op: "follow", full: true, sacrifice: false, generations: g1 } as const,
  ])
    t.match(await n1.ask(request), { ok: false, detail: `name ${path!.path} in module.yaml` });
  await n1.must({ op: "configure", config: n1.config });
  t.end();
});

t.test("a request that is malformed is refused by name, and the process goes on", async (t) => {
  const wrong = { op: "configure", config: { ...n1.config, timeoutMs: "soon" } } as never;
  t.match(await n1.ask(wrong), { ok: false, detail: /config.timeoutMs/ });
  t.match(await n1.ask({ op: "explode" } as never), { ok: false });
  t.end();
});

t.test("kill -9 leaves a dead mount, which the next process clears; what was written is there", async (t) => {
  await n1.must({ op: "serve", alone: true, generations: g1 });
  await shell(n1.directory, "echo kept > kept; sync kept");
  await n1.kill();
  t.throws(() => readdirSync(n1.directory), /endpoint|ENOTCONN/i);
  await n1.start();
  await n1.must({ op: "serve", alone: true, generations: g1 });
  t.equal(readFileSync(join(n1.directory, "kept"), "utf8"), "kept\n");
  t.end();
});

t.test(
  "SECOND's disk is full: PRIM is told and goes on, SECOND says why and comes back (trap 8)",
  async (t) => {
    const disk = join(n2.base, "disk");
    mkdirSync(disk);
    t.equal(spawnSync("mount", ["-t", "tmpfs", "-o", "size=20m", "tmpfs", disk]).status, 0);
    const directory = join(disk, "data");
    mkdirSync(directory);
    writeFileSync(join(disk, "filler"), Buffer.alloc(10_000_000));
    await n2.must({
      op: "configure",
      config: { ...n2.config, paths: [{ ...n2.config.paths[0]!, path: directory }] },
    });
    await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
    await n1.reported("inSync");
    const [a, b] = [n1.reports.length, n2.reports.length];
    const write = shell(n1.directory, "head -c 12000000 /dev/urandom > big; sync big");
    t.match(await n2.reported("diskFailed", b), { detail: /ENOSPC/ });
    t.match(await n1.reported("peerGone", a), { cause: /could not apply.*ENOSPC/ });
    await n1.must({ op: "goAlone", generations: generation("g2", "g1") });
    await write;
    rmSync(join(disk, "filler"));
    const [c, d] = [n1.reports.length, n2.reports.length];
    await n2.must({ op: "follow", full: false, sacrifice: false, generations: g1 });
    await n2.reported("inSync", d);
    await n1.reported("inSync", c);
    t.same(await becomesEqual(n1, { directory }), []);
    writeFileSync(join(n1.directory, "after"), "x");
    t.end();
  },
);

t.test("stop: who keeps the mount busy is killed, and the directory is as it was", async (t) => {
  const child = spawn("sleep", ["30"], { cwd: n1.directory, stdio: "ignore" });
  await Bun.sleep(100);
  await n1.must({ op: "stop" });
  t.ok(n1.logs.some((line) => line.includes(`(pid ${child.pid}) still uses`)));
  t.equal(readFileSync(join(n1.directory, "after"), "utf8"), "x");
  await n2.must({ op: "stop" });
  t.equal(readFileSync(join(n2.base, "disk/data/after"), "utf8"), "x");
  t.end();
});
