/** Flags of chattr(1) that the files carry before they are served, or get and lose meanwhile: what they allow reaches the disk (ioctl_iflags(2)). */
import { execFileSync } from "node:child_process";
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { cannotMount, mountLocally } from "../fixtures/mounted.ts";
import { scratch } from "../fixtures/scratch.ts";

const skip = cannotMount ?? false;

/** Writes and syncs; throws what the application would hear. */
function write(path: string, text: string, how: "a" | "r+"): void {
  const fd = openSync(path, how);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

for (const durability of ["fsync", "write"] as const)
  t.test(`immutable and append-only files, durability: ${durability}`, { skip }, async (t) => {
    const data = join(scratch("flags"), "data");
    mkdirSync(data);
    const fixed = join(data, "fixed");
    const log = join(data, "log");
    const chattr = (flags: string, path: string): void => {
      execFileSync("chattr", [flags, path]);
    };
    for (const path of [fixed, log]) writeFileSync(path, "one\n");
    chattr("+i", fixed);
    chattr("+a", log);
    const mount = await mountLocally({ path: data, durability });
    t.teardown(async () => {
      await mount.kill();
    });
    t.equal(readFileSync(fixed, "utf8") + readFileSync(log, "utf8"), "one\none\n");

    for (const text of ["two\n", "three\n"]) write(log, text, "a");
    write(log, "x".repeat(10_000), "a");
    t.throws(() => write(log, "two", "r+"), { code: "EPERM" }, "what is there already stays");

    chattr("-i", fixed);
    write(fixed, "two\n", "a");
    chattr("-a", log);
    write(log, "ONE", "r+");
    chattr("+a", log);
    write(log, "last\n", "a");
    chattr("-a", log);
    await mount.stop();
    t.equal(readFileSync(fixed, "utf8"), "one\ntwo\n");
    t.equal(readFileSync(log, "utf8"), `ONE\ntwo\nthree\n${"x".repeat(10_000)}last\n`);
  });
