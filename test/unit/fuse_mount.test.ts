/** The life of a mount: what it hides, flushes, refuses, and leaves behind. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import t from "tap";
import { abortConnection } from "../../core/filesystem/mounts/mount.ts";
import { topMountAt } from "../../core/filesystem/mounts/mount_table.ts";
import { rules } from "../conformance/posix.ts";
import { cannotMount, mountLocally, removeMounted } from "../fixtures/mounted.ts";

const skip = cannotMount ?? false;

/** A new directory, removed at the end of the test, and a descriptor that leads to it underneath any mount. */
function directory(tt: { teardown(action: () => void): unknown }): { path: string; under: string } {
  const path = fs.mkdtempSync(join(tmpdir(), `holdfast-mount-${process.pid}-`));
  const fd = fs.openSync(path, "r");
  tt.teardown(() => {
    fs.closeSync(fd);
    removeMounted(path);
  });
  return { path, under: `/proc/${process.pid}/fd/${fd}` };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

await t.test("our own directory and attribute are invisible", { skip }, async (tt) => {
  const { path, under } = directory(tt);
  fs.writeFileSync(`${path}/before`, "");
  const mounted = await mountLocally({ path });
  fs.writeFileSync(`${path}/f`, "");
  tt.same(fs.readdirSync(path).sort(), ["before", "f"]);
  tt.ok(fs.existsSync(`${under}/.holdfast`));
  tt.notOk(fs.existsSync(`${path}/.holdfast`));
  tt.throws(() => fs.mkdirSync(`${path}/.holdfast`), { code: "EPERM" });
  tt.throws(() => fs.renameSync(`${path}/f`, `${path}/.holdfast`), { code: "EPERM" });
  tt.throws(() => fs.renameSync(`${path}/.holdfast`, `${path}/g`), { code: "ENOENT" });
  const getfattr = (file: string): string =>
    execFileSync("getfattr", ["--absolute-names", "-d", "-m", "-", file], { encoding: "utf8" });
  tt.match(getfattr(`${under}/f`), /trusted\.holdfast/);
  tt.equal(getfattr(`${path}/f`), "");
  tt.equal(spawnSync("setfattr", ["-n", "trusted.holdfast", "-v", "x", `${path}/f`]).status, 1);
  tt.equal(spawnSync("getfattr", ["-n", "trusted.holdfast", `${path}/f`]).status, 1);
  await mounted.stop();
});

await t.test(
  "trap 10, 12b: an object keeps its inode number over restarts, and a reused backing number is another object",
  { skip },
  async (tt) => {
    const { path, under } = directory(tt);
    fs.writeFileSync(`${path}/before`, "");
    let mounted = await mountLocally({ path });
    fs.writeFileSync(`${path}/f`, "");
    const numbers = (): number[] => [fs.statSync(`${path}/before`).ino, fs.statSync(`${path}/f`).ino];
    const first = numbers();
    await mounted.stop();
    mounted = await mountLocally({ path });
    tt.same(numbers(), first);
    const fd = fs.openSync(`${path}/f`, "r");
    const backing = fs.statSync(`${under}/f`).ino;
    fs.closeSync(fd);
    fs.unlinkSync(`${path}/f`);
    fs.writeFileSync("/proc/sys/vm/drop_caches", "2");
    for (let i = 0; i < 200 && !fs.existsSync(`${under}/same`); i++) {
      fs.writeFileSync(`${path}/n${i}`, "");
      if (fs.statSync(`${under}/n${i}`).ino === backing) fs.renameSync(`${path}/n${i}`, `${path}/same`);
    }
    if (fs.existsSync(`${path}/same`)) tt.not(fs.statSync(`${path}/same`).ino, first[1]);
    const copied = spawnSync("cp", ["-a", `${under}/before`, `${under}/copy`]);
    tt.equal(copied.status, 0);
    tt.not(fs.statSync(`${path}/copy`).ino, first[0]);
    await mounted.stop();
  },
);

await t.test("trap 26: what the kernel forgets is let go", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  for (let i = 0; i < 500; i++) fs.writeFileSync(`${path}/f${i}`, "x");
  fs.readdirSync(path, { withFileTypes: true });
  execFileSync("ls", ["-l", path]);
  tt.ok((await mounted.objects()) > 500);
  for (let i = 0; i < 250; i++) fs.unlinkSync(`${path}/f${i}`);
  fs.writeFileSync("/proc/sys/vm/drop_caches", "2");
  await sleep(300);
  tt.ok((await mounted.objects()) < 20);
  tt.ok(fs.readdirSync(`/proc/${mounted.pid}/fd`).length < 700);
  tt.equal(fs.readFileSync(`${path}/f400`, "utf8"), "x");
  await mounted.stop();
});

