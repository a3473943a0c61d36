/** verify: quiet about two equal copies under load, and exact about what differs (traps 12 and 13). Of a tebibyte that is a hole nothing is read. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import type { VerifyResult } from "../../core/filesystem/control.ts";
import { generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-replication-verify-${process.pid}`, 21000 + (process.pid % 20000));
const { n1, n2 } = lab;
t.teardown(() => lab.close());

t.test("trap 13: equal copies, while the application writes, renames and deletes", async (t) => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  await shell(
    n1.directory,
    `mkdir -p a/b; for i in $(seq 100); do head -c 70000 /dev/urandom > a/f$i; done; ln a/f1 a/b/hard; ln -s x a/sym; mkfifo a/pipe
     setfattr -n user.color -v blue a/f2; truncate -s 20M a/sparse; truncate -s 400K a/f4
     truncate -s 1T a/hole; printf x | dd of=a/hole bs=1 seek=500G conv=notrunc,fsync 2>/dev/null; touch -d 1960-01-01 a/f3`,
  );
  const load = shell(
    n1.directory,
    "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i >> a/f$((i % 50 + 1)); mv a/f99 a/g99; mv a/g99 a/f99; echo x > tmp$i; rm tmp$i; done",
  );
  const { result } = await n1.must({ op: "verify" });
  await load;
  const verdict = result as VerifyResult;
  t.same(verdict.differences, []);
  t.ok(verdict.objects >= 106, `${verdict.objects} objects`);
  t.ok(verdict.bytes > 27_000_000 + 2 ** 40, `${verdict.bytes} bytes`);
  t.end();
});

t.test("a directory with many names: equal while they change, and a stray one is found", async (t) => {
  await shell(n1.directory, "mkdir many; cd many; seq 8000 | xargs touch");
  const load = shell(
    n1.directory,
    "for i in $(seq 100); do mv many/7 many/seven; mv many/seven many/7; done",
  );
  const busy = await n1.must({ op: "verify" });
  await load;
  t.same((busy.result as VerifyResult).differences, []);
  const below = join(n2.base, "below_many");
  spawnSync("sh", ["-ec", `mkdir -p ${below}; mount --bind ${n2.base} ${below}`]);
  t.teardown(() => spawnSync("umount", [below]));
  const done = spawnSync("sh", ["-ec", `cd ${below}/data/many; echo stray > stray; touch -d @1000000000 9`]);
  t.equal(done.status, 0, done.stderr.toString());
  const { result } = await n1.must({ op: "verify" });
  const found = new Map(
    (result as VerifyResult).differences.map(({ path, what }) => [path.slice(n1.directory.length), what]),
  );
  t.match(found.get("/many"), /here .*names: 8000.*on the secondary .*names: 8001/);
  t.match(found.get("/many/9"), /mtime/);
  t.equal([...found.keys()].filter((path) => path.startsWith("/many")).length, 2);
  t.end();
});

t.test("what somebody changed underneath is named: bytes, mode, names, attributes", async (t) => {
  // An administrator on the underlying path: reached here by opening the disk below SECOND's read-only view.
  const below = join(n2.base, "below");
  spawnSync("sh", ["-ec", `mkdir -p ${below}; mount --bind ${n2.base} ${below}`]);
  t.teardown(() => spawnSync("umount", [below]));
  const damage = `cd ${below}/data/a; printf X | dd of=f10 bs=1 seek=30000 conv=notrunc 2>/dev/null; chmod 600 f11
    setfattr -n user.color -v red f2; echo stray > stray; rm sym
    touch -r hole ../../when; head -c 1M /dev/zero | dd of=hole bs=1M seek=100K conv=notrunc 2>/dev/null
    printf X | dd of=hole bs=1M seek=700K conv=notrunc 2>/dev/null; touch -r ../../when hole`;
  const done = spawnSync("sh", ["-ec", damage]);
  t.equal(done.status, 0, done.stderr.toString());
  const { result } = await n1.must({ op: "verify" });
  const found = new Map(
    (result as VerifyResult).differences.map(({ path, what }) => [path.slice(n1.directory.length), what]),
  );
  t.match(found.get("/a/f11"), /mode: 100644.*mode: 100600/);
  t.match(found.get("/a/f2"), /user.color/);
  t.match(found.get("/a"), /stray/);
  t.match(found.get("/a"), /sym/);
  t.ok([...found].some(([path, what]) => path === "/a/f10" && /bytes 0 to|mtime/.test(what)));
  t.notOk(found.has("/a/f12"));
  const at = 700 * 2 ** 30;
  t.equal(found.get("/a/hole"), `bytes ${at} to ${at + 2 ** 18 - 1} differ`, "zeros are as good as a hole");
  t.end();
});
