/**
 * What applications may expect of a directory, one rule for each function. A rule gets an empty directory and throws when it
 * does not hold. Rules are run on the bare file system too: one that fails there says nothing about ours.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as k from "../../core/platform/linux/constants.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import * as libc from "../../core/platform/linux/libc.ts";
import { memoryAt } from "../../core/platform/linux/memory.ts";

const { withString } = libc;

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a shell line as the user and group 65534 (nobody). */
function asNobody(line: string, ...extra: string[]): string {
  return run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...extra, "sh", "-ec", line);
}

function failsWith(code: string, action: () => unknown): void {
  assert.throws(action, { code });
}

function renameat2(from: string, to: string, flags: number): number {
  return withString(from, (a) => withString(to, (b) => libc.renameat2(k.AT_FDCWD, a, k.AT_FDCWD, b, flags)));
}

function allocated(file: string): number {
  return fs.statSync(file).blocks * 512;
}

export function hardLinksCountAndShare(d: string): void {
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
}

export function directoriesCountTheirChildren(d: string): void {
  fs.mkdirSync(`${d}/x/y`, { recursive: true });
  assert.equal(fs.statSync(`${d}/x`).nlink, 3);
  fs.rmdirSync(`${d}/x/y`);
  assert.equal(fs.statSync(`${d}/x`).nlink, 2);
}

export function unlinkedFilesLiveWhileOpen(d: string): void {
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
}

export function renameReplacesAndTheOldFileLives(d: string): void {
  fs.writeFileSync(`${d}/old`, "old");
  const fd = fs.openSync(`${d}/old`, "r");
  fs.writeFileSync(`${d}/new`, "new");
  const { ino } = fs.statSync(`${d}/new`);
  fs.renameSync(`${d}/new`, `${d}/old`);
  assert.equal(fs.readFileSync(`${d}/old`, "utf8"), "new");
  assert.equal(fs.statSync(`${d}/old`).ino, ino);
  assert.equal(fs.readFileSync(fd, "utf8"), "old");
  fs.closeSync(fd);
  failsWith("ENOENT", () => fs.statSync(`${d}/new`));
}

export function renameOfDirectoriesKeepsRules(d: string): void {
  fs.mkdirSync(`${d}/a/b`, { recursive: true });
  fs.mkdirSync(`${d}/c`);
  fs.writeFileSync(`${d}/c/f`, "");
  failsWith("ENOTEMPTY", () => fs.renameSync(`${d}/a`, `${d}/c`));
  failsWith("EINVAL", () => fs.renameSync(`${d}/a`, `${d}/a/b/x`));
  fs.renameSync(`${d}/a`, `${d}/c/a`);
  assert.ok(fs.statSync(`${d}/c/a/b`).isDirectory());
  assert.equal(fs.statSync(`${d}/c/a/b/../..`).ino, fs.statSync(`${d}/c`).ino);
}

export function renameNoReplace(d: string): void {
  fs.writeFileSync(`${d}/a`, "a");
  fs.writeFileSync(`${d}/b`, "b");
  assert.equal(renameat2(`${d}/a`, `${d}/b`, k.RENAME_NOREPLACE), -errnos.EEXIST);
  assert.equal(renameat2(`${d}/a`, `${d}/c`, k.RENAME_NOREPLACE), 0);
  assert.equal(fs.readFileSync(`${d}/c`, "utf8"), "a");
}

export function renameExchange(d: string): void {
  fs.writeFileSync(`${d}/a`, "a");
  fs.mkdirSync(`${d}/b`);
  assert.equal(renameat2(`${d}/a`, `${d}/b`, k.RENAME_EXCHANGE), 0);
  assert.ok(fs.statSync(`${d}/a`).isDirectory());
  assert.equal(fs.readFileSync(`${d}/b`, "utf8"), "a");
}

export function readdirWhileEntriesGo(d: string): void {
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
}

export function seekdirReturnsToWhereItWas(d: string): void {
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
}

export function setgidDirectoriesPassTheirGroupOn(d: string): void {
  fs.mkdirSync(`${d}/shared`);
  fs.chownSync(`${d}/shared`, 0, 4242);
  fs.chmodSync(`${d}/shared`, 0o2777);
  asNobody(`umask 022; cd ${d}/shared; mkdir sub; echo > file`);
  assert.equal(fs.statSync(`${d}/shared/file`).gid, 4242);
  assert.equal(fs.statSync(`${d}/shared/file`).uid, 65534);
  assert.equal(fs.statSync(`${d}/shared/sub`).gid, 4242);
  assert.equal(fs.statSync(`${d}/shared/sub`).mode & 0o7777, 0o2755);
}