await t.test("stopping hands over every page that was written", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  const data = Buffer.alloc(8 << 20, "page");
  fs.writeFileSync(`${path}/f`, data);
  tt.equal(await mounted.stop(), "");
  tt.notOk(topMountAt(path));
  tt.ok(fs.readFileSync(`${path}/f`).equals(data));
});

await t.test("G1: pages that nobody synced are handed over within seconds", { skip }, async (tt) => {
  const { path, under } = directory(tt);
  const mounted = await mountLocally({ path });
  const fd = fs.openSync(`${path}/f`, "w");
  fs.writeSync(fd, "unsynced");
  await sleep(2500);
  tt.equal(fs.readFileSync(`${under}/f`, "utf8"), "unsynced");
  fs.closeSync(fd);
  await mounted.stop();
});

await t.test("trap 21: a busy mount is not unmounted, and who holds it is named", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  const holder = spawn("sleep", ["600"], { cwd: path, stdio: "ignore" });
  tt.teardown(() => holder.kill("SIGKILL"));
  await mounted.beginStop(new RegExp(`busy: ${holder.pid} sleep ${path}`));
  tt.ok(topMountAt(path));
  holder.kill("SIGKILL");
  await mounted.stop();
  tt.notOk(topMountAt(path));
});

await t.test(
  "trap 21: a process in a mount namespace of its own counts; an idle namespace does not",
  { skip },
  async (tt) => {
    const { path, under } = directory(tt);
    const mounted = await mountLocally({ path });
    const command = `exec 3> ${path}/f; echo data >&3; : > ${path}/written; read line; exec 3>&-; read line`;
    const container = spawn("unshare", ["-m", "--propagation", "private", "sh", "-c", command], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    tt.teardown(() => container.kill("SIGKILL"));
    while (!fs.existsSync(`${under}/written`)) await sleep(20);
    await mounted.beginStop(new RegExp(`busy: ${container.pid} sh ${path}/f`));
    tt.ok(fs.existsSync(`/proc/${mounted.pid}`));
    tt.equal(fs.readFileSync(`${under}/f`, "utf8"), "data\n");
    container.stdin.write("\n");
    await mounted.stop();
    tt.equal(container.exitCode, null);
  },
);

await t.test("trap 31c: nobody else unmounts it, idle or not; we do", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  const others = spawnSync("umount", [path], { encoding: "utf8" });
  tt.equal(others.status, 32, `umount(8) is refused: ${others.stderr}`);
  fs.writeFileSync(`${path}/f`, "x");
  tt.ok(topMountAt(path), "it is there, and serves");
  await mounted.stop();
  tt.notOk(topMountAt(path), "a stop takes it away");
});

await t.test("a dead mount left by kill -9 is cleared at the next start", { skip }, async (tt) => {
  const { path } = directory(tt);
  const first = await mountLocally({ path });
  fs.writeFileSync(`${path}/f`, "x");
  execFileSync("sync", [`${path}/f`]);
  await first.kill();
  tt.throws(() => fs.readdirSync(path), { code: "ENOTCONN" });
  const second = await mountLocally({ path });
  tt.equal(fs.readFileSync(`${path}/f`, "utf8"), "x");
  await second.stop();
});

await t.test("a directory with other file systems inside is refused by name", { skip }, async (tt) => {
  const { path } = directory(tt);
  fs.mkdirSync(`${path}/inner`);
  execFileSync("mount", ["-t", "tmpfs", "none", `${path}/inner`]);
  tt.teardown(() => spawnSync("umount", [`${path}/inner`]));
  const runner = new URL("../fixtures/local_mount.ts", import.meta.url).pathname;
  const refused = spawnSync(process.execPath, [runner, path, "fsync"], { encoding: "utf8" });
  spawnSync("umount", [`${path}/inner`]);
  tt.not(refused.status, 0);
  tt.match(refused.stderr, new RegExp(`other file systems are mounted inside it \\(${path}/inner\\)`));
  tt.notOk(topMountAt(path));
});

await t.test("trap 30: a server that hangs is aborted, and who waits gets an error", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  const device = topMountAt(path)?.device ?? "";
  process.kill(mounted.pid, "SIGSTOP");
  const waiting = spawn("touch", [`${path}/new`], { stdio: "ignore" });
  const ended = new Promise<number | null>((resolve) => waiting.on("exit", resolve));
  await sleep(200);
  tt.equal(waiting.exitCode, null);
  abortConnection(Number(device.split(":")[1]));
  tt.equal(await ended, 1);
  process.kill(mounted.pid, "SIGCONT");
  await mounted.kill();
});

