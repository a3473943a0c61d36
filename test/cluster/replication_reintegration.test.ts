/** Reintegration: what changed while the peers were apart is moved, and nothing else. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readOnlyRules } from "../conformance/posix_read_only.ts";
import { becomesEqual, compare, generation, type LabNode, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const port = 21000 + (process.pid % 20000);
const lab = makeLab(`/tmp/holdfast-reintegration-${process.pid}`, port);
const { n1, n2 } = lab;
t.teardown(() => lab.close());

/** Most memory that a node's process has used, bytes. */
function peakMemory(node: LabNode): number {
  const status = readFileSync(`/proc/${node.process!.pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

t.test("a first copy takes everything, whatever its kind", async (t) => {
  const { directory } = n1;
  mkdirSync(join(directory, "deep/er"), { recursive: true });
  writeFileSync(join(directory, "deep/er/file"), "before replication");
  writeFileSync(join(directory, "big"), Buffer.alloc(3_000_000, "0123456789"));
  spawnSync(
    "sh",
    [
      "-ec",
      `ln deep/er/file hard; ln -s /nowhere/special sym; mkfifo pipe; mknod null c 1 3; truncate -s 50M sparse
    printf x | dd of=sparse bs=1 seek=40000000 conv=notrunc 2>/dev/null; setfattr -n user.k -v v big; setfacl -m u:1234:rw big
    chown 12:34 deep; chmod 2755 deep; touch -h -d 2002-02-02 sym; ln -P sym deep/er/sym; ln -P sym deep/sym; ln null deep/null; ln pipe deep/pipe; touch -d '1950-05-05 05:05:05.123456789' deep/er/file; mkdir empty; chown -h 7:8 sym; ln -P sym hardsym; ln null zero`,
    ],
    { cwd: directory },
  );
  // What the target held before is not the source's: it must go.
  mkdirSync(join(n2.directory, "old/dir"), { recursive: true });
  writeFileSync(join(n2.directory, "old/dir/x"), "x");
  writeFileSync(join(n2.directory, "big"), "another big");
  const muchBytes = 300 << 20;
  await shell(directory, `head -c ${muchBytes} /dev/urandom > much`);
  await n1.start();
  await n2.start();
  const before = [n1, n2].map(peakMemory);
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n2.reported("inSync");
  await n1.reported("inSync");
  t.same(await compare(n1, n2), []);
  for (const [index, node] of [n1, n2].entries()) {
    const grown = peakMemory(node) - before[index]!;
    t.ok(grown < muchBytes / 3, `memory of ${node.name} does not grow with what is moved: by ${grown} bytes`);
  }
  await shell(directory, "rm much");
  t.end();
});

t.test("on SECOND the directory is read-only (G8)", async (t) => {
  await shell(n1.directory, "mkdir rules rules/d; echo x > rules/f; ln -s f rules/l; sync rules/f");
  t.same(await becomesEqual(n1, n2), []);
  for (const [words, rule] of Object.entries(readOnlyRules)) {
    rule(join(n2.directory, "rules"));
    t.pass(words);
  }
});

t.test("only what changed is moved; renames as renames", async (t) => {
  await shell(
    n1.directory,
    "for i in $(seq 50); do head -c 100000 /dev/urandom > f$i; done; mkdir -p a/b/c z; echo inner > a/b/c/inner; sync -f .",
  );
  t.same(await becomesEqual(n1, n2), []);
  await lab.part();
  await n1.must({ op: "goAlone", generations: generation("g2", "g1") });
  await shell(
    n1.directory,
    `printf CHANGED | dd of=big bs=1 seek=1500000 conv=notrunc,fsync 2>/dev/null; mv a/b z/moved; rm f1; mv f2 f3; ln f4 z/f4link; mv deep deeper
     echo new > new; mkdir newdir; echo in > newdir/in; rm -r empty; ln -sf other sym; chmod 600 f5; setfattr -n user.later -v 1 f6; truncate -s 100 f7; mv z/moved/c/inner z/out
     chown -h 9:9 hardsym; chmod 600 zero; ln -s far soft; ln -P soft z/soft`,
  );
  const before = n2.reports.length;
  const told = n1.reports.length;
  await n2.start();
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g1") });
  await n2.reported("inSync", before);
  await n1.reported("inSync", told);
  t.same(await becomesEqual(n1, n2), []);
  const moved = n1.finished.at(-1)!;
  t.equal(moved.full, false);
  t.ok(moved.bytes < 300_000, `${moved.bytes} bytes were moved`);
  t.end();
});

t.test("live operations during a reintegration", async (t) => {
  await lab.part();
  await n1.must({ op: "goAlone", generations: generation("g3", "g2", ["g1"]) });
  await shell(
    n1.directory,
    "mkdir many; for i in $(seq 300); do head -c 200000 /dev/urandom > many/$i; done",
  );
  const before = n2.reports.length;
  const told = n1.reports.length;
  await n2.start();
  await n2.must({
    op: "follow",
    full: false,
    sacrifice: false,
    generations: generation("g2", null, ["g1"]),
  });
  await shell(
    n1.directory,
    `i=0; while [ $i -lt 150 ]; do i=$((i+1)); echo live >> many/$i; mv many/$((i+150)) many/moved$i; echo $i > fresh$i; rm -f fresh$((i-3)); mkdir -p tree/$i; mv tree/$i tree/t$i
       ln many/$i linked$i; ln fresh$i many/back$i; mkdir many/d$i; touch many/d$i/x; rm -r many/d$i; done
     mv many renamed; rm -r tree; ln renamed/5 five`,
  );
  await n2.reported("inSync", before);
  await n1.reported("inSync", told);
  await shell(n1.directory, "echo after > after");
  t.same(await becomesEqual(n1, n2), []);
  t.end();
});

t.test("of a tebibyte that is a hole, nothing is read", async (t) => {
  await lab.part();
  await n1.must({ op: "goAlone", generations: generation("g3a", "g3", ["g2", "g1"]) });
  await shell(
    n1.directory,
    "truncate -s 1T hole; printf x | dd of=hole bs=1 seek=500G conv=notrunc,fsync 2>/dev/null",
  );
  const before = n2.reports.length;
  await n2.start();
  await n2.must({
    op: "follow",
    full: false,
    sacrifice: false,
    generations: generation("g3", null, ["g2", "g1"]),
  });
  await n2.reported("inSync", before);
  t.equal(
    await shell(n2.directory, "stat -c %s hole; tail -c +536870912001 hole | head -c 1"),
    `${2 ** 40}\nx`,
  );
  await shell(n1.directory, "rm hole");
  t.end();
});

t.test("a full copy takes hard links out of directories that the source has no more", async (t) => {
  await shell(n1.directory, "mkdir gone kept; echo linked > gone/a; ln gone/a gone/b; sync gone/a");
  t.same(await becomesEqual(n1, n2), []);
  await lab.part();
  await n1.must({ op: "goAlone", generations: generation("g3b", "g3a", ["g3", "g2", "g1"]) });
  await shell(n1.directory, "mv gone/a kept/c; mv gone/b kept/d; rmdir gone");
  const before = n2.reports.length;
  await n2.start();
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n2.reported("inSync", before);
  t.same(await becomesEqual(n1, n2), []);
  t.end();
});

t.test("an interrupted reintegration resumes", async (t) => {
  await lab.part();
  await n1.must({ op: "goAlone", generations: generation("g4", "g3b", ["g3a", "g3", "g2", "g1"]) });
  await shell(
    n1.directory,
    "mkdir more; for i in $(seq 100); do head -c 500000 /dev/urandom > more/$i; done; mv five six; mkdir more/in; for i in $(seq 20); do ln -s there more/s$i; ln -P more/s$i more/in/s$i; done",
  );
  const from = n1.reports.length;
  await n2.start();
  await n2.must({
    op: "follow",
    full: false,
    sacrifice: false,
    generations: generation("g3b", null, ["g3", "g2", "g1"]),
  });
  await n1.reported("reintegrating", from);
  await Bun.sleep(60);
  await n2.kill();
  await shell(
    n1.directory,
    "echo between > between; rm more/1; mv more/2 more/two; chown -h 5:6 more/s1; mv more/in/s2 .",
  );
  const before = n2.reports.length;
  await n2.start();
  await n2.must({
    op: "follow",
    full: false,
    sacrifice: false,
    generations: generation("g3b", null, ["g3", "g2", "g1"]),
  });
  await n2.reported("inSync", before);
  t.same(await becomesEqual(n1, n2), []);
  t.end();
});