export function umaskIsAppliedOnce(d: string): void {
  run("sh", "-ec", `umask 027; cd ${d}; echo > f; mkdir m; mkfifo p`);
  assert.equal(fs.statSync(`${d}/f`).mode & 0o777, 0o640);
  assert.equal(fs.statSync(`${d}/m`).mode & 0o777, 0o750);
  assert.equal(fs.statSync(`${d}/p`).mode & 0o777, 0o640);
}

export function creationBelongsToTheCaller(d: string): void {
  fs.chmodSync(d, 0o777);
  asNobody(`cd ${d}; echo > f; mkdir m; ln -s x l; mkfifo p; touch s; chmod 4755 s`);
  for (const name of ["f", "m", "l", "p", "s"]) {
    const stat = fs.lstatSync(`${d}/${name}`);
    assert.deepEqual([stat.uid, stat.gid], [65534, 65534], name);
  }
  assert.equal(fs.statSync(`${d}/s`).mode & 0o7777, 0o4755);
}

export function permissionsAreChecked(d: string): void {
  fs.mkdirSync(`${d}/closed`, { mode: 0o700 });
  fs.writeFileSync(`${d}/closed/f`, "x");
  fs.writeFileSync(`${d}/f`, "x", { mode: 0o600 });
  assert.throws(() => asNobody(`cat ${d}/f 2>&1`));
  assert.throws(() => asNobody(`cat ${d}/closed/f 2>&1`));
  assert.throws(() => asNobody(`touch ${d}/new 2>&1`));
  asNobody(`cat ${d}/f`, "--inh-caps=+dac_override", "--ambient-caps=+dac_override");
}

export function supplementaryGroupsCount(d: string): void {
  fs.chownSync(d, 0, 4242);
  fs.chmodSync(d, 0o770);
  run("setpriv", "--reuid=65534", "--regid=65534", "--groups=4242", "sh", "-ec", `echo hello > ${d}/f`);
  assert.equal(fs.statSync(`${d}/f`).gid, 65534);
}

export function stickyDirectoriesProtect(d: string): void {
  fs.chmodSync(d, 0o1777);
  fs.writeFileSync(`${d}/mine`, "");
  assert.throws(() => asNobody(`rm -f ${d}/mine 2>&1`));
  assert.ok(fs.existsSync(`${d}/mine`));
}

