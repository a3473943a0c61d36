/** Who may do what: several users, groups and modes, and extended attributes. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { as, fails, linkat, mknod, modeOf, ok, opened, type Rules, renameat2 } from "./posix_calls.ts";

const [ALICE, BOB, STAFF] = [1001, 1002, 2001];
const asAlice = (act: () => void): void => as(ALICE!, ALICE!, [], act);
const asBob = (act: () => void): void => as(BOB!, BOB!, [], act);

/** setxattr(2) of a short value, or -errno. */
function setxattr(path: string, name: string, flags = 0, length = 3): number {
  const value = libc.allocate(Math.max(length, 4));
  const result = libc.withString(path, (at) =>
    libc.withString(name, (called) => libc.lsetxattr(at, called, value.address, length, flags)),
  );
  libc.release(value);
  return result;
}

const removexattr = (path: string, name: string): number =>
  libc.withString(path, (at) => libc.withString(name, (called) => libc.removexattr(at, called)));

/** The length of an attribute's value, read into `room` bytes, or -errno. */
function getxattr(path: string, name: string, room: number): number {
  const value = libc.allocate(4096);
  const result = libc.withString(path, (at) =>
    libc.withString(name, (called) => libc.lgetxattr(at, called, value.address, room)),
  );
  libc.release(value);
  return result;
}

