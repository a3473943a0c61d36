/** What the doctor finds about the machine: the kernel's settings, what mirrors and farms need of it, its clock. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { examine, fuse, fuseTimeouts, kernel, saved } from "../../core/cli/doctor.ts";
import { judgeClock, judgeOffset, judgeStep } from "../../core/cli/doctor_clock.ts";
import { addresses, farm } from "../../core/cli/doctor_rules.ts";
import { loadCluster } from "../../core/cluster/cluster.ts";
import { WallClock } from "../../core/daemon/wall_clock.ts";
import { clockDiscipline } from "../../core/platform/linux/libc.ts";

const isRoot = process.getuid?.() === 0;

t.test("trap 31b: a kernel that would abort a slow mount is told of", async (t) => {
  const settings = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
  t.teardown(() => rmSync(settings, { recursive: true }));
  t.equal(fuseTimeouts(settings).level, "good", "older kernels have none");
  writeFileSync(join(settings, "default_request_timeout"), "0\n");
  writeFileSync(join(settings, "max_request_timeout"), "0\n");
  t.equal(fuseTimeouts(settings).level, "good");
  writeFileSync(join(settings, "max_request_timeout"), "30\n");
  t.match(fuseTimeouts(settings), { level: "warning", detail: /^fs\.fuse\.max_request_timeout may abort/ });
});

t.test("what a kernel lacks, all of it, as docs/replication.md has it", async (t) => {
  t.match(kernel("5.10.0-21-amd64"), {
    level: "problem",
    detail: "5.10.0-21-amd64 is not supported: 5.15 or later is",
  });
  t.match(kernel("5.15.0-91-generic"), {
    level: "warning",
    detail: /frozen primary.*5\.16.*O_TMPFILE.*6\.2.*restarted.*6\.9/,
  });
  t.match(kernel("6.8.0"), { level: "warning", detail: /^6\.8\.0 has the application restarted [^,]*$/ });
  t.match(kernel("6.18.44-fc"), { level: "good" });
});

t.test("what was kept aside after a split brain is told until somebody has seen to it", async (t) => {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
  t.teardown(() => rmSync(varDir, { recursive: true }));
  t.same(saved(varDir), []);
  const kept = join(varDir, "saved/db/2026-11-27T10-40-29-883Z");
  mkdirSync(kept, { recursive: true });
  mkdirSync(join(varDir, "saved/web"));
  t.match(saved(varDir), [{ level: "warning", detail: new RegExp(`^db: .* is in ${kept} `) }]);
  rmSync(kept, { recursive: true });
  t.same(saved(varDir), []);
});

t.test("everything that is examined has a name, and the kernel is this one", async (t) => {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
  t.teardown(() => rmSync(varDir, { recursive: true }));
  const findings = await examine(varDir);
  t.match(findings[0], { what: "kernel", detail: new RegExp(`^${release()}`) });
  for (const { what, detail } of findings) t.match(what, /^[a-z ]+$/, detail);
});

t.test(
  "who may not read a node's files is told to use sudo, not to join again",
  { skip: isRoot ? false : "needs root, to become somebody else" },
  async (t) => {
    const varDir = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
    t.teardown(() => rmSync(varDir, { recursive: true }));
    chmodSync(varDir, 0o755);
    mkdirSync(join(varDir, "cluster"), { mode: 0o700 });
    process.seteuid!(65534);
    try {
      t.throws(() => loadCluster(varDir), /^only its owner may read .*: use sudo/);
    } finally {
      process.seteuid!(0);
    }
  },
);

t.test("a mirror needs fuse", { skip: isRoot ? false : "needs root (device nodes)" }, async (t) => {
  const dir = mkdtempSync("/var/tmp/holdfast-doctor-");
  t.teardown(() => rmSync(dir, { recursive: true }));
  t.match(fuse(join(dir, "none")), { level: "problem", detail: /^no .*\/none, .*: modprobe fuse/ });
  // Of the misc devices, one that nobody registers.
  const made = Bun.spawnSync(["mknod", join(dir, "dead"), "c", "10", "4095"]);
  if (made.success)
    t.match(fuse(join(dir, "dead")), { level: "problem", detail: /the kernel has no fuse.*: modprobe fuse/ });
  else t.skip("no device nodes may be made here", async () => undefined);
  if (existsSync("/dev/fuse")) t.match(fuse(), { level: "good" });
});

t.test("a farm needs nft, and a kernel that takes its filter", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  t.match(farm(dir), { level: "warning", detail: /no program nft.*: apt-get install nftables$/ });
  // As nft says it where the kernel was built without the netdev family.
  const script = `#!/bin/sh
[ "$1" = --version ] && { echo "nftables v1.0.6 (Lester Gooch #5)"; exit; }
grep -q "hook ingress device" || exit 0
echo "/dev/stdin:3:1-40: Error: Could not process rule: Operation not supported" >&2
exit 1
`;
  writeFileSync(join(dir, "nft"), script);
  chmodSync(join(dir, "nft"), 0o755);
  t.match(farm(dir), {
    level: "warning",
    detail:
      /^nft 1\.0\.6 and this kernel do not take .*Operation not supported\), .*a kernel with nf_tables for netdev/,
  });
  const real = isRoot && Bun.which("nft") !== null;
  await t.test("on this machine", { skip: real ? false : "needs root and nft" }, async (t) => {
    const before = Bun.spawnSync(["nft", "list", "ruleset"]).stdout.toString();
    t.match(farm(), { level: "good", detail: /^nft \d\S+ and this kernel take the filter of a farm$/ });
    t.match(addresses(), { level: "good" });
    t.equal(Bun.spawnSync(["nft", "list", "ruleset"]).stdout.toString(), before, "nothing was touched");
  });
});

t.test("a clock that nothing corrects, one that is hurried, one that is off", async (t) => {
  const good = { isSynchronised: true, maxErrorMs: 20, ratePpm: -12 };
  t.match(judgeClock(good), { level: "good", detail: "synchronised" });
  const none = { level: "warning", detail: /^not synchronised: .*apt-get install chrony/ };
  t.match(judgeClock({ ...good, isSynchronised: false }), none);
  t.match(judgeClock({ ...good, maxErrorMs: 16_000 }), none);
  t.match(judgeClock({ ...good, ratePpm: 83_333 }), { level: "problem", detail: /8 % too fast/ });
  t.match(judgeClock({ ...good, ratePpm: -83_333 }), { level: "problem", detail: /8 % too slow/ });
  t.same(judgeOffset("n2", { aheadMs: 1400, uncertainMs: 500 }), []);
  t.match(judgeOffset("n2", { aheadMs: -4000, uncertainMs: 2 }), [
    { level: "warning", detail: /^n2's is 4\.0 s behind this one's/ },
  ]);
  const now = clockDiscipline();
  t.ok(Math.abs(now.ratePpm) < 100_000 && now.maxErrorMs >= 0, `of this machine: ${JSON.stringify(now)}`);
});

t.test("a clock that is set while the daemon runs", async (t) => {
  const reading = { wall: Date.UTC(2026, 10, 27), steady: 1000, took: 0 };
  const clock = new WallClock(() => reading);
  const passes = (ms: number, set = 0, took = 0) => {
    reading.wall += ms + set;
    reading.steady += ms;
    reading.took = took;
    return clock.tick();
  };
  t.equal(passes(0), null);
  t.equal(passes(60_000, 400), null, "a time service that hurries it");
  t.equal(clock.last, null);
  t.equal(passes(20, -5000, 900), null, "not read at one moment");
  t.equal(passes(20, 5000), null);
  t.match(passes(20, -3_600_000), /was set 3600\.0 s back/);
  t.match(judgeStep(clock.last), [
    { level: "warning", detail: /^set 3600\.0 s back at 2026-11-26T23:01:00.*makestep/ },
  ]);
  t.equal(passes(20), null, "said once");
  t.match(passes(20, 2000), /2\.0 s forward/);
});
