/** Durable points: what they make durable on each copy, and what they leave alone. */
import { closeSync, existsSync, lstatSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { CopyRecord } from "../../core/filesystem/copy/copy_record.ts";
import { Pool } from "../../core/filesystem/loop/pool.ts";
import { isInMemoryOnly, LabDisk, noDisks } from "./replication_disks.ts";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";
import { cutDisk } from "./testbed_disk.ts";

const skip = noDisks();
if (skip) t.plan(0, skip);
t.setTimeout(400_000);

const base = `/tmp/holdfast-points-${process.pid}`;
const disks = { n1: new LabDisk(`${base}-disks`, "n1"), n2: new LabDisk(`${base}-disks`, "n2") };
const lab = makeLab(base, 21000 + (process.pid % 20000), {}, (name) => disks[name as "n1" | "n2"].data);
const { n1, n2 } = lab;
/** The replicated directory of the primary, underneath its mount. */
let under = "";
t.teardown(async () => {
  await lab.close();
  for (const disk of Object.values(disks)) disk.remove();
  rmSync(`${base}-disks`, { recursive: true, force: true });
});

const ROUNDS = 6;

/** Both copies of a file. */
const copies = (name: string): string[] => [join(under, name), join(n2.directory, name)];

t.before(async () => {
  // There before there is a peer: the stream introduces them by name, and does not make them.
  await shell(n1.directory, "mkdir old; echo old > old/file; echo two > old/names; ln old/names old/other");
  await shell(n1.directory, "ln -s target old/link; mkfifo old/pipe; sync -f .");
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  under = disks.n1.lookUnder();
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  await n2.reported("inSync");
  await n1.pointPasses();
});

t.test("trap 3: a durable point syncs what was touched, and not what the neighbours wrote", async (t) => {
  // The kernel, or who syncs all disks of the machine, may write either of them meanwhile: then the round says nothing. A point that did
  // would do it in each.
  let left = 0;
  for (let round = 0; round < ROUNDS && left < 2; round++) {
    const neighbours = Object.values(disks).map(({ mountPoint }) => join(mountPoint, `neighbour${round}`));
    for (const path of neighbours) await shell("/", `head -c 8000000 /dev/urandom > ${path}`);
    await shell(
      n1.directory,
      `head -c 300000 /dev/urandom >> old/file; head -c 200000 /dev/zero > new${round}
       mkdir -p made; echo x > made/temporary; rm -r made; echo moved > here; mv here old/moved; ln -sf target new.link`,
    );
    await n1.pointPasses();
    for (const name of ["old/file", `new${round}`, "old/moved"])
      for (const path of copies(name)) t.notOk(isInMemoryOnly(path), `${name} is on its disk`);
    left = neighbours.filter(isInMemoryOnly).length;
  }
  t.equal(left, 2, "the neighbours' data still wait for their own time");
});

t.test("trap 3: a file that lost the name it was known by is synced too", async (t) => {
  await shell(n1.directory, "echo x > a; ln a b; rm b; head -c 300000 /dev/urandom >> a");
  await n1.pointPasses();
  for (const path of copies("a")) t.notOk(isInMemoryOnly(path));
});

t.test("trap 3: an unnamed file that gets its name after a durable point is synced too", async (t) => {
  await shell(
    n1.directory,
    `python3 -c 'import os, time
fd = os.open(".", os.O_RDWR | os.O_TMPFILE)
os.write(fd, b"x" * 300000)
time.sleep(12)
os.link("/proc/self/fd/%d" % fd, "named", src_dir_fd=fd)'`,
  );
  await n2.until(() => existsSync(join(n2.directory, "named")), "the name on SECOND");
  for (const path of copies("named")) t.notOk(isInMemoryOnly(path));
});

t.test(
  "trap 29: a modification time that waits at a durable point is the same after both lost power",
  async (t) => {
    const passed = n1.counters!.durablePoints;
    // Cut off and written within one tick of the kernel's clock: it does not tell a new time, and the one of before is put back later.
    const writing = shell(
      n1.directory,
      `python3 -c 'import os, time
for i in range(10000):
    fd = os.open("made%d" % i, os.O_WRONLY | os.O_CREAT)
    os.ftruncate(fd, 0)
    os.write(fd, b"text")
    os.close(fd)
    time.sleep(0.005)'`,
    ).catch(String);
    await n1.until(() => n1.counters!.durablePoints > passed, "a durable point");
    for (const disk of Object.values(disks)) cutDisk(disk.mountPoint);
    await Promise.all([n1.kill(), n2.kill()]);
    t.match(await writing, /Errno/, "while it was written");
    for (const disk of Object.values(disks)) disk.cycle();
    const [a, b] = [n1.reports.length, n2.reports.length];
    await n1.start();
    await n2.start();
    await n1.must({ op: "serve", alone: true, generations: generation("g1") });
    await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g1") });
    await n1.reported("inSync", a);
    await n2.reported("inSync", b);
    t.equal(n1.finished.at(-1)?.full, false);
    t.same(await becomesEqual(n1, n2), []);
  },
);

t.test("trap 3: the record that ends a point takes along what cannot be synced itself", async (t) => {
  const disk = new LabDisk(`${base}-disks`, "alone");
  t.teardown(() => disk.remove());
  await shell(disk.data, "ln -s target link; mkfifo pipe");
  const pool = new Pool(1);
  const state = mkdtempSync(join(`${base}-disks`, "state-"));
  const record = new CopyRecord(state, pool);
  const root = openSync(disk.data, "r");
  record.bind([root]);
  await shell(disk.data, "sync -f .; sleep 0.1; chown -h 12:34 link; chmod 642 pipe");
  let result = -1;
  record.write(1, null, (errno) => {
    result = errno;
  });
  for (; result < 0; await Bun.sleep(1)) pool.drain();
  t.equal(result, 0);
  record.release();
  closeSync(root);
  disk.cycle();
  t.equal(lstatSync(join(disk.data, "link")).uid, 12);
  t.equal(lstatSync(join(disk.data, "pipe")).mode & 0o777, 0o642);
  pool.close();
});