export const userRules: Rules = {
  "path_resolution(7): if the process does not have search permission on the directory, an EACCES error is returned":
    (d) => {
      fs.mkdirSync(`${d}/d`);
      fs.writeFileSync(`${d}/d/f`, "x");
      fs.chmodSync(`${d}/d`, 0o666);
      asAlice(() => {
        fails("EACCES", () => fs.statSync(`${d}/d/f`));
        assert.deepEqual(fs.readdirSync(`${d}/d`), ["f"]);
      });
      fs.chmodSync(`${d}/d`, 0o711);
      asAlice(() => {
        fails("EACCES", () => fs.readdirSync(`${d}/d`));
        assert.equal(fs.readFileSync(`${d}/d/f`, "utf8"), "x");
      });
    },
  "path_resolution(7): the owner's bits count for the owner alone, then the group's for its members, then the others'":
    (d) => {
      fs.writeFileSync(`${d}/f`, "x");
      fs.chownSync(`${d}/f`, ALICE!, STAFF!);
      const can = (mode: number, act: (read: () => void) => void): void => {
        fs.chmodSync(`${d}/f`, mode);
        act(() => void fs.readFileSync(`${d}/f`));
      };
      can(0o044, (read) => asAlice(() => fails("EACCES", read)));
      can(0o400, (read) => asAlice(read));
      can(0o404, (read) => as(BOB!, STAFF!, [], () => fails("EACCES", read)));
      can(0o404, (read) => as(BOB!, BOB!, [STAFF!], () => fails("EACCES", read)));
      can(0o040, (read) => as(BOB!, BOB!, [STAFF!], read));
      can(0o004, (read) => asBob(read));
      can(0o000, (read) => read());
    },
  "open(2), EACCES: search permission, or write permission on the parent when the file does not exist yet": (
    d,
  ) => {
    fs.mkdirSync(`${d}/d`, { mode: 0o755 });
    const calls: Record<string, () => unknown> = {
      create: () => libc.open(`${d}/d/new`, k.O_CREAT | k.O_WRONLY, 0o644),
      unnamed: () => libc.open(`${d}/d`, k.O_TMPFILE | k.O_WRONLY, 0o644),
      mkdir: () => fs.mkdirSync(`${d}/d/new`),
      symlink: () => fs.symlinkSync("x", `${d}/d/new`),
      mkfifo: () => mknod(`${d}/d/new`, k.S_IFIFO | 0o644),
      link: () => fs.linkSync(`${d}/mine`, `${d}/d/new`),
      rename: () => fs.renameSync(`${d}/mine`, `${d}/d/new`),
    };
    fs.chmodSync(d, 0o777);
    asAlice(() => {
      fs.writeFileSync(`${d}/mine`, "");
      for (const call of Object.values(calls)) fails("EACCES", call);
    });
    assert.deepEqual(fs.readdirSync(`${d}/d`), []);
  },
  "unlink(2), rmdir(2), rename(2), EACCES: write access to the containing directory is not allowed, whoever owns the file":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fs.mkdirSync(`${d}/e`);
      for (const name of ["f", "e"]) fs.chownSync(`${d}/${name}`, ALICE!, ALICE!);
      asAlice(() => {
        fails("EACCES", () => fs.unlinkSync(`${d}/f`));
        fails("EACCES", () => fs.rmdirSync(`${d}/e`));
        fails("EACCES", () => fs.renameSync(`${d}/f`, `${d}/g`));
      });
    },
  "unlink(2), rename(2), S_ISVTX: in a sticky directory, only the owner of the file, of the directory, or root may":
    (d) => {
      fs.chownSync(d, BOB!, BOB!);
      fs.chmodSync(d, 0o1777);
      const make = (name: string): void => {
        fs.writeFileSync(`${d}/${name}`, "");
        fs.chownSync(`${d}/${name}`, ALICE!, ALICE!);
      };
      for (const name of ["a", "b", "c"]) make(name);
      as(1003, 1003, [], () => {
        fails("EPERM", () => fs.unlinkSync(`${d}/a`));
        fails("EPERM", () => fs.renameSync(`${d}/a`, `${d}/z`));
        fs.writeFileSync(`${d}/own`, "");
        fails("EPERM", () => fs.renameSync(`${d}/own`, `${d}/a`));
        fails("EPERM", () => renameat2(`${d}/own`, `${d}/a`, k.RENAME_EXCHANGE));
      });
      asAlice(() => fs.unlinkSync(`${d}/a`));
      asBob(() => fs.unlinkSync(`${d}/b`));
      fs.unlinkSync(`${d}/c`);
    },
  "chmod(2), EPERM: the effective UID does not match the owner of the file; utimes and chown likewise": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "");
    fs.chmodSync(`${d}/f`, 0o666);
    fs.chownSync(`${d}/f`, ALICE!, ALICE!);
    asBob(() => {
      fails("EPERM", () => fs.chmodSync(`${d}/f`, 0o777));
      fails("EPERM", () => fs.chownSync(`${d}/f`, BOB!, BOB!));
      fails("EPERM", () => fs.utimesSync(`${d}/f`, 1, 1));
    });
    asAlice(() => fs.chmodSync(`${d}/f`, 0o600));
  },
  "chown(2): the owner of a file may change its group to any group of which that owner is a member, and nothing else":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fs.chownSync(`${d}/f`, ALICE!, ALICE!);
      as(ALICE!, ALICE!, [STAFF!], () => {
        fs.chownSync(`${d}/f`, ALICE!, STAFF!);
        fails("EPERM", () => fs.chownSync(`${d}/f`, BOB!, STAFF!));
        fails("EPERM", () => fs.chownSync(`${d}/f`, ALICE!, BOB!));
      });
      assert.equal(fs.statSync(`${d}/f`).gid, STAFF);
    },
  "chmod(2): S_ISGID is turned off when the file's group is not among the caller's, without CAP_FSETID": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "");
    fs.chownSync(`${d}/f`, ALICE!, STAFF!);
    asAlice(() => fs.chmodSync(`${d}/f`, 0o2755));
    assert.equal(modeOf(`${d}/f`), 0o755);
    as(ALICE!, ALICE!, [STAFF!], () => fs.chmodSync(`${d}/f`, 0o2755));
    assert.equal(modeOf(`${d}/f`), 0o2755);
  },
  "chown(2): set-user-ID and set-group-ID are cleared when an executable's owner is changed; set-group-ID without group execute stays":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      for (const [before, after] of [
        [0o6755, 0o755],
        [0o6745, 0o2745],
        [0o4644, 0o644],
      ] as const) {
        fs.chmodSync(`${d}/f`, before);
        fs.chownSync(`${d}/f`, 5, 5);
        assert.equal(modeOf(`${d}/f`), after);
      }
      fs.chmodSync(d, 0o6755);
      fs.chownSync(d, 5, 5);
      assert.equal(modeOf(d), 0o6755);
    },
  "write(2), truncate(2), fallocate(2): an unprivileged change of content clears set-user-ID and set-group-ID":
    (d) => {
      const acts: Record<string, (fd: number) => unknown> = {
        write: (fd) => fs.writeSync(fd, "x"),
        truncate: (fd) => libc.ftruncate(fd, 1),
        allocate: (fd) => libc.fallocate(fd, 0, 0, 10_000),
        punch: (fd) => libc.fallocate(fd, 3, 0, 2),
      };
      for (const [name, act] of Object.entries(acts)) {
        fs.writeFileSync(`${d}/${name}`, "content");
        fs.chownSync(`${d}/${name}`, ALICE!, ALICE!);
        fs.chmodSync(`${d}/${name}`, 0o6777);
        asBob(() => void opened(`${d}/${name}`, k.O_RDWR, act));
        assert.equal(modeOf(`${d}/${name}`), 0o777, name);
      }
    },
  "mknod(2), open(2): special bits of what a user makes are kept; the owner is the user, the group the user's":
    (d) => {
      fs.chmodSync(d, 0o777);
      asAlice(() => {
        ok(mknod(`${d}/p`, k.S_IFIFO | 0o4755));
        libc.close(ok(libc.open(`${d}/f`, k.O_CREAT | k.O_EXCL | k.O_WRONLY, 0o6755)));
        const unnamed = ok(libc.open(d, k.O_TMPFILE | k.O_RDWR, 0o4755));
        ok(linkat(`/proc/self/fd/${unnamed}`, `${d}/t`, k.AT_SYMLINK_FOLLOW));
        libc.close(unnamed);
      });
      for (const [name, mode] of [
        ["p", 0o4755],
        ["f", 0o6755],
        ["t", 0o4755],
      ] as const) {
        const { uid, gid } = fs.lstatSync(`${d}/${name}`);
        assert.deepEqual([modeOf(`${d}/${name}`), uid, gid], [mode, ALICE, ALICE], name);
      }
    },
  "mknod(2), EPERM: a device needs CAP_MKNOD": (d) => {
    fs.chmodSync(d, 0o777);
    asAlice(() => fails("EPERM", () => mknod(`${d}/n`, k.S_IFCHR | 0o666, 259)));
  },
  "access(2): checks with the real IDs; W_OK on a mode without any write bit is granted to root alone": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "", { mode: 0o444 });
    fs.accessSync(`${d}/f`, fs.constants.W_OK);
    fails("EACCES", () => fs.accessSync(`${d}/f`, fs.constants.X_OK));
    opened(`${d}/f`, k.O_RDWR, () => {});
    asAlice(() => fails("EACCES", () => libc.open(`${d}/f`, k.O_WRONLY)));
  },
  "xattr(7): user attributes need the file's permissions; trusted ones CAP_SYS_ADMIN; user ones exist on files and directories only":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fs.symlinkSync("f", `${d}/l`);
      asAlice(() => {
        fails("EACCES", () => setxattr(`${d}/f`, "user.a"));
        fails("EPERM", () => setxattr(`${d}/f`, "trusted.a"));
      });
      fs.chmodSync(`${d}/f`, 0o666);
      asAlice(() => ok(setxattr(`${d}/f`, "user.a")));
      fails("EPERM", () => setxattr(`${d}/l`, "user.a"));
      ok(setxattr(`${d}/l`, "trusted.a"));
      fails("EOPNOTSUPP", () => setxattr(`${d}/f`, "nonsense.a"));
    },
  "setxattr(2), XATTR_CREATE: EEXIST if the attribute exists already; XATTR_REPLACE: ENODATA if it does not; removexattr: ENODATA":
    (d) => {
      fs.writeFileSync(`${d}/f`, "");
      fails("ENODATA", () => setxattr(`${d}/f`, "user.a", k.XATTR_REPLACE));
      ok(setxattr(`${d}/f`, "user.a", k.XATTR_CREATE));
      fails("EEXIST", () => setxattr(`${d}/f`, "user.a", k.XATTR_CREATE));
      ok(setxattr(`${d}/f`, "user.a", k.XATTR_REPLACE, 0));
      assert.equal(getxattr(`${d}/f`, "user.a", 10), 0);
      ok(removexattr(`${d}/f`, "user.a"));
      fails("ENODATA", () => removexattr(`${d}/f`, "user.a"));
    },
  "getxattr(2), ERANGE: the size of the value buffer is too small; a size of zero asks for the length": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, "");
    ok(setxattr(`${d}/f`, "user.a", 0, 100));
    fails("ERANGE", () => getxattr(`${d}/f`, "user.a", 50));
    assert.equal(getxattr(`${d}/f`, "user.a", 0), 100);
    fails("ERANGE", () => setxattr(`${d}/f`, `user.${"n".repeat(251)}`));
    ok(setxattr(`${d}/f`, `user.${"n".repeat(250)}`));
  },
};