await t.test("trap 31: a server killed while it flushes its own mount holds nobody", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  const writer = spawn(
    "sh",
    ["-c", `while dd if=/dev/zero of="${path}/f" bs=1M count=64 conv=notrunc; do :; done`],
    {
      stdio: "ignore",
    },
  );
  const ended = new Promise((resolve) => writer.on("exit", resolve));
  const flushes = () =>
    fs.readdirSync(`/proc/${mounted.pid}/task`).some((thread) => {
      const at = fs.readFileSync(`/proc/${mounted.pid}/task/${thread}/wchan`, "utf8");
      return at.startsWith("wb_wait") || at.startsWith("sync_inodes") || at.startsWith("inode_wait");
    });
  const deadline = Date.now() + 10_000;
  while (!flushes() && Date.now() < deadline);
  tt.ok(Date.now() < deadline, "the server was seen waiting for its own mount");
  await mounted.kill();
  const held = sleep(5000).then(() => "still held after 5 s");
  tt.not(await Promise.race([ended, held]), "still held after 5 s", "the writer got its error");
  tt.throws(() => fs.readdirSync(path), { code: "ENOTCONN" });
});

await t.test("trap 31a: locks are the kernel's: they need no server", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  const script = `import fcntl, os, sys
f = open("${path}/f", "w+"); g = open("${path}/f", "r+")
print("open", flush=True); sys.stdin.readline()
fcntl.flock(f, fcntl.LOCK_EX)
try: fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB); sys.exit(1)
except BlockingIOError: pass
fcntl.lockf(g, fcntl.LOCK_EX); print("locked", flush=True); sys.stdin.readline()`;
  const locker = spawn("python3", ["-c", script], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: locker.stdout })[Symbol.asyncIterator]();
  const said = async (): Promise<unknown> => (await lines.next()).value;
  tt.equal(await said(), "open");
  process.kill(mounted.pid, "SIGSTOP");
  const locked = said();
  locker.stdin.write("\n");
  tt.equal(await Promise.race([locked, sleep(5000)]), "locked", "while the server is stopped");
  process.kill(mounted.pid, "SIGCONT");
  locker.stdin.end("\n");
  await new Promise((resolve) => locker.once("exit", resolve));
  tt.equal(locker.exitCode, 0);
  await mounted.stop();
});

await t.test("trap 34: no descriptor of the server is passed on to children", { skip }, async (tt) => {
  const { path } = directory(tt);
  const mounted = await mountLocally({ path });
  fs.writeFileSync(`${path}/f`, "x");
  fs.readFileSync(`${path}/f`);
  const leaking = fs.readdirSync(`/proc/${mounted.pid}/fdinfo`).filter((fd) => {
    const info = fs.readFileSync(`/proc/${mounted.pid}/fdinfo/${fd}`, "utf8");
    const flags = Number.parseInt(/flags:\t(\d+)/.exec(info)?.[1] ?? "0", 8);
    return Number(fd) > 2 && (flags & 0o2000000) === 0;
  });
  tt.same(leaking, []);
  await mounted.stop();
});

/** Rules whose operations are all those that may have to wait. */
const WAITING = [
  "link(2): the new name may be used",
  "unlink(2): if any processes still have the file open, the file",
  "renameat2(2), RENAME_EXCHANGE: a file",
  "open(2), O_TMPFILE: can be given",
  "xattr(7): extended attributes",
  "mmap(2), MAP_SHARED: updates",
  "fallocate(2): PUNCH_HOLE",
  "truncate(2): if the file previously was shorter",
];

await t.test("requests that wait for room and for the peer are all answered", { skip }, async (tt) => {
  for (const durability of ["fsync", "write"] as const) {
    const { path } = directory(tt);
    const mounted = await mountLocally({ path, durability, kind: "reluctant" });
    const chosen = Object.entries(rules).filter(([words]) =>
      WAITING.some((start) => words.startsWith(start)),
    );
    tt.equal(chosen.length, WAITING.length);
    for (const [index, [, rule]] of chosen.entries()) {
      const place = `${path}/rule-${index}`;
      fs.mkdirSync(place);
      rule(place);
    }
    execFileSync("sh", [
      "-ec",
      `cd ${path}; for i in 1 2 3 4 5 6 7 8; do (dd if=/dev/zero of=f$i bs=256k count=40 conv=fsync status=none) & done; wait`,
    ]);
    for (let i = 1; i <= 8; i++) tt.equal(fs.statSync(`${path}/f${i}`).size, 40 * 262144);
    tt.equal(await mounted.stop(), "");
  }
});

await t.test(
  "a tree that is removed waits for the log of names once for many directories",
  { skip },
  async (tt) => {
    const { path } = directory(tt);
    const mounted = await mountLocally({ path, kind: "logging" });
    for (let i = 0; i < 100; i++) {
      fs.mkdirSync(`${path}/tree/${i}`, { recursive: true });
      fs.writeFileSync(`${path}/tree/${i}/file`, "");
    }
    const before = await mounted.logSyncs();
    fs.rmSync(`${path}/tree`, { recursive: true });
    const syncs = (await mounted.logSyncs()) - before;
    tt.ok(syncs > 0 && syncs < 40, `${syncs} syncs`);
    tt.equal(await mounted.stop(), "");
  },
);
