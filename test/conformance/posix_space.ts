/** truncate, fallocate, lseek, copy_file_range, pwritev2: sizes, holes and copies. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { fails, ok, opened, type Rules } from "./posix_calls.ts";

const MIB = 1 << 20;
const EDIT = k.O_RDWR | k.O_CREAT;

/** copy_file_range(2) with offsets. */
function copyRange(from: number, at: number, to: number, offset: number, length: number): number {
  const memory = libc.allocate(16);
  memory.view.setBigInt64(0, BigInt(at), true);
  memory.view.setBigInt64(8, BigInt(offset), true);
  const result = libc.copyFileRange(from, memory.address, to, memory.address + 8, length);
  libc.release(memory);
  return result;
}

export const spaceRules: Rules = {
  "truncate(2): if the file previously was larger than this size, the extra data is lost; if shorter, it reads as null bytes":
    (d) => {
      fs.writeFileSync(`${d}/f`, Buffer.alloc(10_000, 1));
      for (const size of [5000, 4096, 1, 0, 9999]) {
        fs.truncateSync(`${d}/f`, size);
        assert.equal(fs.statSync(`${d}/f`).size, size);
      }
      assert.ok(fs.readFileSync(`${d}/f`).every((byte) => byte === 0));
    },
  "truncate(2), EISDIR, ENOENT; ftruncate(2), EINVAL: the descriptor is not open for writing": (d) => {
    fs.writeFileSync(`${d}/f`, "x");
    fails("EISDIR", () => libc.withString(d, (at) => libc.truncate(at, 0)));
    fails("ENOENT", () => libc.withString(`${d}/none`, (at) => libc.truncate(at, 0)));
    opened(`${d}/f`, k.O_RDONLY, (fd) => fails("EINVAL", () => libc.ftruncate(fd, 0)));
    opened(`${d}/f`, k.O_RDWR, (fd) => fails("EINVAL", () => libc.ftruncate(fd, -1)));
  },
  "fallocate(2), default: the range reads as zeros, the file size will be changed if offset+len is greater; what was there stays":
    (d) => {
      fs.writeFileSync(`${d}/f`, "data");
      opened(`${d}/f`, k.O_RDWR, (fd) => ok(libc.fallocate(fd, 0, 0, MIB)));
      const data = fs.readFileSync(`${d}/f`);
      assert.deepEqual(
        [data.length, data.toString("latin1", 0, 4), data[4], data[MIB - 1]],
        [MIB, "data", 0, 0],
      );
      assert.ok(fs.statSync(`${d}/f`).blocks * 512 >= MIB);
    },
  "fallocate(2), FALLOC_FL_PUNCH_HOLE: must be ORed with KEEP_SIZE; partial blocks are zeroed, whole ones removed":
    (d) => {
      fs.writeFileSync(`${d}/f`, Buffer.alloc(MIB, 1));
      opened(`${d}/f`, k.O_RDWR, (fd) => {
        fs.fsyncSync(fd);
        fails("EOPNOTSUPP", () => libc.fallocate(fd, k.FALLOC_FL_PUNCH_HOLE, 0, 4096));
        ok(libc.fallocate(fd, k.FALLOC_FL_PUNCH_HOLE | k.FALLOC_FL_KEEP_SIZE, 100, MIB - 200));
      });
      const data = fs.readFileSync(`${d}/f`);
      assert.deepEqual(
        [data.length, data[99], data[100], data[MIB - 101], data[MIB - 100]],
        [MIB, 1, 0, 0, 1],
      );
      assert.ok(fs.statSync(`${d}/f`).blocks * 512 < MIB / 2);
    },
  "fallocate(2), FALLOC_FL_ZERO_RANGE: the range will be zeroed, and the file grows unless KEEP_SIZE": (
    d,
  ) => {
    fs.writeFileSync(`${d}/f`, Buffer.alloc(8192, 1));
    opened(`${d}/f`, k.O_RDWR, (fd) => {
      ok(libc.fallocate(fd, k.FALLOC_FL_ZERO_RANGE | k.FALLOC_FL_KEEP_SIZE, 4096, 8192));
      assert.equal(fs.fstatSync(fd).size, 8192);
      ok(libc.fallocate(fd, k.FALLOC_FL_ZERO_RANGE, 8000, 8192));
      assert.equal(fs.fstatSync(fd).size, 16_192);
    });
    const data = fs.readFileSync(`${d}/f`);
    assert.ok(
      data.subarray(0, 4096).every((byte) => byte === 1) && data.subarray(4096).every((byte) => byte === 0),
    );
  },
  "fallocate(2), EINVAL: len is less than or equal to 0; EBADF: not opened for writing; ENODEV or ESPIPE for what is no file":
    (d) => {
      opened(`${d}/f`, EDIT, (fd) => {
        fails("EINVAL", () => libc.fallocate(fd, 0, 0, 0));
        fails("EINVAL", () => libc.fallocate(fd, 0, -1, 10));
      });
      opened(`${d}/f`, k.O_RDONLY, (fd) => fails("EBADF", () => libc.fallocate(fd, 0, 0, 10)));
    },
  "lseek(2), SEEK_DATA, SEEK_HOLE: there is a virtual hole at the end of the file; ENXIO beyond it; what was written is never a hole":
    (d) => {
      opened(`${d}/f`, EDIT, (fd) => {
        ok(libc.ftruncate(fd, 4 * MIB));
        fs.writeSync(fd, "data", 2 * MIB);
        for (const synced of [false, true]) {
          if (synced) fs.fsyncSync(fd);
          const data = libc.lseek(fd, 0, k.SEEK_DATA);
          assert.ok(data >= 0 && data <= 2 * MIB, `data at ${data}`);
          const hole = libc.lseek(fd, 2 * MIB, k.SEEK_HOLE);
          assert.ok(hole > 2 * MIB && hole <= 4 * MIB, `hole at ${hole}`);
        }
        fails("ENXIO", () => libc.lseek(fd, 4 * MIB, k.SEEK_DATA));
        fails("ENXIO", () => libc.lseek(fd, 4 * MIB, k.SEEK_HOLE));
        fails("EINVAL", () => libc.lseek(fd, -1, k.SEEK_SET));
      });
    },
  "write(2): after a seek past the end, the gap reads as null bytes until data is written into it": (d) => {
    opened(`${d}/f`, EDIT, (fd) => {
      fs.writeSync(fd, "a", 0);
      fs.writeSync(fd, "z", 100_000);
      fs.writeSync(fd, "m", 50_000);
    });
    const data = fs.readFileSync(`${d}/f`);
    assert.deepEqual(
      [data.length, data[0], data[1], data[50_000], data[99_999], data[100_000]],
      [100_001, 97, 0, 109, 0, 122],
    );
  },
  "read(2): zero indicates end of file, whatever the offset beyond it": (d) => {
    fs.writeFileSync(`${d}/f`, "abc");
    opened(`${d}/f`, k.O_RDONLY, (fd) => {
      assert.equal(fs.readSync(fd, Buffer.alloc(9), 0, 9, 1), 2);
      for (const at of [3, 4096, 5 * 2 ** 32]) assert.equal(fs.readSync(fd, Buffer.alloc(9), 0, 9, at), 0);
    });
  },
  "copy_file_range(2): returns the number of bytes copied between files, 0 at the end; within one file ranges may not overlap":
    (d) => {
      fs.writeFileSync(`${d}/a`, Buffer.alloc(300_000, 3));
      opened(`${d}/a`, k.O_RDWR, (from) =>
        opened(`${d}/b`, EDIT, (to) => {
          let copied = 0;
          while (copied < 250_000)
            copied += ok(copyRange(from, 50_000 + copied, to, 10 + copied, 250_000 - copied));
          assert.equal(copyRange(from, 300_000, to, 0, 10), 0);
          fails("EINVAL", () => copyRange(from, 0, from, 5000, 10_000));
          assert.ok(ok(copyRange(from, 0, from, 300_000, 1000)) > 0);
        }),
      );
      const data = fs.readFileSync(`${d}/b`);
      assert.deepEqual([data.length, data[9], data[10], data[250_009]], [250_010, 0, 3, 3]);
      opened(`${d}/a`, k.O_RDONLY, (from) =>
        opened(`${d}/b`, k.O_RDONLY, (to) => fails("EBADF", () => copyRange(from, 0, to, 0, 1))),
      );
    },
  "readv(2), RWF_APPEND and RWF_DSYNC of pwritev2: append whatever the offset; return once the data are stored":
    (d) => {
      fs.writeFileSync(`${d}/f`, "head");
      const memory = libc.allocate(32);
      memory.bytes.set([116, 97, 105, 108]);
      memory.view.setBigUint64(8, BigInt(memory.address), true);
      memory.view.setBigUint64(16, 4n, true);
      opened(`${d}/f`, k.O_RDWR, (fd) => {
        assert.equal(libc.pwritev2(fd, memory.address + 8, 1, 0, 16), 4);
        assert.equal(libc.pwritev2(fd, memory.address + 8, 1, 0, k.RWF_DSYNC), 4);
      });
      libc.release(memory);
      assert.equal(fs.readFileSync(`${d}/f`, "utf8"), "tailtail");
    },
  "write(2), EFBIG or EINVAL: an offset that no file can have is refused, and the file stays as it was": (
    d,
  ) => {
    opened(`${d}/f`, EDIT, (fd) => {
      assert.ok(libc.ftruncate(fd, 2 ** 52) < 0);
      assert.equal(fs.fstatSync(fd).size, 0);
    });
  },
};
