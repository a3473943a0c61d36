/** What SECOND's directory is to whoever looks at it: complete, and read-only. The directory holds a file `f`, a directory `d`, a link `l`. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { fails, mknod, opened, type Rules } from "./posix_calls.ts";

export const readOnlyRules: Rules = {
  "EROFS, whatever page: pathname refers to a file on a read-only file system, and write access was requested":
    (d) => {
      const calls: Record<string, () => unknown> = {
        open: () => libc.open(`${d}/f`, k.O_RDWR),
        truncate: () => fs.truncateSync(`${d}/f`, 0),
        create: () => libc.open(`${d}/new`, k.O_CREAT | k.O_WRONLY, 0o644),
        unnamed: () => libc.open(d, k.O_TMPFILE | k.O_RDWR, 0o644),
        mkdir: () => fs.mkdirSync(`${d}/new`),
        rmdir: () => fs.rmdirSync(`${d}/d`),
        unlink: () => fs.unlinkSync(`${d}/f`),
        rename: () => fs.renameSync(`${d}/f`, `${d}/g`),
        link: () => fs.linkSync(`${d}/f`, `${d}/g`),
        symlink: () => fs.symlinkSync("x", `${d}/new`),
        mknod: () => mknod(`${d}/new`, k.S_IFIFO | 0o600),
        chmod: () => fs.chmodSync(`${d}/f`, 0o600),
        chown: () => fs.lchownSync(`${d}/l`, 1, 1),
        utimes: () => fs.utimesSync(`${d}/f`, 1, 1),
        setxattr: () =>
          libc.withString(`${d}/f`, (at) =>
            libc.withString("user.a", (name) => libc.setxattr(at, name, at, 1, 0)),
          ),
        access: () => fs.accessSync(`${d}/f`, fs.constants.W_OK),
      };
      for (const [name, call] of Object.entries(calls)) {
        try {
          fails("EROFS", call);
        } catch (error) {
          throw new Error(`${name}: ${(error as Error).message}`);
        }
      }
    },
  "open(2), O_RDONLY; readlink(2); mmap(2), MAP_PRIVATE: reading needs no more": (d) => {
    assert.ok(fs.readdirSync(d).includes("f") && fs.readlinkSync(`${d}/l`).length > 0);
    opened(`${d}/f`, k.O_RDONLY, (fd) => {
      const at = libc.mmap(4096, k.PROT_READ | k.PROT_WRITE, k.MAP_PRIVATE, fd, 0);
      assert.ok(at > 0);
      libc.munmap(at, 4096);
    });
    fs.accessSync(`${d}/f`, fs.constants.R_OK);
  },
};
