/** What applications may expect of the bytes of a file: holes, sizes, mappings, locks, how it may be opened. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { memoryAt } from "../../core/platform/linux/memory.ts";
import { type Rules, run } from "./posix_calls.ts";

function allocated(file: string): number {
  return fs.statSync(file).blocks * 512;
}

export const dataRules: Rules = {
  "lseek(2): data written past the end leaves a hole: bytes that read as null bytes, and take no room": (
    d,
  ) => {
    const fd = fs.openSync(`${d}/f`, "w+");
    fs.writeSync(fd, "end", 64 << 20);
    fs.fsyncSync(fd);
    assert.ok(allocated(`${d}/f`) < 1 << 20);
    const buffer = Buffer.alloc(8, 1);
    fs.readSync(fd, buffer, 0, 8, 1 << 20);
    assert.deepEqual(buffer, Buffer.alloc(8));
    fs.closeSync(fd);
  },

  "fallocate(2): PUNCH_HOLE and ZERO_RANGE leave zeros, KEEP_SIZE keeps the size, neither extends it": (
    d,
  ) => {
    const fd = fs.openSync(`${d}/f`, "w+");
    fs.writeSync(fd, Buffer.alloc(1 << 20, 7));
    assert.equal(libc.fallocate(fd, k.FALLOC_FL_PUNCH_HOLE | k.FALLOC_FL_KEEP_SIZE, 4096, 8192), 0);
    assert.equal(libc.fallocate(fd, k.FALLOC_FL_ZERO_RANGE, 65536, 4096), 0);
    const data = fs.readFileSync(`${d}/f`);
    assert.equal(data.length, 1 << 20);
    const zeros = (from: number, to: number): boolean => data.subarray(from, to).every((byte) => byte === 0);
    assert.ok(zeros(4096, 12288) && zeros(65536, 69632));
    assert.deepEqual([data[4095], data[12288], data[65535], data[69632]], [7, 7, 7, 7]);
    assert.equal(libc.fallocate(fd, 0, 0, 2 << 20), 0);
    assert.equal(fs.fstatSync(fd).size, 2 << 20);
    assert.equal(libc.fallocate(fd, k.FALLOC_FL_KEEP_SIZE, 0, 8 << 20), 0);
    assert.equal(fs.fstatSync(fd).size, 2 << 20);
    fs.closeSync(fd);
  },

  "lseek(2), SEEK_DATA: a file system that reports holes must not report data that was just written as one": (
    d,
  ) => {
    const fd = fs.openSync(`${d}/f`, "w+");
    fs.ftruncateSync(fd, 1 << 20);
    fs.writeSync(fd, "in the middle", 512 << 10);
    run("cp", `${d}/f`, `${d}/copy`);
    run("cp", "--sparse=always", `${d}/f`, `${d}/sparse`);
    fs.closeSync(fd);
    assert.deepEqual(fs.readFileSync(`${d}/copy`), fs.readFileSync(`${d}/f`));
    assert.deepEqual(fs.readFileSync(`${d}/sparse`), fs.readFileSync(`${d}/f`));
  },

  "open(2), O_APPEND: the modification of the file offset and the write operation are performed as a single atomic step":
    (d) => {
      const a = fs.openSync(`${d}/f`, "a");
      const b = fs.openSync(`${d}/f`, "a");
      for (let i = 0; i < 100; i++) fs.writeSync(i % 2 === 0 ? a : b, `${i}\n`);
      assert.equal(
        fs.readFileSync(`${d}/f`, "utf8"),
        Array.from({ length: 100 }, (_, i) => `${i}\n`).join(""),
      );
      fs.closeSync(a);
      fs.closeSync(b);
    },

  "open(2): EEXIST, ENOENT, EISDIR, ELOOP, ENOTDIR, and O_TRUNC": (d) => {
    fs.writeFileSync(`${d}/f`, "content");
    assert.throws(() => fs.openSync(`${d}/f`, "wx"), { code: "EEXIST" });
    assert.throws(() => fs.openSync(`${d}/none`, "r"), { code: "ENOENT" });
    assert.throws(() => fs.openSync(d, "w"), { code: "EISDIR" });
    fs.closeSync(fs.openSync(`${d}/f`, "w"));
    assert.equal(fs.statSync(`${d}/f`).size, 0);
    fs.symlinkSync("f", `${d}/l`);
    assert.equal(libc.open(`${d}/l`, k.O_RDONLY | k.O_NOFOLLOW), -errnos.ELOOP);
    assert.equal(libc.open(`${d}/f`, k.O_RDONLY | k.O_DIRECTORY), -errnos.ENOTDIR);
  },

  "mmap(2), MAP_SHARED: updates to the mapping are visible to other processes and are carried through to the file":
    (d) => {
      const fd = fs.openSync(`${d}/f`, "w+");
      fs.ftruncateSync(fd, 8192);
      const at = libc.mmap(8192, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, 0);
      assert.ok(at > 0);
      const memory = memoryAt(at, 8192);
      memory.bytes.set(new TextEncoder().encode("mapped"), 4096);
      assert.equal(libc.msync(at, 8192, 4), 0);
      assert.equal(fs.readFileSync(`${d}/f`).toString("latin1", 4096, 4102), "mapped");
      fs.writeSync(fd, "WRITTEN", 0);
      assert.equal(memory.bytes[0], "W".charCodeAt(0));
      libc.munmap(at, 8192);
      fs.closeSync(fd);
    },

  "mmap(2): after the mmap() call has returned, the file descriptor can be closed immediately without invalidating the mapping":
    (d) => {
      const fd = fs.openSync(`${d}/f`, "w+");
      fs.ftruncateSync(fd, 4096);
      const at = libc.mmap(4096, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, 0);
      fs.closeSync(fd);
      fs.renameSync(`${d}/f`, `${d}/g`);
      memoryAt(at, 4096).bytes[9] = 9;
      libc.munmap(at, 4096);
      assert.equal(fs.readFileSync(`${d}/g`)[9], 9);
    },

  "flock(2), fcntl(2), F_SETLK: a conflicting lock held by another process is refused": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    const script = `exec 9> ${d}/f; flock -n 9 || exit 1; flock -n ${d}/f -c true && exit 2; exit 0`;
    run("bash", "-c", script);
    const posix = `import fcntl, os
f = open("${d}/f", "r+"); fcntl.lockf(f, fcntl.LOCK_EX)
if os.fork() == 0:
    try: fcntl.lockf(open("${d}/f", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: os._exit(0)
    os._exit(1)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))`;
    run("python3", "-c", posix);
  },

  "open(2), O_LARGEFILE: sizes that do not fit in 32 bits": (d) => {
    const fd = fs.openSync(`${d}/f`, "w+");
    const at = 5 * 2 ** 30 + 12345;
    fs.writeSync(fd, "far", at);
    fs.fsyncSync(fd);
    assert.equal(fs.fstatSync(fd).size, at + 3);
    const buffer = Buffer.alloc(3);
    fs.readSync(fd, buffer, 0, 3, at);
    assert.equal(buffer.toString(), "far");
    fs.closeSync(fd);
    run("sh", "-ec", `tail -c 3 ${d}/f | grep -q far`);
  },

  "open(2), O_DIRECT and O_SYNC: dd reads and writes with them": (d) => {
    run("dd", "if=/dev/zero", `of=${d}/f`, "bs=64k", "count=16", "oflag=direct", "status=none");
    run("dd", `if=${d}/f`, "of=/dev/null", "bs=64k", "iflag=direct", "status=none");
    run("dd", "if=/dev/zero", `of=${d}/g`, "bs=64k", "count=4", "oflag=sync", "status=none");
    assert.equal(fs.statSync(`${d}/f`).size, 1 << 20);
  },

  "truncate(2): if the file previously was shorter, it is extended, and the extended part reads as null bytes":
    (d) => {
      fs.writeFileSync(`${d}/f`, Buffer.alloc(10_000, 1));
      fs.truncateSync(`${d}/f`, 100);
      fs.truncateSync(`${d}/f`, 10_000);
      const data = fs.readFileSync(`${d}/f`);
      assert.ok(
        data.subarray(100).every((byte) => byte === 0) && data.subarray(0, 100).every((byte) => byte === 1),
      );
    },

  "execve(2): a binary, and a script with an interpreter line, run from the directory": (d) => {
    fs.copyFileSync("/bin/echo", `${d}/echo`);
    fs.chmodSync(`${d}/echo`, 0o755);
    assert.equal(run(`${d}/echo`, "runs"), "runs\n");
    fs.writeFileSync(`${d}/script`, "#!/bin/sh\necho script\n", { mode: 0o755 });
    assert.equal(run(`${d}/script`), "script\n");
  },
};
