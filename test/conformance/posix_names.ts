/** What applications may expect of names: links, renames, directories, what a name may be. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { type Rules, run } from "./posix_calls.ts";

const { withString } = libc;

function renameat2(from: string, to: string, flags: number): number {
  return withString(from, (a) => withString(to, (b) => libc.renameat2(k.AT_FDCWD, a, k.AT_FDCWD, b, flags)));
}

export const nameRules: Rules = {
  "link(2): the new name may be used exactly as the old one; both refer to the same file; st_nlink counts them":
    (d) => {
      fs.writeFileSync(`${d}/a`, "one");
      fs.linkSync(`${d}/a`, `${d}/b`);
      assert.equal(fs.statSync(`${d}/a`).nlink, 2);
      assert.equal(fs.statSync(`${d}/a`).ino, fs.statSync(`${d}/b`).ino);
      fs.appendFileSync(`${d}/b`, " two");
      assert.equal(fs.readFileSync(`${d}/a`, "utf8"), "one two");
      fs.unlinkSync(`${d}/a`);
      assert.equal(fs.statSync(`${d}/b`).nlink, 1);
      fs.linkSync(`${d}/b`, `${d}/c`);
      fs.renameSync(`${d}/b`, `${d}/c`);
      assert.deepEqual(fs.readdirSync(d).sort(), ["b", "c"]);
    },

  "inode(7), st_nlink: a directory has two links and one more for each directory in it (ext4)": (d) => {
    fs.mkdirSync(`${d}/x/y`, { recursive: true });
    assert.equal(fs.statSync(`${d}/x`).nlink, 3);
    fs.rmdirSync(`${d}/x/y`);
    assert.equal(fs.statSync(`${d}/x`).nlink, 2);
  },

  "unlink(2): if any processes still have the file open, the file will remain in existence until the last descriptor is closed":
    (d) => {
      const fd = fs.openSync(`${d}/a`, "w+");
      fs.writeSync(fd, "before");
      fs.unlinkSync(`${d}/a`);
      fs.writeSync(fd, " after");
      fs.fsyncSync(fd);
      run("sh", "-c", `for i in 1 2 3 4 5 6 7 8 9; do echo x > ${d}/$i; done`);
      assert.equal(fs.fstatSync(fd).nlink, 0);
      const buffer = Buffer.alloc(20);
      assert.equal(fs.readSync(fd, buffer, 0, 20, 0), 12);
      assert.equal(buffer.toString("utf8", 0, 12), "before after");
      fs.ftruncateSync(fd, 3);
      assert.equal(fs.fstatSync(fd).size, 3);
      fs.closeSync(fd);
    },

  "rename(2): open file descriptors for oldpath and newpath are unaffected": (d) => {
    fs.writeFileSync(`${d}/old`, "old");
    const fd = fs.openSync(`${d}/old`, "r");
    fs.writeFileSync(`${d}/new`, "new");
    const { ino } = fs.statSync(`${d}/new`);
    fs.renameSync(`${d}/new`, `${d}/old`);
    assert.equal(fs.readFileSync(`${d}/old`, "utf8"), "new");
    assert.equal(fs.statSync(`${d}/old`).ino, ino);
    assert.equal(fs.readFileSync(fd, "utf8"), "old");
    fs.closeSync(fd);
    assert.throws(() => fs.statSync(`${d}/new`), { code: "ENOENT" });
  },

  "rename(2): ENOTEMPTY, EINVAL, and .. of a directory that moved": (d) => {
    fs.mkdirSync(`${d}/a/b`, { recursive: true });
    fs.mkdirSync(`${d}/c`);
    fs.writeFileSync(`${d}/c/f`, "");
    assert.throws(() => fs.renameSync(`${d}/a`, `${d}/c`), { code: "ENOTEMPTY" });
    assert.throws(() => fs.renameSync(`${d}/a`, `${d}/a/b/x`), { code: "EINVAL" });
    fs.renameSync(`${d}/a`, `${d}/c/a`);
    assert.ok(fs.statSync(`${d}/c/a/b`).isDirectory());
    assert.equal(fs.statSync(`${d}/c/a/b/../..`).ino, fs.statSync(`${d}/c`).ino);
  },

  "renameat2(2), RENAME_NOREPLACE: EEXIST, or a plain rename": (d) => {
    fs.writeFileSync(`${d}/a`, "a");
    fs.writeFileSync(`${d}/b`, "b");
    assert.equal(renameat2(`${d}/a`, `${d}/b`, k.RENAME_NOREPLACE), -errnos.EEXIST);
    assert.equal(renameat2(`${d}/a`, `${d}/c`, k.RENAME_NOREPLACE), 0);
    assert.equal(fs.readFileSync(`${d}/c`, "utf8"), "a");
  },

  "renameat2(2), RENAME_EXCHANGE: a file and a directory": (d) => {
    fs.writeFileSync(`${d}/a`, "a");
    fs.mkdirSync(`${d}/b`);
    assert.equal(renameat2(`${d}/a`, `${d}/b`, k.RENAME_EXCHANGE), 0);
    assert.ok(fs.statSync(`${d}/a`).isDirectory());
    assert.equal(fs.readFileSync(`${d}/b`, "utf8"), "a");
  },

  "POSIX readdir(): what is removed while it is read is returned once or not at all, and all else once": (
    d,
  ) => {
    const count = 5000;
    for (let i = 0; i < count; i++) fs.writeFileSync(`${d}/file-with-a-name-${i}`, "");
    assert.equal(new Set(fs.readdirSync(d)).size, count);
    const directory = fs.opendirSync(d, { bufferSize: 32 });
    const seen = new Set<string>();
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      assert.ok(!seen.has(entry.name), `${entry.name} listed twice`);
      seen.add(entry.name);
      fs.unlinkSync(`${d}/${entry.name}`);
    }
    directory.closeSync();
    assert.equal(seen.size, count);
    assert.deepEqual(fs.readdirSync(d), []);
  },

  "seekdir(3): the location is that of an earlier telldir": (d) => {
    for (let i = 0; i < 600; i++) fs.writeFileSync(`${d}/entry-${i}`, "");
    const fd = libc.open(d, k.O_RDONLY | k.O_DIRECTORY);
    const memory = libc.allocate(4096);
    const list = (): { name: string; offset: bigint }[] => {
      const entries: { name: string; offset: bigint }[] = [];
      for (
        let got = libc.getdents64(fd, memory.address, 4096);
        got > 0;
        got = libc.getdents64(fd, memory.address, 4096)
      ) {
        for (let at = 0; at < got; at += memory.view.getUint16(at + 16, true)) {
          const end = memory.bytes.indexOf(0, at + 19);
          entries.push({
            name: Buffer.from(memory.bytes.slice(at + 19, end)).toString(),
            offset: memory.view.getBigInt64(at + 8, true),
          });
        }
      }
      return entries;
    };
    const all = list();
    assert.equal(all.length, 602);
    for (const place of [0, 1, 299, 598]) {
      assert.equal(libc.seekExactly(fd, all[place]!.offset), 0);
      assert.deepEqual(
        list().map((entry) => entry.name),
        all.slice(place + 1).map((entry) => entry.name),
      );
    }
    libc.close(fd);
    libc.release(memory);
  },

  "open(2), O_TMPFILE: can be given a permanent name with linkat()": (d) => {
    const fd = libc.open(d, k.O_TMPFILE | k.O_RDWR, 0o640);
    assert.ok(fd >= 0, `O_TMPFILE: ${fd}`);
    fs.writeSync(fd, "unnamed");
    assert.deepEqual(fs.readdirSync(d), []);
    assert.equal(fs.fstatSync(fd).nlink, 0);
    const linked = withString(`/proc/self/fd/${fd}`, (from) =>
      withString(`${d}/named`, (to) => libc.linkat(k.AT_FDCWD, from, k.AT_FDCWD, to, k.AT_SYMLINK_FOLLOW)),
    );
    assert.equal(linked, 0);
    fs.closeSync(fd);
    assert.equal(fs.readFileSync(`${d}/named`, "utf8"), "unnamed");
    assert.equal(fs.statSync(`${d}/named`).nlink, 1);
  },

  "pathname(7): filenames are sequences of bytes, UTF-8 or not": (d) => {
    const name = Buffer.from([0xff, 0xfe, 0x80, 0x20, 0x0a, 0xc3]);
    const path = Buffer.concat([Buffer.from(`${d}/`), name]);
    fs.writeFileSync(path, "bytes");
    assert.deepEqual(fs.readdirSync(d, { encoding: "buffer" })[0], name);
    assert.equal(fs.readFileSync(path, "utf8"), "bytes");
    fs.unlinkSync(path);
  },

  "path_resolution(7): names of 255 bytes, targets of 4000": (d) => {
    const name = "n".repeat(255);
    fs.writeFileSync(`${d}/${name}`, "");
    assert.deepEqual(fs.readdirSync(d), [name]);
    assert.throws(() => fs.writeFileSync(`${d}/${name}n`, ""), { code: "ENAMETOOLONG" });
    const target = `/${"t".repeat(1000)}`.repeat(4).slice(0, 4000);
    fs.symlinkSync(target, `${d}/l`);
    assert.equal(fs.readlinkSync(`${d}/l`), target);
  },

  "path_resolution(7): sixty directories below each other": (d) => {
    const depth = 60;
    let path = d;
    for (let i = 0; i < depth; i++) {
      path += `/directory-number-${i}`;
      fs.mkdirSync(path);
    }
    fs.writeFileSync(`${path}/f`, "deep");
    assert.equal(fs.readFileSync(`${path}/f`, "utf8"), "deep");
  },
};
