/** open(2): what each flag promises. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { as, fails, linkat, mknod, modeOf, ok, opened, type Rules } from "./posix_calls.ts";

const CREATE = k.O_CREAT | k.O_RDWR;

export const openRules: Rules = {
  "open(2), O_EXCL: if this flag is specified with O_CREAT, and pathname already exists, then open() fails with EEXIST":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fs.mkdirSync(`${d}/d`);
      for (const name of ["f", "d"])
        fails("EEXIST", () => libc.open(`${d}/${name}`, CREATE | k.O_EXCL, 0o644));
    },
  "open(2), O_EXCL: when these two flags are specified, symbolic links are not followed": (d) => {
    fs.symlinkSync("nowhere", `${d}/l`);
    fails("EEXIST", () => libc.open(`${d}/l`, CREATE | k.O_EXCL, 0o644));
    assert.deepEqual(fs.readdirSync(d), ["l"]);
  },
  "open(2), O_CREAT: if pathname does not exist, create it as a regular file; through a dangling link too": (
    d,
  ) => {
    fs.symlinkSync("target", `${d}/l`);
    opened(`${d}/l`, CREATE, (fd) => fs.writeSync(fd, "made"));
    assert.equal(fs.readFileSync(`${d}/target`, "utf8"), "made");
  },
  "open(2), mode: this mode applies only to future accesses; an open that creates a read-only file may return a read/write descriptor":
    (d) => {
      opened(`${d}/f`, CREATE, (fd) => assert.equal(fs.writeSync(fd, "written"), 7), 0o400);
      assert.equal(modeOf(`${d}/f`), 0o400);
    },
  "open(2), mode: bits of set-user-ID, set-group-ID and sticky are honoured on creation": (d) => {
    const unnamed = ok(libc.open(d, k.O_TMPFILE | k.O_RDWR, 0o6755));
    opened(`${d}/f`, CREATE, () => assert.equal(modeOf(`${d}/f`), 0o7755), 0o7755);
    assert.equal(fs.fstatSync(unnamed).mode & 0o7777, 0o6755);
    ok(linkat(`/proc/self/fd/${unnamed}`, `${d}/named`, k.AT_SYMLINK_FOLLOW));
    libc.close(unnamed);
    assert.equal(modeOf(`${d}/named`), 0o6755);
  },
  "open(2), O_TRUNC: if the file already exists and is a regular file, it will be truncated to length 0": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "content");
    opened(`${d}/f`, k.O_WRONLY | k.O_TRUNC, (fd) => assert.equal(fs.fstatSync(fd).size, 0));
  },
  "open(2), O_APPEND: before each write(2), the file offset is positioned at the end of the file": (d) => {
    fs.writeFileSync(`${d}/f`, "head");
    opened(`${d}/f`, k.O_RDWR | k.O_APPEND, (fd) => {
      libc.lseek(fd, 0, k.SEEK_SET);
      fs.writeSync(fd, "tail");
      fs.appendFileSync(`${d}/f`, "other");
      fs.writeSync(fd, "end");
    });
    assert.equal(fs.readFileSync(`${d}/f`, "utf8"), "headtailotherend");
  },
  "pwrite(2), BUGS: if a file is opened with O_APPEND, pwrite() appends data to the end of the file, regardless of the offset":
    (d) => {
      fs.writeFileSync(`${d}/f`, "head");
      opened(`${d}/f`, k.O_RDWR | k.O_APPEND, (fd) => fs.writeSync(fd, "tail", 0));
      assert.equal(fs.readFileSync(`${d}/f`, "utf8"), "headtail");
    },
  "open(2), O_DIRECTORY: if pathname is not a directory, cause the open to fail": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    fs.symlinkSync(".", `${d}/l`);
    fails("ENOTDIR", () => libc.open(`${d}/f`, k.O_RDONLY | k.O_DIRECTORY));
    opened(`${d}/l`, k.O_RDONLY | k.O_DIRECTORY, () => {});
    fails("ENOTDIR", () => libc.open(`${d}/l`, k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW));
  },
  "open(2), O_NOFOLLOW: if the trailing component is a symbolic link, then the open fails, with the error ELOOP":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fs.symlinkSync("f", `${d}/l`);
      fails("ELOOP", () => libc.open(`${d}/l`, k.O_RDONLY | k.O_NOFOLLOW));
      opened(`${d}/l`, k.O_PATH | k.O_NOFOLLOW, (fd) => assert.ok(fs.fstatSync(fd).isSymbolicLink()));
    },
  "open(2), EISDIR: pathname refers to a directory and the access requested involved writing": (d) => {
    for (const flags of [k.O_WRONLY, k.O_RDWR]) fails("EISDIR", () => libc.open(d, flags));
    fails("EISDIR", () => libc.open(d, k.O_RDONLY | k.O_CREAT, 0o644));
    fails("EISDIR", () => fs.readFileSync(d));
  },
  "open(2), ENOTDIR: a component used as a directory in pathname is not, in fact, a directory": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    fails("ENOTDIR", () => libc.open(`${d}/f/g`, k.O_RDONLY));
    fails("ENOTDIR", () => fs.statSync(`${d}/f/`));
  },
  "open(2), ENXIO: O_NONBLOCK | O_WRONLY is set, the file is a FIFO, and no process has it open for reading; or a socket":
    (d) => {
      ok(mknod(`${d}/p`, k.S_IFIFO | 0o600));
      ok(mknod(`${d}/s`, k.S_IFSOCK | 0o600));
      fails("ENXIO", () => libc.open(`${d}/p`, k.O_WRONLY | k.O_NONBLOCK));
      fails("ENXIO", () => libc.open(`${d}/s`, k.O_RDWR));
      opened(`${d}/p`, k.O_RDONLY | k.O_NONBLOCK, () =>
        opened(`${d}/p`, k.O_WRONLY | k.O_NONBLOCK, () => {}),
      );
    },
  "open(2), O_TMPFILE: create an unnamed temporary regular file; an inode will be created in that directory's file system":
    (d) => {
      const fd = ok(libc.open(d, k.O_TMPFILE | k.O_RDWR, 0o600));
      fs.writeSync(fd, "unnamed");
      assert.deepEqual([fs.readdirSync(d), fs.fstatSync(fd).nlink, fs.fstatSync(fd).size], [[], 0, 7]);
      libc.close(fd);
    },
  "open(2), O_TMPFILE: specifying O_EXCL prevents a temporary file from being linked into the file system": (
    d,
  ) => {
    const fd = ok(libc.open(d, k.O_TMPFILE | k.O_RDWR | k.O_EXCL, 0o600));
    fails("ENOENT", () => linkat(`/proc/self/fd/${fd}`, `${d}/named`, k.AT_SYMLINK_FOLLOW));
    libc.close(fd);
  },
  "open(2), O_TMPFILE: must be specified with one of O_RDWR or O_WRONLY": (d) => {
    fails("EINVAL", () => libc.open(d, k.O_TMPFILE | k.O_RDONLY, 0o600));
  },
  "linkat(2), EEXIST: newpath already exists, for an unnamed file as for any other": (d) => {
    fs.writeFileSync(`${d}/there`, "");
    const fd = ok(libc.open(d, k.O_TMPFILE | k.O_RDWR, 0o600));
    fails("EEXIST", () => linkat(`/proc/self/fd/${fd}`, `${d}/there`, k.AT_SYMLINK_FOLLOW));
    ok(linkat(`/proc/self/fd/${fd}`, `${d}/a`, k.AT_SYMLINK_FOLLOW));
    ok(linkat(`/proc/self/fd/${fd}`, `${d}/b`, k.AT_SYMLINK_FOLLOW));
    assert.equal(fs.fstatSync(fd).nlink, 2);
    libc.close(fd);
  },
  "open(2), O_PATH: the file itself is not opened, and other file operations fail with the error EBADF": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "content", { mode: 0o000 });
    opened(`${d}/f`, k.O_PATH, (fd) => {
      fails("EBADF", () => fs.readSync(fd, Buffer.alloc(1)));
      fails("EBADF", () => libc.fchmod(fd, 0o600));
      assert.equal(fs.fstatSync(fd).size, 7);
    });
  },
  "open(2), O_DIRECT: file I/O is done directly to/from user-space buffers; what it writes, buffered readers see, and the reverse":
    (d) => {
      const memory = libc.allocate(8192);
      fs.writeFileSync(`${d}/f`, Buffer.alloc(8192, 1));
      opened(`${d}/f`, k.O_RDWR | k.O_DIRECT, (fd) => {
        assert.equal(libc.pread(fd, memory.address, 8192, 0), 8192);
        assert.equal(memory.bytes[8191], 1);
        memory.bytes.fill(2);
        assert.equal(libc.pwrite(fd, memory.address, 4096, 4096), 4096);
      });
      const data = fs.readFileSync(`${d}/f`);
      assert.deepEqual([data[4095], data[4096], data[8191], data.length], [1, 2, 2, 8192]);
      libc.release(memory);
    },
  "open(2), O_SYNC, O_DSYNC: write operations on the file will complete as if followed by fsync(2) or fdatasync(2)":
    (d) => {
      for (const flag of [k.O_SYNC, k.O_DSYNC])
        opened(`${d}/f`, CREATE | flag, (fd) => assert.equal(fs.writeSync(fd, "synced", 0), 6));
      assert.equal(fs.readFileSync(`${d}/f`, "utf8"), "synced");
    },
  "open(2), O_NOATIME: EPERM when the caller is not the owner of the file and has no CAP_FOWNER": (d) => {
    fs.writeFileSync(`${d}/f`, "x");
    fs.chmodSync(`${d}/f`, 0o644);
    opened(`${d}/f`, k.O_RDONLY | k.O_NOATIME, () => {});
    as(1234, 1234, [], () => fails("EPERM", () => libc.open(`${d}/f`, k.O_RDONLY | k.O_NOATIME)));
  },
  "POSIX open(): the file status flags and access modes: a descriptor for reading cannot write, one for writing cannot read":
    (d) => {
      fs.writeFileSync(`${d}/f`, "x");
      opened(`${d}/f`, k.O_RDONLY, (fd) => fails("EBADF", () => fs.writeSync(fd, "y")));
      opened(`${d}/f`, k.O_WRONLY, (fd) => fails("EBADF", () => fs.readSync(fd, Buffer.alloc(1))));
    },
  "fsync(2): transfers all modified in-core data of the file referred to by fd; on directories and read-only descriptors too":
    (d) => {
      fs.writeFileSync(`${d}/f`, "x");
      for (const path of [d, `${d}/f`])
        opened(path, k.O_RDONLY, (fd) => assert.deepEqual([libc.fsync(fd), libc.fdatasync(fd)], [0, 0]));
    },
  "close(2): a file descriptor number may be reused; what was open before stays as it is through rename, unlink and chmod":
    (d) => {
      fs.writeFileSync(`${d}/f`, "one");
      opened(`${d}/f`, k.O_RDWR, (fd) => {
        fs.chmodSync(`${d}/f`, 0);
        fs.renameSync(`${d}/f`, `${d}/g`);
        fs.unlinkSync(`${d}/g`);
        fs.writeSync(fd, "two", 0);
        assert.equal(fs.readFileSync(fd, "utf8"), "two");
      });
    },
};
