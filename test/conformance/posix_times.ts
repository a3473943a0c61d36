/** Which call marks which time for update (POSIX.1-2024, 4.12 File Times Update, and each call's page). See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { as, fails, mknod, moved, ok, opened, type Rules } from "./posix_calls.ts";

/** utimensat(2) with raw nanosecond fields; seconds are 7. */
function utimens(path: string, atimeNanos: number, mtimeNanos: number): number {
  const memory = libc.allocate(32);
  memory.view.setBigInt64(0, 7n, true);
  memory.view.setBigInt64(8, BigInt(atimeNanos), true);
  memory.view.setBigInt64(16, 7n, true);
  memory.view.setBigInt64(24, BigInt(mtimeNanos), true);
  const result = libc.withString(path, (at) => libc.utimensat(k.AT_FDCWD, at, memory.address, 0));
  libc.release(memory);
  return result;
}

/** A file and its directory: which of their times an act moves, as `file/directory`. */
function both(d: string, act: (file: string) => void): string {
  fs.writeFileSync(`${d}/f`, "0123456789");
  let file = "";
  const directory = moved(d, () => {
    file = moved(`${d}/f`, () => act(`${d}/f`));
  });
  return `${file}/${directory}`;
}

export const timeRules: Rules = {
  "POSIX write(): shall mark for update the last data modification and last file status change timestamps": (
    d,
  ) => {
    assert.equal(
      both(d, (f) => opened(f, k.O_WRONLY, (fd) => fs.writeSync(fd, "x"))),
      "mc/",
    );
  },
  "POSIX write(): nothing happens when nbyte is zero; no time is marked": (d) => {
    assert.equal(
      both(d, (f) => opened(f, k.O_WRONLY, (fd) => fs.writeSync(fd, ""))),
      "/",
    );
  },
  "POSIX ftruncate(): upon successful completion, marks both, whether the size changed or not": (d) => {
    assert.equal(
      both(d, (f) => opened(f, k.O_WRONLY, (fd) => fs.ftruncateSync(fd, 3))),
      "mc/",
    );
    assert.equal(
      both(d, (f) => opened(f, k.O_WRONLY, (fd) => fs.ftruncateSync(fd, 100))),
      "mc/",
    );
  },
  "POSIX open(), O_TRUNC: marks both of an existing file; O_CREAT of a new one marks the directory's": (
    d,
  ) => {
    assert.equal(
      both(d, (f) => fs.closeSync(fs.openSync(f, "w"))),
      "mc/",
    );
    assert.equal(
      both(d, () => fs.writeFileSync(`${d}/new`, "")),
      "/mc",
    );
    assert.equal(
      both(d, (f) => fs.closeSync(fs.openSync(f, "r+"))),
      "/",
    );
  },
  "POSIX chmod(), chown(): mark for update the last file status change timestamp": (d) => {
    assert.equal(
      both(d, (f) => fs.chmodSync(f, 0o600)),
      "c/",
    );
    assert.equal(
      both(d, (f) => fs.chownSync(f, 5, 5)),
      "c/",
    );
  },
  "POSIX link(): marks the last status change of the file, and both of the directory that contains the new entry":
    (d) => {
      assert.equal(
        both(d, (f) => fs.linkSync(f, `${d}/g`)),
        "c/mc",
      );
    },
  "POSIX unlink(): marks both of the parent directory, and the last status change of the file if its link count is not 0":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fs.linkSync(`${d}/f`, `${d}/g`);
      assert.equal(
        both(d, () => fs.unlinkSync(`${d}/g`)),
        "c/mc",
      );
    },
  "POSIX rename(): marks both of the parent directory of each file; ext4 marks the file's status change too (pjdfstest rename/22)":
    (d) => {
      fs.mkdirSync(`${d}/other`);
      fs.writeFileSync(`${d}/f`, "");
      let other = "";
      const directory = moved(d, () => {
        other = moved(`${d}/other`, () => fs.renameSync(`${d}/f`, `${d}/other/f`));
      });
      assert.equal(`${directory}/${other}`, "mc/mc");
      assert.equal(
        moved(`${d}/other/f`, () => void 0),
        "",
      );
      const before = fs.statSync(`${d}/other/f`).ctimeMs;
      Bun.sleepSync(12);
      fs.renameSync(`${d}/other/f`, `${d}/g`);
      assert.ok(fs.statSync(`${d}/g`).ctimeMs > before);
    },
  "POSIX mkdir(), rmdir(), symlink(), mknod(): mark both of the parent directory": (d) => {
    assert.equal(
      moved(d, () => fs.mkdirSync(`${d}/d`)),
      "mc",
    );
    assert.equal(
      moved(d, () => fs.rmdirSync(`${d}/d`)),
      "mc",
    );
    assert.equal(
      moved(d, () => fs.symlinkSync("x", `${d}/l`)),
      "mc",
    );
    assert.equal(
      moved(d, () => void ok(mknod(`${d}/p`, k.S_IFIFO | 0o600))),
      "mc",
    );
  },
  "POSIX 4.12: what fails marks nothing": (d) => {
    fs.mkdirSync(`${d}/d`);
    assert.equal(
      both(d, (f) => {
        fails("EEXIST", () => fs.mkdirSync(f));
        fails("ENOTDIR", () => fs.rmdirSync(f));
        fails("EEXIST", () => fs.linkSync(f, `${d}/d`));
        fails("ENOENT", () => fs.unlinkSync(`${d}/none`));
      }),
      "/",
    );
  },
  "setxattr(2), removexattr(2): change the inode: the last status change": (d) => {
    const set = (f: string): number =>
      libc.withString(f, (at) => libc.withString("user.a", (name) => libc.setxattr(at, name, at, 3, 0)));
    assert.equal(
      both(d, (f) => void ok(set(f))),
      "c/",
    );
  },
  "POSIX mmap(): the times of a mapped file shall be marked for update between a write through MAP_SHARED and the next msync()":
    (d) => {
      assert.equal(
        both(d, (f) =>
          opened(f, k.O_RDWR, (fd) => {
            const at = ok(libc.mmap(4096, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, 0));
            fs.writeFileSync("/proc/self/comm", "bun");
            libc.pread(fd, at, 2, 5);
            ok(libc.msync(at, 4096, 4));
            libc.munmap(at, 4096);
          }),
        ),
        "mc/",
      );
    },
  "fallocate(2): allocation within the file's size or past it, and punching, change the file: both": (d) => {
    assert.equal(
      both(d, (f) => opened(f, k.O_RDWR, (fd) => ok(libc.fallocate(fd, 0, 0, 9000)))),
      "mc/",
    );
    assert.equal(
      both(d, (f) => opened(f, k.O_RDWR, (fd) => ok(libc.fallocate(fd, 3, 0, 5)))),
      "mc/",
    );
  },
  "utimensat(2): if tv_nsec is UTIME_OMIT, the timestamp is left unchanged; if UTIME_NOW, it is set to the current time":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      ok(utimens(`${d}/f`, 1, 2));
      const times = (): bigint[] => {
        const { atimeNs, mtimeNs } = fs.statSync(`${d}/f`, { bigint: true });
        return [atimeNs, mtimeNs];
      };
      assert.deepEqual(times(), [7_000_000_001n, 7_000_000_002n]);
      ok(utimens(`${d}/f`, k.UTIME_OMIT, 3));
      assert.deepEqual(times(), [7_000_000_001n, 7_000_000_003n]);
      ok(utimens(`${d}/f`, k.UTIME_NOW, k.UTIME_OMIT));
      assert.equal(times()[1], 7_000_000_003n);
      assert.ok(Math.abs(Number(times()[0]! / 1_000_000n) - Date.now()) < 60_000);
      assert.equal(
        moved(`${d}/f`, () => void ok(utimens(`${d}/f`, k.UTIME_OMIT, k.UTIME_OMIT))),
        "",
      );
    },
  "utimensat(2), EINVAL: invalid value in one of the tv_nsec fields": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    fails("EINVAL", () => utimens(`${d}/f`, 1_000_000_000, 0));
  },
  "utimensat(2), EACCES: to now needs write permission or ownership; EPERM: to other times needs ownership": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "");
    fs.chmodSync(`${d}/f`, 0o644);
    as(1234, 1234, [], () => {
      fails("EACCES", () => utimens(`${d}/f`, k.UTIME_NOW, k.UTIME_NOW));
      fails("EPERM", () => utimens(`${d}/f`, 1, 1));
    });
    fs.chmodSync(`${d}/f`, 0o666);
    as(1234, 1234, [], () => {
      ok(utimens(`${d}/f`, k.UTIME_NOW, k.UTIME_NOW));
      fails("EPERM", () => utimens(`${d}/f`, k.UTIME_NOW, k.UTIME_OMIT));
    });
  },
  "POSIX 4.12, read(): marks the last data access timestamp (relatime: when it was older than the modification)":
    (d) => {
      fs.writeFileSync(`${d}/f`, "x");
      ok(utimens(`${d}/f`, 1, 2));
      fs.writeFileSync(`${d}/f`, "y");
      assert.equal(
        moved(`${d}/f`, () => void fs.readFileSync(`${d}/f`)),
        "",
      );
    },
};
