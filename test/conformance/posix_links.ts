/** link, unlink, rename, mkdir, rmdir, symlink, mknod: what they refuse, and with which error. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { fails, linkat, mknod, modeOf, ok, opened, type Rules, renameat2 } from "./posix_calls.ts";

const LONG = "n".repeat(255);

export const linkRules: Rules = {
  "link(2), EPERM: oldpath is a directory": (d) => {
    fs.mkdirSync(`${d}/d`);
    fails("EPERM", () => fs.linkSync(`${d}/d`, `${d}/e`));
  },
  "link(2), EEXIST: newpath already exists; if it is a symbolic link it is not followed": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    fs.symlinkSync("nowhere", `${d}/l`);
    for (const name of ["f", "l"]) fails("EEXIST", () => fs.linkSync(`${d}/f`, `${d}/${name}`));
  },
  "link(2), ENOENT: oldpath does not exist or is a dangling component": (d) => {
    fails("ENOENT", () => fs.linkSync(`${d}/none`, `${d}/new`));
    fs.writeFileSync(`${d}/f`, "");
    fails("ENOENT", () => fs.linkSync(`${d}/f`, `${d}/none/new`));
  },
  "linkat(2): by default oldpath is not dereferenced if it is a symbolic link; AT_SYMLINK_FOLLOW dereferences it":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fs.symlinkSync("f", `${d}/l`);
      ok(linkat(`${d}/l`, `${d}/link`, 0));
      ok(linkat(`${d}/l`, `${d}/file`, k.AT_SYMLINK_FOLLOW));
      assert.ok(fs.lstatSync(`${d}/link`).isSymbolicLink() && fs.lstatSync(`${d}/file`).isFile());
      assert.deepEqual([fs.lstatSync(`${d}/l`).nlink, fs.statSync(`${d}/f`).nlink], [2, 2]);
    },
  "link(2): the new name refers to the same file as the old: fifos, sockets and devices too": (d) => {
    const kinds = [k.S_IFIFO, k.S_IFSOCK, k.S_IFCHR];
    for (const [i, kind] of kinds.entries()) {
      ok(mknod(`${d}/a${i}`, kind | 0o600, kind === k.S_IFCHR ? 259 : 0));
      fs.linkSync(`${d}/a${i}`, `${d}/b${i}`);
      fs.chmodSync(`${d}/b${i}`, 0o640);
      assert.deepEqual([modeOf(`${d}/a${i}`), fs.lstatSync(`${d}/a${i}`).nlink], [0o640, 2]);
    }
  },
  "unlink(2), EISDIR: pathname refers to a directory": (d) => {
    fs.mkdirSync(`${d}/d`);
    fails("EISDIR", () => libc.withString(`${d}/d`, (at) => libc.unlinkat(k.AT_FDCWD, at, 0)));
  },
  "unlink(2): if the name referred to a symbolic link, the link is removed": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    fs.symlinkSync("f", `${d}/l`);
    fs.unlinkSync(`${d}/l`);
    assert.deepEqual(fs.readdirSync(d), ["f"]);
  },
  "unlink(2), ENOENT, ENOTDIR, ENAMETOOLONG": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    fails("ENOENT", () => fs.unlinkSync(`${d}/none`));
    fails("ENOTDIR", () => fs.unlinkSync(`${d}/f/g`));
    fails("ENAMETOOLONG", () => fs.unlinkSync(`${d}/${LONG}n`));
  },
  "unlink(2): if any processes still have the file open, it remains in existence until the last descriptor is closed; a new file of that name is another":
    (d) => {
      fs.writeFileSync(`${d}/f`, "old");
      opened(`${d}/f`, k.O_RDWR, (fd) => {
        fs.unlinkSync(`${d}/f`);
        fs.writeFileSync(`${d}/f`, "new");
        assert.notEqual(fs.fstatSync(fd).ino, fs.statSync(`${d}/f`).ino);
        fs.fchmodSync(fd, 0o600);
        fs.futimesSync(fd, 1, 2);
        assert.equal(fs.readFileSync(fd, "utf8"), "old");
        assert.deepEqual([fs.fstatSync(fd).mode & 0o777, fs.fstatSync(fd).mtimeMs], [0o600, 2000]);
      });
      assert.equal(fs.readFileSync(`${d}/f`, "utf8"), "new");
    },
  "rmdir(2), ENOTEMPTY: pathname contains entries other than . and ..": (d) => {
    fs.mkdirSync(`${d}/d`);
    fs.symlinkSync("x", `${d}/d/l`);
    fails("ENOTEMPTY", () => fs.rmdirSync(`${d}/d`));
    fs.unlinkSync(`${d}/d/l`);
    fs.rmdirSync(`${d}/d`);
  },
  "rmdir(2), EINVAL: pathname has . as last component; ENOTDIR: it is not a directory": (d) => {
    fs.mkdirSync(`${d}/d`);
    fs.writeFileSync(`${d}/f`, "");
    fs.symlinkSync("d", `${d}/l`);
    const rmdir = (path: string): number =>
      libc.withString(path, (at) => libc.unlinkat(k.AT_FDCWD, at, k.AT_REMOVEDIR));
    fails("EINVAL", () => rmdir(`${d}/d/.`));
    fails("ENOTEMPTY", () => rmdir(`${d}/d/..`));
    for (const name of ["f", "l"]) fails("ENOTDIR", () => rmdir(`${d}/${name}`));
  },
  "POSIX rmdir(): if one or more processes have the directory open when the last link is removed, no new entries may be created in it":
    (d) => {
      fs.mkdirSync(`${d}/d`);
      opened(`${d}/d`, k.O_RDONLY | k.O_DIRECTORY, (fd) => {
        fs.rmdirSync(`${d}/d`);
        fails("ENOENT", () =>
          libc.withString("new", (at) => libc.openat(fd, at, k.O_CREAT | k.O_WRONLY, 0o644)),
        );
        fails("ENOENT", () => libc.withString("new", (at) => libc.mkdirat(fd, at, 0o755)));
        assert.ok(fs.fstatSync(fd).isDirectory());
      });
    },
  "mkdir(2), EEXIST: pathname already exists, not necessarily as a directory; a dangling link too": (d) => {
    fs.writeFileSync(`${d}/f`, "");
    fs.symlinkSync("nowhere", `${d}/l`);
    for (const name of ["f", "l", ".", ""]) fails("EEXIST", () => fs.mkdirSync(`${d}/${name}`));
    fails("ENOENT", () => fs.mkdirSync(`${d}/none/d`));
    fails("ENOTDIR", () => fs.mkdirSync(`${d}/f/d`));
  },
  "mkdir(2): the mode is (mode & ~umask & 01777); the set-group-ID bit comes from the parent": (d) => {
    fs.mkdirSync(`${d}/d`);
    fs.chmodSync(`${d}/d`, 0o7777);
    assert.equal(modeOf(`${d}/d`), 0o7777);
    const before = process.umask(0o027);
    libc.withString(`${d}/e`, (at) => ok(libc.mkdirat(k.AT_FDCWD, at, 0o1777)));
    libc.withString(`${d}/d/f`, (at) => ok(libc.mkdirat(k.AT_FDCWD, at, 0o777)));
    process.umask(before);
    assert.deepEqual([modeOf(`${d}/e`), modeOf(`${d}/d/f`)], [0o1750, 0o2750]);
  },
  "rename(2): if newpath already exists, it will be atomically replaced; a reader of the name finds one or the other":
    (d) => {
      fs.writeFileSync(`${d}/a`, "a");
      fs.writeFileSync(`${d}/b`, "b");
      fs.renameSync(`${d}/a`, `${d}/b`);
      assert.deepEqual([fs.readdirSync(d), fs.readFileSync(`${d}/b`, "utf8")], [["b"], "a"]);
    },
  "rename(2): if oldpath and newpath are existing hard links referring to the same file, then rename() does nothing":
    (d) => {
      fs.writeFileSync(`${d}/a`, "");
      fs.linkSync(`${d}/a`, `${d}/b`);
      fs.renameSync(`${d}/a`, `${d}/b`);
      fs.renameSync(`${d}/a`, `${d}/a`);
      assert.deepEqual([fs.readdirSync(d).sort(), fs.statSync(`${d}/a`).nlink], [["a", "b"], 2]);
    },
  "rename(2): oldpath can specify a directory; newpath must either not exist, or it must specify an empty directory":
    (d) => {
      for (const name of ["a/x", "b", "c/y"]) fs.mkdirSync(`${d}/${name}`, { recursive: true });
      fails("ENOTEMPTY", () => fs.renameSync(`${d}/a`, `${d}/c`));
      fs.renameSync(`${d}/a`, `${d}/b`);
      assert.deepEqual([fs.readdirSync(d).sort(), fs.readdirSync(`${d}/b`)], [["b", "c"], ["x"]]);
    },
  "rename(2), EISDIR: newpath is a directory, but oldpath is not; ENOTDIR: oldpath is a directory, and newpath exists but is not":
    (d) => {
      fs.mkdirSync(`${d}/d`);
      for (const kind of [k.S_IFREG, k.S_IFIFO, k.S_IFSOCK]) {
        ok(mknod(`${d}/o`, kind | 0o600));
        fails("EISDIR", () => fs.renameSync(`${d}/o`, `${d}/d`));
        fails("ENOTDIR", () => fs.renameSync(`${d}/d`, `${d}/o`));
        fs.unlinkSync(`${d}/o`);
      }
    },
  "rename(2), EINVAL: the new pathname contained a path prefix of the old": (d) => {
    fs.mkdirSync(`${d}/a/b/c`, { recursive: true });
    for (const to of ["a/x", "a/b/x", "a/b/c/x"])
      fails("EINVAL", () => fs.renameSync(`${d}/a`, `${d}/${to}`));
    fails("ENOTEMPTY", () => fs.renameSync(`${d}/a/b/c`, `${d}/a`));
  },
  "rename(2): if oldpath refers to a symbolic link, the link is renamed; if newpath refers to one, it is overwritten":
    (d) => {
      fs.writeFileSync(`${d}/f`, "kept");
      fs.symlinkSync("f", `${d}/a`);
      fs.symlinkSync("f", `${d}/b`);
      fs.renameSync(`${d}/a`, `${d}/c`);
      fs.writeFileSync(`${d}/g`, "over");
      fs.renameSync(`${d}/g`, `${d}/b`);
      assert.ok(fs.lstatSync(`${d}/c`).isSymbolicLink() && fs.lstatSync(`${d}/b`).isFile());
      assert.equal(fs.readFileSync(`${d}/f`, "utf8"), "kept");
    },
  "renameat2(2), RENAME_NOREPLACE: don't overwrite newpath; return an error if newpath already exists": (
    d,
  ) => {
    for (const name of ["a", "b"]) fs.writeFileSync(`${d}/${name}`, name);
    fs.symlinkSync("nowhere", `${d}/l`);
    for (const to of ["b", "l", "a"])
      fails("EEXIST", () => renameat2(`${d}/a`, `${d}/${to}`, k.RENAME_NOREPLACE));
    ok(renameat2(`${d}/a`, `${d}/c`, k.RENAME_NOREPLACE));
  },
  "renameat2(2), RENAME_EXCHANGE: atomically exchange oldpath and newpath; both must exist but may be of different types":
    (d) => {
      fs.mkdirSync(`${d}/d/inner`, { recursive: true });
      fs.mkdirSync(`${d}/e`);
      fs.symlinkSync("x", `${d}/e/l`);
      ok(renameat2(`${d}/d`, `${d}/e/l`, k.RENAME_EXCHANGE));
      assert.ok(fs.lstatSync(`${d}/d`).isSymbolicLink() && fs.lstatSync(`${d}/e/l/inner`).isDirectory());
      fails("ENOENT", () => renameat2(`${d}/d`, `${d}/none`, k.RENAME_EXCHANGE));
      fails("EINVAL", () => renameat2(`${d}/e`, `${d}/e/l`, k.RENAME_EXCHANGE));
      assert.deepEqual([fs.statSync(d).nlink, fs.statSync(`${d}/e`).nlink], [3, 3]);
    },
  "renameat2(2), EINVAL: an invalid flag was specified in flags, or both RENAME_NOREPLACE and RENAME_EXCHANGE":
    (d) => {
      fs.writeFileSync(`${d}/a`, "");
      fails("EINVAL", () => renameat2(`${d}/a`, `${d}/b`, k.RENAME_NOREPLACE | k.RENAME_EXCHANGE));
      fails("EINVAL", () => renameat2(`${d}/a`, `${d}/b`, 1 << 10));
    },
  "rename(2), EXDEV: oldpath and newpath are not on the same mounted file system; link(2) likewise": (d) => {
    const elsewhere = `/proc/self/mountinfo`;
    fails("EXDEV", () => fs.linkSync(elsewhere, `${d}/l`));
    fs.writeFileSync(`${d}/f`, "");
    fails("EXDEV", () => fs.renameSync(`${d}/f`, `/dev/shm/holdfast-exdev-${process.pid}`));
  },
  "symlink(2): a symbolic link may point to a nonexistent file; its length is that of its target; EEXIST when linkpath exists":
    (d) => {
      for (const target of ["x", "x".repeat(59), "x".repeat(60), "x".repeat(4095)]) {
        fs.symlinkSync(target, `${d}/l`);
        assert.deepEqual(
          [fs.readlinkSync(`${d}/l`), fs.lstatSync(`${d}/l`).size, modeOf(`${d}/l`)],
          [target, target.length, 0o777],
        );
        fails("EEXIST", () => fs.symlinkSync(target, `${d}/l`));
        fs.unlinkSync(`${d}/l`);
      }
      fails("ENAMETOOLONG", () => fs.symlinkSync("x".repeat(4096), `${d}/l`));
      fails("ENOENT", () => fs.symlinkSync("", `${d}/l`));
    },
  "readlink(2): it will (silently) truncate the contents; EINVAL: the named file is not a symbolic link": (
    d,
  ) => {
    fs.symlinkSync("abcdef", `${d}/l`);
    const memory = libc.allocate(16);
    const read = (path: string): number =>
      libc.withString(path, (at) => libc.readlinkat(k.AT_FDCWD, at, memory.address, 3));
    assert.equal(read(`${d}/l`), 3);
    assert.equal(Buffer.from(memory.bytes.slice(0, 4)).toString("latin1"), "abc\0");
    fails("EINVAL", () => read(d));
    libc.release(memory);
  },
  "path_resolution(7), ELOOP: too many symbolic links were encountered in resolving a pathname": (d) => {
    fs.symlinkSync("b", `${d}/a`);
    fs.symlinkSync("a", `${d}/b`);
    fails("ELOOP", () => fs.statSync(`${d}/a`));
    fails("ELOOP", () => fs.writeFileSync(`${d}/a/x`, ""));
    for (let i = 0; i < 45; i++) fs.symlinkSync(i === 0 ? "." : `s${i - 1}`, `${d}/s${i}`);
    fs.statSync(`${d}/s39`);
    fails("ELOOP", () => fs.statSync(`${d}/s40`));
  },
  "mknod(2): create a file system node: regular file, FIFO, socket, device, with mode & ~umask; EEXIST when it is there":
    (d) => {
      const before = process.umask(0o022);
      for (const kind of [k.S_IFREG, k.S_IFIFO, k.S_IFSOCK, k.S_IFCHR, k.S_IFBLK]) {
        const device = kind === k.S_IFCHR || kind === k.S_IFBLK ? (7 << 8) | 99 : 0;
        ok(mknod(`${d}/n`, kind | 0o6666, device));
        const stat = fs.lstatSync(`${d}/n`);
        assert.deepEqual([stat.mode, stat.rdev], [kind | 0o6644, device]);
        fails("EEXIST", () => mknod(`${d}/n`, kind | 0o666, device));
        fs.unlinkSync(`${d}/n`);
      }
      process.umask(before);
    },
  "limits.h, NAME_MAX: 255 bytes; pathname(7): a name is any bytes but NUL and slash; ENAMETOOLONG beyond, whatever the call":
    (d) => {
      for (const name of [LONG, "é".repeat(127), "\u0001\n *?\\"]) {
        fs.writeFileSync(`${d}/${name}`, name);
        fs.renameSync(`${d}/${name}`, `${d}/short`);
        fs.linkSync(`${d}/short`, `${d}/${name}`);
        assert.deepEqual(fs.readdirSync(d).sort(), [name, "short"].sort());
        fs.unlinkSync(`${d}/${name}`);
      }
      const over = `${d}/${LONG}n`;
      fs.writeFileSync(`${d}/f`, "");
      const calls = [
        () => fs.mkdirSync(over),
        () => fs.symlinkSync("x", over),
        () => fs.linkSync(`${d}/f`, over),
        () => fs.renameSync(`${d}/f`, over),
        () => mknod(over, k.S_IFIFO | 0o600),
        () => fs.statSync(over),
      ];
      for (const call of calls) fails("ENAMETOOLONG", call);
    },
  "limits.h, PATH_MAX: 4096 bytes, the NUL included; a tree may be deeper, reached from a working directory or descriptor":
    (d) => {
      fails("ENAMETOOLONG", () => fs.statSync(`${d}/${"x/".repeat(2050)}`));
      let fd = ok(libc.open(d, k.O_RDONLY | k.O_DIRECTORY));
      for (let depth = 0; depth < 20; depth++) {
        const next = libc.withString(
          LONG,
          (at) => libc.mkdirat(fd, at, 0o755) || libc.openat(fd, at, k.O_RDONLY | k.O_DIRECTORY, 0),
        );
        libc.close(fd);
        fd = ok(next);
      }
      libc.withString("deep", (at) => libc.close(ok(libc.openat(fd, at, k.O_CREAT | k.O_WRONLY, 0o644))));
      libc.close(fd);
    },
  "readdir(3): entries that were there all the while are returned exactly once, whatever is added, renamed or removed meanwhile":
    (d) => {
      for (let i = 0; i < 1000; i++) fs.writeFileSync(`${d}/kept-${i}`, "");
      const directory = fs.opendirSync(d, { bufferSize: 32 });
      const seen = new Map<string, number>();
      let turn = 0;
      for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
        seen.set(entry.name, (seen.get(entry.name) ?? 0) + 1);
        if (turn++ > 3000) break;
        if (turn % 3 === 0) fs.writeFileSync(`${d}/new-${turn}`, "");
        if (turn % 6 === 0) fs.renameSync(`${d}/new-${turn}`, `${d}/renamed-${turn}`);
        if (turn % 9 === 0) fs.rmSync(`${d}/new-${turn}`, { force: true });
      }
      directory.closeSync();
      for (let i = 0; i < 1000; i++) assert.equal(seen.get(`kept-${i}`), 1, `kept-${i}`);
    },
  "getdents(2): d_type and d_ino tell what stat does; . and .. are there": (d) => {
    fs.mkdirSync(`${d}/d`);
    fs.symlinkSync("x", `${d}/l`);
    ok(mknod(`${d}/p`, k.S_IFIFO | 0o600));
    const types = Object.fromEntries(
      fs
        .readdirSync(d, { withFileTypes: true })
        .map((entry) => [
          entry.name,
          entry.isDirectory() ? "d" : entry.isSymbolicLink() ? "l" : entry.isFIFO() ? "p" : "?",
        ]),
    );
    assert.deepEqual(types, { d: "d", l: "l", p: "p" });
  },
};
