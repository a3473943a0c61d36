/** Order on SECOND, what each kind of sync waits for, and full copies under load, between two real replication processes. */
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-replication-traps-${process.pid}`, 21000 + (process.pid % 20000), {
  timeoutMs: 6000,
  // The application below changes more than this in a second.
  bandwidth: 6_000_000,
});
const { n1, n2 } = lab;
t.teardown(() => lab.close());

t.before(async () => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await n1.reported("inSync");
  await n2.reported("inSync");
});

t.test(
  "trap 6: SECOND sees files replaced as PRIM replaced them, never half, never back in time",
  async (t) => {
    const rounds = 400;
    // What a database does: a new version beside the old one, synced (every other time only flushed), then renamed over it.
    const writer = shell(
      n1.directory,
      `i=0; while [ $i -lt ${rounds} ]; do i=$((i+1)); printf '%0200000d\\n' $i > new
     echo $i > log; [ $((i % 2)) = 0 ] && sync new; mv new current; done`,
    );
    let isWriting = true;
    void writer.finally(() => {
      isWriting = false;
    });
    const current = join(n2.directory, "current");
    let last = 0;
    let seen = 0;
    while (isWriting) {
      await Bun.sleep(1);
      if (!existsSync(current)) continue;
      const text = readFileSync(current, "latin1");
      const version = Number(text);
      // Without a sync the kernel may hand pages over after the rename: then PRIM's own server has seen no more.
      if (version % 2 === 0 && text.length > 0) {
        if (text.length !== 200_001) t.fail(`version ${version} has ${text.length} bytes on SECOND`);
        if (version < last) t.fail(`version ${version} came after ${last}`);
        if (version > last) seen++;
        last = version;
      }
    }
    await writer;
    t.ok(seen > 5, `${seen} versions were seen on the way`);
    t.same(await becomesEqual(n1, n2), []);
  },
);

const CAP_SYS_RESOURCE = 24n;
const capabilities = BigInt(`0x${/^CapEff:\s+(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]}`);
const skip = (capabilities >> CAP_SYS_RESOURCE) & 1n ? false : "CAP_SYS_RESOURCE is not there";

t.test(
  "trap 31: the server of a mount never waits for pages that it must write back",
  { skip },
  async (t) => {
    // proc_pid_stat(5), field 9; the kernel's PF_LOCAL_THROTTLE and PF_MEMALLOC_NOIO.
    const stat = readFileSync(`/proc/${n1.process!.pid}/stat`, "utf8");
    const flags = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[6]);
    t.equal(flags & 0x180000, 0x180000);
    t.match(
      readFileSync(`/proc/${n1.process!.pid}/status`, "utf8"),
      /^VmLck:\s+[1-9]/m,
      "its memory is locked",
    );
  },
);

/** Every way to ask for durability, each in a process of its own; `FILE` is new. */
const SYNCS: Record<string, string> = {
  "fsync of a new file": "dd if=/dev/zero of=FILE bs=5000 count=1 conv=fsync status=none",
  "fdatasync of a file that grew": "dd if=/dev/zero of=FILE bs=5000 count=1 conv=fdatasync status=none",
  O_SYNC: "dd if=/dev/zero of=FILE bs=5000 count=1 oflag=sync status=none",
  O_DSYNC: "dd if=/dev/zero of=FILE bs=5000 count=1 oflag=dsync status=none",
  "fsync of a directory": "mkdir FILE; sync FILE",
  "fsync of the directory of a new name": "touch FILE; sync .",
  "msync after close": `python3 -c 'import mmap
f = open("FILE", "wb+"); f.truncate(8192); m = mmap.mmap(f.fileno(), 8192); f.close(); m[5000] = 1; m.flush()'`,
  RWF_SYNC: `python3 -c 'import os
os.pwritev(os.open("FILE", os.O_RDWR | os.O_CREAT), [b"x" * 5000], 0, os.RWF_SYNC)'`,
  RWF_DSYNC: `python3 -c 'import os
os.pwritev(os.open("FILE", os.O_RDWR | os.O_CREAT), [b"x" * 5000], 0, os.RWF_DSYNC)'`,
};

