/** Mappings and locks: what processes that share a file may expect of each other. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { memoryAt } from "../../core/platform/linux/memory.ts";
import { fails, ok, opened, type Rules, run } from "./posix_calls.ts";

const EDIT = k.O_RDWR | k.O_CREAT;
const SYS_FLOCK = process.arch === "arm64" ? 32 : 73;
const [LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN] = [1, 2, 4, 8];
const F_OFD_SETLK = 37;
const [F_RDLCK, F_WRLCK, F_UNLCK] = [0, 1, 2];
const MS_SYNC = 4;

const flock = (fd: number, how: number): number => libc.syscall(SYS_FLOCK, fd, how | LOCK_NB);

/** fcntl(2) with F_OFD_SETLK on `length` bytes from `start`. */
function lock(fd: number, type: number, start: number, length: number): number {
  // struct flock: l_type, l_whence, l_start, l_len, l_pid.
  const memory = libc.allocate(32);
  memory.view.setInt16(0, type, true);
  memory.view.setBigInt64(8, BigInt(start), true);
  memory.view.setBigInt64(16, BigInt(length), true);
  const result = libc.fcntl(fd, F_OFD_SETLK, memory.address);
  libc.release(memory);
  return result;
}

/** Maps the first 8 KiB of a file of that length. */
function mapped(d: string, flags: number, use: (bytes: Uint8Array, fd: number, at: number) => void): void {
  opened(`${d}/f`, EDIT, (fd) => {
    fs.writeSync(fd, Buffer.alloc(8192, "o"));
    const at = ok(libc.mmap(8192, k.PROT_READ | k.PROT_WRITE, flags, fd, 0));
    use(memoryAt(at, 8192).bytes, fd, at);
    libc.munmap(at, 8192);
  });
}

