/** What an fsync of the application leaves on SECOND's disk when that loses power at once, whichever way SECOND synced it. */
import { lstatSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { LabDisk, noDisks } from "./replication_disks.ts";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

const skip = noDisks();
if (skip) t.plan(0, skip);
t.setTimeout(400_000);

const base = `/tmp/holdfast-fsync-${process.pid}`;
const disks = { n1: new LabDisk(`${base}-disks`, "n1"), n2: new LabDisk(`${base}-disks`, "n2") };
const lab = makeLab(base, 21000 + (process.pid % 20000), {}, (name) => disks[name as "n1" | "n2"].data);
const { n1, n2 } = lab;
t.teardown(async () => {
  await lab.close();
  for (const disk of Object.values(disks)) disk.remove();
  rmSync(`${base}-disks`, { recursive: true, force: true });
});

const python = (script: string): Promise<string> => shell(n1.directory, `python3 -c '${script}'`);

/** SECOND's machine loses power, and shows what its disk holds. */
async function cutSecond(look: () => void): Promise<void> {
  await n2.kill();
  await n1.reported("peerGone");
  await n1.must({ op: "goAlone", generations: generation("g2", "g1", ["g1"]) });
  disks.n2.cycle();
  look();
}

t.test("attributes, names and bytes that were synced are there after a power cut", async (t) => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  await python(`
import os
def sync(name, act, data_first=False):
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"first")
    os.fsync(fd)
    # Quick syncs of little, so that SECOND does the next ones in its loop.
    for i in range(200):
        os.pwrite(fd, b"%05d" % i, 0)
        os.fsync(fd)
    act(fd)
    if data_first:
        os.pwrite(fd, b"again", 0)
        os.fdatasync(fd)
    os.fsync(fd)
sync("mode", lambda fd: os.fchmod(fd, 0o640))
sync("late", lambda fd: os.fchmod(fd, 0o604), data_first=True)
sync("xattr", lambda fd: os.setxattr(fd, "user.key", b"value"))
sync("owner", lambda fd: os.fchown(fd, 12, 34))
sync("size", lambda fd: os.ftruncate(fd, 3))
sync("before", lambda fd: os.rename("before", "after"))
sync("large", lambda fd: os.pwrite(fd, b"x" * 300000, 5))
sync("bytes", lambda fd: os.pwrite(fd, b"bytes", 0))`);
  // Made and written within one tick of the kernel's clock, mostly: nothing but the sync tells their time; some of them more than a second later,
  // when SECOND knows already which time they were made with.
  const told = await python(`
import os, time
def make(i):
    fd = os.open("new%d" % i, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"new")
    return fd
def sync(fd):
    os.fsync(fd)
    print(os.fstat(fd).st_mtime_ns)
for i in range(50):
    sync(make(i))
late = [make(i) for i in range(50, 70)]
time.sleep(1.2)
for fd in late:
    sync(fd)`);
  await cutSecond(() => {
    const at = (name: string): string => join(n2.directory, name);
    t.equal(lstatSync(at("mode")).mode & 0o777, 0o640);
    t.equal(lstatSync(at("late")).mode & 0o777, 0o604, "also when fdatasync came first");
    t.equal(lstatSync(at("owner")).uid, 12);
    t.equal(readFileSync(at("size"), "utf8"), "001");
    t.equal(readFileSync(at("after"), "utf8"), "00199");
    t.equal(readFileSync(at("large")).length, 300_005);
    t.equal(readFileSync(at("bytes"), "utf8"), "bytes");
    for (const [index, time] of told.trim().split("\n").entries())
      t.equal(
        lstatSync(at(`new${index}`), { bigint: true }).mtimeNs,
        BigInt(time),
        `the time of new${index}`,
      );
  });
  const value = await shell(n2.directory, "getfattr --only-values -n user.key xattr");
  t.equal(value, "value");
  const reports = n2.reports.length;
  await n2.start();
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g1") });
  await n2.reported("inSync", reports);
  t.same(await becomesEqual(n1, n2), [], "and the times come again with the next reintegration");
});
