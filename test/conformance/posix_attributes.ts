/** What applications may expect of attributes: times, extended attributes, inode numbers, special files, the space there is. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { type Rules, run } from "./posix_calls.ts";

export const attributeRules: Rules = {
  "xattr(7): extended attributes are name:value pairs; getxattr returns what setxattr set, listxattr lists it, removexattr removes it":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      run("setfattr", "-n", "user.colour", "-v", "blue", `${d}/f`);
      run("setfattr", "-n", "trusted.secret", "-v", "x", `${d}/f`);
      assert.equal(run("getfattr", "--only-values", "-n", "user.colour", `${d}/f`), "blue");
      const names = run("getfattr", "--absolute-names", "-m", "-", `${d}/f`)
        .split("\n")
        .slice(1)
        .filter((name) => name !== "");
      assert.deepEqual(names.sort(), ["trusted.secret", "user.colour"]);
      run("setfattr", "-x", "user.colour", `${d}/f`);
      assert.throws(() => run("getfattr", "-n", "user.colour", `${d}/f`));
    },

  "inode(7): timestamps have nanoseconds, and dates before 1970 and after 2106": (d) => {
    fs.writeFileSync(`${d}/f`, "x");
    const touch = (date: string): void => void run("touch", "-d", date, `${d}/f`);
    const mtime = (): string => run("stat", "-c", "%.9Y", `${d}/f`).trim();
    touch("2001-02-03 04:05:06.123456789 UTC");
    assert.equal(mtime(), "981173106.123456789");
    touch("1905-06-07 08:09:10.5 UTC");
    assert.equal(Math.floor(Number(mtime())), Date.UTC(1905, 5, 7, 8, 9, 10) / 1000);
    touch("2250-01-01 00:00:00 UTC");
    assert.equal(mtime(), "8835955200.000000000");
    run("touch", "-a", "-d", "1999-01-01 UTC", `${d}/f`);
    assert.equal(mtime(), "8835955200.000000000");
    assert.equal(run("stat", "-c", "%X", `${d}/f`).trim(), "915148800");
    const before = fs.statSync(`${d}/f`).ctimeMs;
    fs.chmodSync(`${d}/f`, 0o600);
    assert.ok(fs.statSync(`${d}/f`).ctimeMs >= before);
  },

  "inode(7), mtime: the mtime of a directory is changed by the creation or deletion of files in that directory":
    (d) => {
      run("touch", "-d", "2001-01-01 UTC", d);
      fs.writeFileSync(`${d}/f`, "");
      const created = fs.statSync(d).mtimeMs;
      assert.ok(Date.now() - created < 60_000);
      run("touch", "-d", "2001-01-01 UTC", d);
      fs.unlinkSync(`${d}/f`);
      assert.ok(Date.now() - fs.statSync(d).mtimeMs < 60_000);
    },

  "utime(2): a time that was set stays, whatever was written before it and is handed over later": (d) => {
    fs.writeFileSync(`${d}/f`, "x");
    run("sh", "-ec", `echo y >> ${d}/f; touch -d '2001-01-01 UTC' ${d}/f`);
    assert.equal(fs.statSync(`${d}/f`).mtimeMs, Date.UTC(2001, 0, 1));
    const fd = fs.openSync(`${d}/f`, "r+");
    fs.writeSync(fd, "z");
    fs.futimesSync(fd, 1000, 1000);
    fs.closeSync(fd);
    assert.equal(fs.statSync(`${d}/f`).mtimeMs, 1_000_000);
  },

  "mknod(2): devices, FIFOs and sockets are made with their numbers, and work": (d) => {
    run("mknod", `${d}/null`, "c", "1", "3");
    run("mknod", `${d}/block`, "b", "259", "65537");
    run("mkfifo", `${d}/pipe`);
    run("python3", "-c", `import socket; s = socket.socket(socket.AF_UNIX); s.bind("${d}/sock")`);
    assert.equal(run("stat", "-c", "%F %Hr %Lr", `${d}/null`).trim(), "character special file 1 3");
    assert.equal(run("stat", "-c", "%F %Hr %Lr", `${d}/block`).trim(), "block special file 259 65537");
    assert.ok(fs.lstatSync(`${d}/pipe`).isFIFO() && fs.lstatSync(`${d}/sock`).isSocket());
    run("sh", "-ec", `echo x > ${d}/null; (echo through > ${d}/pipe &) ; grep -q through ${d}/pipe`);
    fs.chmodSync(`${d}/pipe`, 0o600);
    fs.chownSync(`${d}/pipe`, 7, 7);
    assert.equal(fs.statSync(`${d}/pipe`).uid, 7);
  },

  "symlink(7): a symbolic link has an owner and times of its own, which lchown and AT_SYMLINK_NOFOLLOW change":
    (d) => {
      fs.symlinkSync("nowhere", `${d}/l`);
      fs.lchownSync(`${d}/l`, 5, 6);
      fs.lutimesSync(`${d}/l`, 1000, 2000);
      const stat = fs.lstatSync(`${d}/l`);
      assert.deepEqual([stat.uid, stat.gid, stat.mtimeMs], [5, 6, 2_000_000]);
      fs.linkSync(`${d}/l`, `${d}/hard`);
      assert.equal(fs.lstatSync(`${d}/hard`).nlink, 2);
    },

  "statvfs(3): f_bfree, f_bavail and f_blocks are of the file system that holds the data": (d) => {
    const stat = fs.statfsSync(d);
    assert.ok(
      stat.blocks > 0 &&
        stat.bfree <= stat.blocks &&
        stat.bavail <= stat.bfree &&
        stat.bsize >= 512 &&
        stat.files > 0,
    );
  },

  "inode(7): each file in a file system has a unique inode number, which stays when caches are dropped": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "");
    const { ino } = fs.statSync(`${d}/f`);
    fs.writeFileSync("/proc/sys/vm/drop_caches", "2");
    assert.equal(fs.statSync(`${d}/f`).ino, ino);
    assert.equal(run("ls", "-i", d).trim().split(" ")[0], String(ino));
    assert.equal(run("find", d, "-inum", String(ino)).trim(), `${d}/f`);
  },
};