export function defaultAclsAreInherited(d: string): void {
  run("setfacl", "-d", "-m", "u:4242:rwx,g::rx,o::-", d);
  run("sh", "-ec", `umask 077; cd ${d}; echo > f; mkdir m`);
  const acl = run("getfacl", "-cp", `${d}/f`);
  assert.match(acl, /user:4242:rwx\s+#effective:rw-/);
  assert.equal(fs.statSync(`${d}/f`).mode & 0o777, 0o660);
  assert.match(run("getfacl", "-cp", `${d}/m`), /default:user:4242:rwx/);
  run("setfacl", "-k", d);
  run("sh", "-ec", `umask 077; echo > ${d}/g`);
  assert.equal(fs.statSync(`${d}/g`).mode & 0o777, 0o600);
}

export function aclsGrant(d: string): void {
  fs.writeFileSync(`${d}/f`, "secret", { mode: 0o600 });
  assert.throws(() => asNobody(`cat ${d}/f 2>&1`));
  run("setfacl", "-m", "u:65534:r", `${d}/f`);
  assert.equal(asNobody(`cat ${d}/f`), "secret");
  fs.chmodSync(`${d}/f`, 0o600);
  assert.throws(() => asNobody(`cat ${d}/f 2>&1`));
  run("setfacl", "-b", `${d}/f`);
  assert.doesNotMatch(run("getfacl", "-cp", `${d}/f`), /65534/);
}

export function writesTakeSetUserIdAway(d: string): void {
  fs.writeFileSync(`${d}/f`, "x");
  fs.chmodSync(`${d}/f`, 0o6777);
  asNobody(`echo more >> ${d}/f`);
  assert.equal(fs.statSync(`${d}/f`).mode & 0o7777, 0o777);
  fs.chmodSync(`${d}/f`, 0o6777);
  asNobody(`: > ${d}/f`);
  assert.equal(fs.statSync(`${d}/f`).mode & 0o7777, 0o777);
  fs.chmodSync(`${d}/f`, 0o6755);
  fs.chownSync(`${d}/f`, 1, 1);
  assert.equal(fs.statSync(`${d}/f`).mode & 0o7777, 0o755);
}

export function writesTakeCapabilitiesAway(d: string): void {
  fs.writeFileSync(`${d}/f`, "x", { mode: 0o755 });
  const capability = "0sAQAAAgAgAAAAAAAAAAAAAAAAAAA=";
  run("setfattr", "-n", "security.capability", "-v", capability, `${d}/f`);
  fs.appendFileSync(`${d}/f`, "y");
  run("sync", `${d}/f`);
  assert.throws(() => run("getfattr", "-n", "security.capability", `${d}/f`));
}

export function holesTakeNoRoom(d: string): void {
  const fd = fs.openSync(`${d}/f`, "w+");
  fs.writeSync(fd, "end", 64 << 20);
  fs.fsyncSync(fd);
  assert.ok(allocated(`${d}/f`) < 1 << 20);
  const buffer = Buffer.alloc(8, 1);
  fs.readSync(fd, buffer, 0, 8, 1 << 20);
  assert.deepEqual(buffer, Buffer.alloc(8));
  fs.closeSync(fd);
}

export function holesArePunchedAndZeroed(d: string): void {
  const fd = fs.openSync(`${d}/f`, "w+");
  fs.writeSync(fd, Buffer.alloc(1 << 20, 7));
  assert.equal(libc.fallocate(fd, k.FALLOC_FL_PUNCH_HOLE | k.FALLOC_FL_KEEP_SIZE, 4096, 8192), 0);
  assert.equal(libc.fallocate(fd, k.FALLOC_FL_ZERO_RANGE, 65536, 4096), 0);
  const data = fs.readFileSync(`${d}/f`);
  assert.equal(data.length, 1 << 20);
  const zeros = (from: number, to: number): boolean => data.subarray(from, to).every((byte) => byte === 0);
  assert.ok(zeros(4096, 12288) && zeros(65536, 69632));
  assert.deepEqual([data[4095], data[12288], data[65535], data[69632]], [7, 7, 7, 7]);
  assert.equal(libc.fallocate(fd, 0, 0, 2 << 20), 0);
  assert.equal(fs.fstatSync(fd).size, 2 << 20);
  assert.equal(libc.fallocate(fd, k.FALLOC_FL_KEEP_SIZE, 0, 8 << 20), 0);
  assert.equal(fs.fstatSync(fd).size, 2 << 20);
  fs.closeSync(fd);
}

export function copiesOfUnsyncedSparseFilesAreComplete(d: string): void {
  const fd = fs.openSync(`${d}/f`, "w+");
  fs.ftruncateSync(fd, 1 << 20);
  fs.writeSync(fd, "in the middle", 512 << 10);
  run("cp", `${d}/f`, `${d}/copy`);
  run("cp", "--sparse=always", `${d}/f`, `${d}/sparse`);
  fs.closeSync(fd);
  assert.deepEqual(fs.readFileSync(`${d}/copy`), fs.readFileSync(`${d}/f`));
  assert.deepEqual(fs.readFileSync(`${d}/sparse`), fs.readFileSync(`${d}/f`));
}

export function appendsGoToTheEnd(d: string): void {
  const a = fs.openSync(`${d}/f`, "a");
  const b = fs.openSync(`${d}/f`, "a");
  for (let i = 0; i < 100; i++) fs.writeSync(i % 2 === 0 ? a : b, `${i}\n`);
  assert.equal(fs.readFileSync(`${d}/f`, "utf8"), Array.from({ length: 100 }, (_, i) => `${i}\n`).join(""));
  fs.closeSync(a);
  fs.closeSync(b);
}

export function openFlagsHold(d: string): void {
  fs.writeFileSync(`${d}/f`, "content");
  failsWith("EEXIST", () => fs.openSync(`${d}/f`, "wx"));
  failsWith("ENOENT", () => fs.openSync(`${d}/none`, "r"));
  failsWith("EISDIR", () => fs.openSync(d, "w"));
  fs.closeSync(fs.openSync(`${d}/f`, "w"));
  assert.equal(fs.statSync(`${d}/f`).size, 0);
  fs.symlinkSync("f", `${d}/l`);
  assert.equal(libc.open(`${d}/l`, k.O_RDONLY | k.O_NOFOLLOW), -errnos.ELOOP);
  assert.equal(libc.open(`${d}/f`, k.O_RDONLY | k.O_DIRECTORY), -errnos.ENOTDIR);
}

export function unnamedFilesGetNames(d: string): void {
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
}

export function extendedAttributesAreKept(d: string): void {
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
}

export function sharedMappingsReachTheFile(d: string): void {
  const fd = fs.openSync(`${d}/f`, "w+");
  fs.ftruncateSync(fd, 8192);
  const at = libc.mmap(8192, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, 0);
  assert.ok(at > 0);
  const memory = memoryAt(at, 8192);
  memory.bytes.set(new TextEncoder().encode("mapped"), 4096);
  assert.equal(libc.msync(at, 8192, 4), 0);
  assert.equal(fs.readFileSync(`${d}/f`).toString("latin1", 4096, 4102), "mapped");
  fs.writeSync(fd, "WRITTEN", 0);
  assert.equal(memory.bytes[0], "W".charCodeAt(0));
  libc.munmap(at, 8192);
  fs.closeSync(fd);
}

export function mappingsOutliveTheirDescriptor(d: string): void {
  const fd = fs.openSync(`${d}/f`, "w+");
  fs.ftruncateSync(fd, 4096);
  const at = libc.mmap(4096, k.PROT_READ | k.PROT_WRITE, k.MAP_SHARED, fd, 0);
  fs.closeSync(fd);
  fs.renameSync(`${d}/f`, `${d}/g`);
  memoryAt(at, 4096).bytes[9] = 9;
  libc.munmap(at, 4096);
  assert.equal(fs.readFileSync(`${d}/g`)[9], 9);
}

export function locksExclude(d: string): void {
  fs.writeFileSync(`${d}/f`, "");
  const script = `exec 9> ${d}/f; flock -n 9 || exit 1; flock -n ${d}/f -c true && exit 2; exit 0`;
  run("bash", "-c", script);
  const posix = `import fcntl, os
f = open("${d}/f", "r+"); fcntl.lockf(f, fcntl.LOCK_EX)
if os.fork() == 0:
    try: fcntl.lockf(open("${d}/f", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: os._exit(0)
    os._exit(1)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))`;
  run("python3", "-c", posix);
}

export function timesAreExact(d: string): void {
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
}

export function changesMoveTheTimesOfDirectories(d: string): void {
  run("touch", "-d", "2001-01-01 UTC", d);
  fs.writeFileSync(`${d}/f`, "");
  const created = fs.statSync(d).mtimeMs;
  assert.ok(Date.now() - created < 60_000);
  run("touch", "-d", "2001-01-01 UTC", d);
  fs.unlinkSync(`${d}/f`);
  assert.ok(Date.now() - fs.statSync(d).mtimeMs < 60_000);
}

export function modificationTimeSurvivesClose(d: string): void {
  fs.writeFileSync(`${d}/f`, "x");
  run("sh", "-ec", `echo y >> ${d}/f; touch -d '2001-01-01 UTC' ${d}/f`);
  assert.equal(fs.statSync(`${d}/f`).mtimeMs, Date.UTC(2001, 0, 1));
  const fd = fs.openSync(`${d}/f`, "r+");
  fs.writeSync(fd, "z");
  fs.futimesSync(fd, 1000, 1000);
  fs.closeSync(fd);
  assert.equal(fs.statSync(`${d}/f`).mtimeMs, 1_000_000);
}

export function namesAreBytes(d: string): void {
  const name = Buffer.from([0xff, 0xfe, 0x80, 0x20, 0x0a, 0xc3]);
  const path = Buffer.concat([Buffer.from(`${d}/`), name]);
  fs.writeFileSync(path, "bytes");
  assert.deepEqual(fs.readdirSync(d, { encoding: "buffer" })[0], name);
  assert.equal(fs.readFileSync(path, "utf8"), "bytes");
  fs.unlinkSync(path);
}

export function longNamesFit(d: string): void {
  const name = "n".repeat(255);
  fs.writeFileSync(`${d}/${name}`, "");
  assert.deepEqual(fs.readdirSync(d), [name]);
  failsWith("ENAMETOOLONG", () => fs.writeFileSync(`${d}/${name}n`, ""));
  const target = `/${"t".repeat(1000)}`.repeat(4).slice(0, 4000);
  fs.symlinkSync(target, `${d}/l`);
  assert.equal(fs.readlinkSync(`${d}/l`), target);
}

export function deepPathsWork(d: string): void {
  const depth = 60;
  let path = d;
  for (let i = 0; i < depth; i++) {
    path += `/directory-number-${i}`;
    fs.mkdirSync(path);
  }
  fs.writeFileSync(`${path}/f`, "deep");
  assert.equal(fs.readFileSync(`${path}/f`, "utf8"), "deep");
}

export function offsetsBeyondFourGigabytes(d: string): void {
  const fd = fs.openSync(`${d}/f`, "w+");
  const at = 5 * 2 ** 30 + 12345;
  fs.writeSync(fd, "far", at);
  fs.fsyncSync(fd);
  assert.equal(fs.fstatSync(fd).size, at + 3);
  const buffer = Buffer.alloc(3);
  fs.readSync(fd, buffer, 0, 3, at);
  assert.equal(buffer.toString(), "far");
  fs.closeSync(fd);
  run("sh", "-ec", `tail -c 3 ${d}/f | grep -q far`);
}

export function specialFilesAreMade(d: string): void {
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
}

export function symlinksHaveOwnersAndTimes(d: string): void {
  fs.symlinkSync("nowhere", `${d}/l`);
  fs.lchownSync(`${d}/l`, 5, 6);
  fs.lutimesSync(`${d}/l`, 1000, 2000);
  const stat = fs.lstatSync(`${d}/l`);
  assert.deepEqual([stat.uid, stat.gid, stat.mtimeMs], [5, 6, 2_000_000]);
  fs.linkSync(`${d}/l`, `${d}/hard`);
  assert.equal(fs.lstatSync(`${d}/hard`).nlink, 2);
}

export function directReadsAndWrites(d: string): void {
  run("dd", "if=/dev/zero", `of=${d}/f`, "bs=64k", "count=16", "oflag=direct", "status=none");
  run("dd", `if=${d}/f`, "of=/dev/null", "bs=64k", "iflag=direct", "status=none");
  run("dd", "if=/dev/zero", `of=${d}/g`, "bs=64k", "count=4", "oflag=sync", "status=none");
  assert.equal(fs.statSync(`${d}/f`).size, 1 << 20);
}

export function truncationZeroesWhatComesBack(d: string): void {
  fs.writeFileSync(`${d}/f`, Buffer.alloc(10_000, 1));
  fs.truncateSync(`${d}/f`, 100);
  fs.truncateSync(`${d}/f`, 10_000);
  const data = fs.readFileSync(`${d}/f`);
  assert.ok(
    data.subarray(100).every((byte) => byte === 0) && data.subarray(0, 100).every((byte) => byte === 1),
  );
}

export function fileSystemSpaceIsShown(d: string): void {
  const stat = fs.statfsSync(d);
  assert.ok(
    stat.blocks > 0 &&
      stat.bfree <= stat.blocks &&
      stat.bavail <= stat.bfree &&
      stat.bsize >= 512 &&
      stat.files > 0,
  );
}

export function appendOnlyAndImmutableHold(d: string): void {
  fs.writeFileSync(`${d}/f`, "x");
  run("chattr", "+i", `${d}/f`);
  try {
    assert.match(run("lsattr", `${d}/f`), /^----i/);
    failsWith("EPERM", () => fs.unlinkSync(`${d}/f`));
    failsWith("EPERM", () => fs.chmodSync(`${d}/f`, 0o600));
    failsWith("EPERM", () => fs.truncateSync(`${d}/f`, 0));
  } finally {
    run("chattr", "-i", `${d}/f`);
  }
  fs.unlinkSync(`${d}/f`);
}

export function programsRunFromIt(d: string): void {
  fs.copyFileSync("/bin/echo", `${d}/echo`);
  fs.chmodSync(`${d}/echo`, 0o755);
  assert.equal(run(`${d}/echo`, "runs"), "runs\n");
  fs.writeFileSync(`${d}/script`, "#!/bin/sh\necho script\n", { mode: 0o755 });
  assert.equal(run(`${d}/script`), "script\n");
}

export function inodeNumbersStay(d: string): void {
  fs.writeFileSync(`${d}/f`, "");
  const { ino } = fs.statSync(`${d}/f`);
  fs.writeFileSync("/proc/sys/vm/drop_caches", "2");
  assert.equal(fs.statSync(`${d}/f`).ino, ino);
  assert.equal(run("ls", "-i", d).trim().split(" ")[0], String(ino));
  assert.equal(run("find", d, "-inum", String(ino)).trim(), `${d}/f`);
}