export const lockRules: Rules = {
  "mmap(2), MAP_PRIVATE: updates to the mapping are not visible to other processes and are not carried through to the file":
    (d) =>
      mapped(d, k.MAP_PRIVATE, (bytes, fd, at) => {
        bytes.fill(1);
        ok(libc.msync(at, 8192, MS_SYNC));
        assert.ok(fs.readFileSync(`${d}/f`).every((byte) => byte === 111));
        fs.writeSync(fd, "w", 0);
        assert.equal(bytes[0], 1);
      }),
  "mmap(2), MAP_SHARED: what is mapped twice is one memory; read(2) sees it and write(2) shows in it, without msync":
    (d) =>
      mapped(d, k.MAP_SHARED, (bytes, fd) => {
        const again = ok(libc.mmap(8192, k.PROT_READ, k.MAP_SHARED, fd, 0));
        bytes[5000] = 5;
        assert.equal(memoryAt(again, 8192).bytes[5000], 5);
        assert.equal(fs.readFileSync(`${d}/f`)[5000], 5);
        fs.writeSync(fd, Buffer.of(7), 0, 1, 5000);
        assert.equal(bytes[5000], 7);
        libc.munmap(again, 8192);
      }),
  "msync(2), MS_SYNC: requests an update and waits for it to complete; the mapping survives rename, unlink and close":
    (d) =>
      mapped(d, k.MAP_SHARED, (bytes, fd, at) => {
        fs.renameSync(`${d}/f`, `${d}/g`);
        bytes[1] = 2;
        ok(libc.msync(at, 8192, MS_SYNC));
        assert.equal(fs.readFileSync(`${d}/g`)[1], 2);
        fs.unlinkSync(`${d}/g`);
        bytes[2] = 3;
        ok(libc.msync(at, 8192, MS_SYNC));
        const byte = Buffer.alloc(1);
        fs.readSync(fd, byte, 0, 1, 2);
        assert.equal(byte[0], 3);
      }),
  "mmap(2): a file is mapped in multiples of the page size; the rest of the last page is zeroed, and writes there never reach the file":
    (d) => {
      fs.writeFileSync(`${d}/f`, "short");
      opened(`${d}/f`, k.O_RDWR, (fd) => {
        const at = ok(libc.mmap(4096, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, 0));
        const { bytes } = memoryAt(at, 4096);
        assert.ok(bytes.subarray(5).every((byte) => byte === 0));
        bytes[100] = 1;
        ok(libc.msync(at, 4096, MS_SYNC));
        libc.munmap(at, 4096);
        ok(libc.ftruncate(fd, 200));
      });
      assert.equal(fs.statSync(`${d}/f`).size, 200);
      fs.writeFileSync("/proc/sys/vm/drop_caches", "1");
      assert.equal(fs.readFileSync(`${d}/f`)[100], 0);
    },
  "mmap(2), EACCES: MAP_SHARED and PROT_WRITE, but fd is not open in O_RDWR mode": (d) => {
    fs.writeFileSync(`${d}/f`, "x");
    opened(`${d}/f`, k.O_RDONLY, (fd) =>
      fails("EACCES", () => libc.mmap(4096, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, 0)),
    );
    opened(`${d}/f`, k.O_WRONLY, (fd) =>
      fails("EACCES", () => libc.mmap(4096, k.PROT_READ, k.MAP_PRIVATE, fd, 0)),
    );
  },
  "flock(2): locks are associated with an open file description; an exclusive one excludes, shared ones do not; closing releases":
    (d) => {
      opened(`${d}/f`, EDIT, (first) => {
        opened(`${d}/f`, EDIT, (second) => {
          ok(flock(first, LOCK_SH!));
          ok(flock(second, LOCK_SH!));
          fails("EAGAIN", () => flock(first, LOCK_EX!));
          ok(flock(second, LOCK_UN!));
          ok(flock(first, LOCK_EX!));
          fails("EAGAIN", () => flock(second, LOCK_SH!));
        });
        opened(`${d}/f`, EDIT, (third) => fails("EAGAIN", () => flock(third, LOCK_EX!)));
      });
      opened(`${d}/f`, EDIT, (fd) => ok(flock(fd, LOCK_EX!)));
    },
  "fcntl_locking(2), F_OFD_SETLK: open file description locks conflict by byte range between descriptions of one process too":
    (d) =>
      opened(`${d}/f`, EDIT, (first) =>
        opened(`${d}/f`, EDIT, (second) => {
          ok(lock(first, F_WRLCK, 0, 10));
          fails("EAGAIN", () => lock(second, F_RDLCK, 9, 1));
          ok(lock(second, F_WRLCK, 10, 10));
          ok(lock(first, F_UNLCK, 5, 5));
          ok(lock(second, F_RDLCK, 5, 5));
          fails("EAGAIN", () => lock(second, F_RDLCK, 0, 5));
        }),
      ),
  "fcntl(2), F_SETLK: record locks are of the process: lost by closing any descriptor of the file, not inherited by fork":
    (d) => {
      run(
        "python3",
        "-c",
        `
import fcntl, os
path = "${d}/f"
def other_can_lock():
    if os.fork() == 0:
        try: fcntl.lockf(open(path, "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
        except BlockingIOError: os._exit(1)
        os._exit(0)
    return os.wait()[1] == 0
f = open(path, "w+")
assert other_can_lock()
fcntl.lockf(f, fcntl.LOCK_EX, 10)
assert not other_can_lock()
open(path).close()
assert other_can_lock(), "closing any descriptor releases"
`,
      );
    },
  "flock(1): two processes count in one file under an exclusive lock, and no count is lost": (d) => {
    fs.writeFileSync(`${d}/count`, "0\n");
    const count = `for i in $(seq 60); do flock ${d}/lock sh -c 'read n < ${d}/count; echo $((n + 1)) > ${d}/count'; done`;
    run("sh", "-ec", `(${count}) & (${count}) & wait`);
    assert.equal(fs.readFileSync(`${d}/count`, "utf8"), "120\n");
  },
};
