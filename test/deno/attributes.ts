// stat, lstat, chmod, chown, utime, truncate.
import { attempt } from "./lib/attempt.ts";

Deno.writeTextFileSync("f", "0123456789");
Deno.symlinkSync("f", "link");
Deno.mkdirSync("d");
const octal = (path: string) => (Deno.statSync(path).mode! & 0o7777).toString(8);
const described = ({ isFile, isDirectory, isSymlink, size, nlink, uid, gid, mode, rdev, isFifo, isSocket, isBlockDevice, isCharDevice }: Deno.FileInfo) =>
  ({ isFile, isDirectory, isSymlink, size, nlink, uid, gid, mode: mode?.toString(8), rdev, isFifo, isSocket, isBlockDevice, isCharDevice });
await attempt("stat", async () => described(await Deno.stat("f")));
await attempt("statSync", () => described(Deno.statSync("link")));
await attempt("lstat", async () => described(await Deno.lstat("link")));
await attempt("lstatSync", () => described(Deno.lstatSync("f")));
await attempt("of a directory", () => Deno.statSync("d").isDirectory);
await attempt("of a device", () => [Deno.statSync("/dev/null").isCharDevice, Deno.statSync("/dev/null").rdev]);
await attempt("names", () => Object.keys(Deno.statSync("f")).join());
await attempt("dates", () => [Deno.statSync("f").mtime instanceof Date, Deno.statSync("f").birthtime instanceof Date]);
await attempt("identity", () => Deno.statSync("f").ino === Deno.statSync("link").ino && Deno.statSync("f").dev > 0);
await attempt("blocks", () => [Deno.statSync("f").blksize, typeof Deno.statSync("f").blocks]);
await attempt("chmod", async () => (await Deno.chmod("f", 0o640), octal("f")));
await attempt("chmodSync", () => (Deno.chmodSync("f", 0o4755), octal("f")));
await attempt("chown", async () => (await Deno.chown("f", 1, 2), [Deno.statSync("f").uid, Deno.statSync("f").gid]));
await attempt("chownSync", () => (Deno.chownSync("f", null, 3), [Deno.statSync("f").uid, Deno.statSync("f").gid]));
await attempt("utime", async () => (await Deno.utime("f", 10.5, new Date(20_250)), [Deno.statSync("f").atime, Deno.statSync("f").mtime]));
await attempt("utimeSync", () => (Deno.utimeSync("d", 1, 2), [Deno.statSync("d").atime?.getTime(), Deno.statSync("d").mtime?.getTime()]));
await attempt("truncate", async () => (await Deno.truncate("f", 4), Deno.readTextFileSync("f")));
await attempt("truncateSync longer", () => (Deno.truncateSync("f", 6), Deno.readFileSync("f")));
await attempt("truncate to nothing", async () => (await Deno.truncate("f"), Deno.statSync("f").size));
await attempt("truncate below nothing", () => (Deno.truncateSync("f", -1), Deno.statSync("f").size));
for (const path of ["missing", "f/x", ""]) {
  await attempt(`stat ${path}`, () => Deno.stat(path));
  await attempt(`statSync ${path}`, () => Deno.statSync(path));
  await attempt(`lstat ${path}`, () => Deno.lstat(path));
  await attempt(`lstatSync ${path}`, () => Deno.lstatSync(path));
  await attempt(`chmod ${path}`, () => Deno.chmod(path, 0o600));
  await attempt(`chmodSync ${path}`, () => Deno.chmodSync(path, 0o600));
  await attempt(`chown ${path}`, () => Deno.chown(path, 0, 0));
  await attempt(`chownSync ${path}`, () => Deno.chownSync(path, 0, 0));
  await attempt(`utime ${path}`, () => Deno.utime(path, 1, 1));
  await attempt(`utimeSync ${path}`, () => Deno.utimeSync(path, 1, 1));
  await attempt(`truncate ${path}`, () => Deno.truncate(path, 1));
  await attempt(`truncateSync ${path}`, () => Deno.truncateSync(path, 1));
}
await attempt("truncate a directory", () => Deno.truncate("d", 1));