t.test(
  "trap 7: every kind of sync waits until SECOND has synced, and then its name is there too",
  async (t) => {
    n2.process!.kill("SIGSTOP");
    const returned = new Set<string>();
    const all = Object.entries(SYNCS).map(async ([what, script], index) => {
      await shell(n1.directory, script.replaceAll("FILE", `synced${index}`));
      returned.add(what);
    });
    await Bun.sleep(2500);
    t.same([...returned], [], "none returns while SECOND is stopped");
    n2.process!.kill("SIGCONT");
    await Promise.all(all);
    for (const [index, what] of Object.keys(SYNCS).entries())
      t.ok(existsSync(join(n2.directory, `synced${index}`)), what);
    t.same(await becomesEqual(n1, n2), []);
  },
);

t.test("trap 14: a full copy ends although the application writes without pause", async (t) => {
  await shell(
    n1.directory,
    "for i in 1 2 3 4; do head -c 8000000 /dev/urandom > big$i; done; sync big1 big2 big3 big4",
  );
  const gone = n1.reports.length;
  await n2.kill();
  await n1.reported("peerGone", gone);
  await n1.must({ op: "goAlone", generations: generation("g2", "g1") });
  const load = `while [ ! -e enough ]; do for i in 1 2 3 4; do
    dd if=/dev/urandom of=big$i bs=64k count=40 seek=$((RANDOM % 82)) conv=notrunc,fdatasync status=none
    head -c 100000 /dev/urandom >> big$i; done; done`;
  const writer = spawn("bash", ["-c", load], { cwd: n1.directory, stdio: "ignore" });
  const ended = new Promise((resolve) => writer.once("exit", resolve));
  try {
    const [a, b] = [n1.reports.length, n2.reports.length];
    await n2.start();
    await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
    await n2.until(
      () => n2.reports.slice(b).some(({ kind }) => kind === "inSync"),
      "the end of the copy",
      90_000,
    );
    await n1.reported("inSync", a);
    t.ok(n2.finished.length + n1.finished.length > 0, "while the writer went on");
    t.equal(writer.exitCode, null);
  } finally {
    closeSync(openSync(join(n1.directory, "enough"), "w"));
    await ended;
  }
  t.same(await becomesEqual(n1, n2), []);
});

t.test("trap 9: a SECOND that hangs whenever it is in sync is let in later each time", async (t) => {
  const hanging = makeLab(`/tmp/holdfast-replication-hangs-${process.pid}`, 41000 + (process.pid % 20000), {
    timeoutMs: 1000,
  });
  t.teardown(() => hanging.close());
  const [a, b] = [hanging.n1, hanging.n2];
  await a.start();
  await b.start();
  await a.must({ op: "serve", alone: true, generations: generation("g1") });
  await b.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await a.reported("inSync");
  const away: number[] = [];
  for (const [hang, history] of [["g1"], ["g2", "g1"], ["g3", "g2", "g1"]].entries()) {
    const from = a.reports.length;
    b.process!.kill("SIGSTOP");
    const writes = shell(a.directory, `echo ${hang} > file; sync file`);
    await a.reported("peerGone", from);
    const lost = performance.now();
    await a.must({ op: "goAlone", generations: generation(`g${hang + 2}`, history[0], history.slice(1)) });
    await writes;
    b.process!.kill("SIGCONT");
    await a.reported("inSync", from);
    away.push(performance.now() - lost);
  }
  // A fifth of the time-out, doubled each time; how long the rest takes is not told here.
  t.ok(away[1]! >= 390 && away[2]! >= 790, `away for ${away.map(Math.round)} ms`);
  t.same(await becomesEqual(a, b), []);
});
