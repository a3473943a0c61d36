/** What a disk does not give, or has no room for, under a mount: the application hears of it, and no copy is changed by it unheard (trap 8). */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { allocateRange } from "../../core/filesystem/fuse/operations/data.ts";
import type { Session } from "../../core/filesystem/fuse/session.ts";
import { FALLOC_FL_ZERO_RANGE } from "../../core/platform/linux/constants.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import { allocate } from "../../core/platform/linux/libc.ts";
import { LocalReplicator } from "../fixtures/local_replicator.ts";
import { mountLocally } from "../fixtures/mounted.ts";
import { LabDisk, noDisks } from "./replication_disks.ts";
import { generation, makeLab, shell } from "./replication_lab.ts";

const why = noDisks();
if (why !== false) t.plan(0, why);
t.setTimeout(100_000);
const base = `/tmp/holdfast-disk-errors-${process.pid}`;
const disk = new LabDisk(base, "disk");
t.teardown(() => {
  disk.remove();
  rmSync(base, { recursive: true, force: true });
});

for (const durability of ["fsync", "write"] as const)
  t.test(`a bad block reads as an error and not as zeros, durability: ${durability}`, async (t) => {
    const bad = 300 * 1024;
    // The data that is lost lies behind all else on the disk, the journal included.
    await shell(
      disk.data,
      `rm -f data; fallocate -l 160M data; fallocate -c -o 0 -l 159M data; tr '\\0' x < /dev/zero | head -c 1M | dd of=data bs=1M iflag=fullblock conv=notrunc`,
    );
    disk.remount();
    const mend = disk.spoilData("data", bad);
    const mount = await mountLocally({ path: disk.data, durability });
    const path = join(mount.path, "data");
    const buffer = Buffer.alloc(1 << 20);
    const fd = openSync(path, "r");
    let count = 0;
    let code = "";
    try {
      while (count < buffer.length) {
        const read = readSync(fd, buffer, count, buffer.length - count, count);
        if (read === 0) break;
        count += read;
      }
    } catch (error) {
      code = (error as NodeJS.ErrnoException).code ?? "";
    }
    closeSync(fd);
    t.equal(code, "EIO", "the application hears of it");
    t.ok(count <= bad, `and got ${count} bytes, not more than there are`);
    t.equal(buffer.indexOf(0) < 0 ? buffer.length : buffer.indexOf(0), count, "all of them what was written");
    t.equal(statSync(path).size, 1 << 20, "the file is as long as it was");
    await mount.stop();
    mend();
    disk.remount();
    t.equal(readFileSync(join(disk.data, "data")).indexOf(0), -1, "nothing of it was written over");
  });

t.test("fallocate(2) without room for all of it leaves the file as long as it was", async (t) => {
  const mount = await mountLocally({ path: disk.data });
  const path = join(mount.path, "log");
  await shell(mount.path, "echo begun > log; sync log");
  const { stderr } = spawnSync("fallocate", ["-l", "400M", path], { encoding: "utf8" });
  t.match(stderr, /No space left/);
  t.equal(statSync(path).size, 6);
  await mount.stop();
  t.equal(statSync(join(disk.data, "log")).size, 6, "on the disk, too: the peer was told of nothing");
});

t.test(
  "what the disk of a primary does not give its application is reported: this copy is suspect",
  async (t) => {
    await shell(
      disk.data,
      "rm -f data log; fallocate -l 160M data; fallocate -c -o 0 -l 159M data; head -c 1M /dev/urandom | dd of=data bs=1M iflag=fullblock conv=notrunc",
    );
    disk.remount();
    const mend = disk.spoilData("data", 300 * 1024);
    const lab = makeLab(`${base}-lab`, 21000 + (process.pid % 20000), {}, (name) =>
      name === "n1" ? disk.data : join(`${base}-lab`, name, "data"),
    );
    t.teardown(async () => {
      await lab.close();
      mend();
    });
    const { n1 } = lab;
    await n1.start();
    await n1.must({ op: "serve", alone: true, generations: generation("g1") });
    const { stderr } = spawnSync("cat", [join(n1.directory, "data")], { encoding: "utf8" });
    t.match(stderr, /Input\/output error/);
    t.match(await n1.reported("diskFailed"), { detail: `read failed in ${n1.directory}: EIO` });
  },
);

t.test(
  "fallocate(2) that may have erased half before it failed is told: the copies may differ there",
  async (t) => {
    const path = join(disk.data, "half");
    writeFileSync(path, "x".repeat(8192));
    const fd = openSync(path, "r+");
    const told: number[][] = [];
    const replicator = new LocalReplicator(1);
    replicator.failedHalfway = (...what) => told.push(what);
    const request = allocate(128);
    request.view.setUint32(48, 4096, true);
    const session = {
      request,
      replicator,
      node: () => 5,
      backing: { isExcluded: () => false, table: { identity: () => 77 }, descriptors: { get: () => fd } },
      times: { changing: () => {}, settle: () => {} },
      reportDisk: () => {},
    } as unknown as Session;
    const length = 400 << 20;
    const fails = (mode: number, bytes: number): number => {
      request.view.setUint32(56, bytes, true);
      request.view.setUint32(64, mode, true);
      return allocateRange(session);
    };
    t.equal(fails(0, length), -errnos.ENOSPC);
    t.equal(fails(FALLOC_FL_ZERO_RANGE, 0), -errnos.EINVAL);
    t.same(told, [], "neither has erased anything");
    t.equal(fails(FALLOC_FL_ZERO_RANGE, length), -errnos.ENOSPC);
    t.same(told, [[77, 4096, length]]);
    closeSync(fd);
    t.equal(statSync(path).size, 8192);
    rmSync(path);
  },
);
