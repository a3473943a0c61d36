/**
 * `npm test`: prepares the machine, builds, checks the text, and runs every test file. Plain Node 20, no packages.
 *
 * `npm test -- WORD…` runs only files whose path contains one of the words. The last line is `N passed, N failed`.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cleanAfter, MARK } from "./leftovers.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, "node_modules/.bin");
/** Two processes without daemons: they wait for disks and for each other, and no heartbeat runs out. But one writes all the time, against a copy. */
const PATHS = /\/(disk_errors|replication_(?!traps))/;
/** Applications, and bad input, on nodes whose heartbeats have a patient timeout, or whose tests do not count it. */
const APPLICATIONS =
  /\/(bad_input|checks|checks_actions|checks_others|containers|daemon_start|demo|examples|explain|farm_filter|farm_mixed|kinds|kvm|maintenance|mariadb|model|network|postgresql|programs|redis|revisions|safekit|secrets|services|sqlite|systemd|testbed|web_farm|witness_etcd|witness_node)\./;
/** Lives of a mirror, or a farm, that end and begin: no count of theirs is as close as those of failover. */
const LIVES =
  /\/(cluster_apply|farm|farm_modes|farm_restart|fence|guardian|life_boot|life_commands|life_damaged|life_data|life_guardian|life_isolation|life_replicator|life_restored|live_replacement|probe|replication_traps|witness)\./;
/** Long, and said already by others in short, or of programs that this run does not install: run by their names. */
const ASKED_FOR = /\/(checks_everywhere|containers|kvm|witness_life)\./;
/** They take longest, so they begin first: else the others are done, and one of these is waited for alone. */
const FIRST =
  /\/(bad_input|examples|farm|farm_modes|kinds|life_guardian|life_isolation|life_replicator|live_replacement|postgresql|programs|replication_interrupted|replication_reintegration|revisions)\./;
/** What may run at the same time takes no more room than this: of tests that take 4, three. */
const ROOM = 12;
/** So many run at a time on any machine; another begins while the processors have nothing to do for this share of the time. */
const ALWAYS = 2;
const IDLE_ENOUGH = 0.25;
/** What has just begun shows its load after so long, ms. */
const LOOK_EVERY = 2500;
/**
 * Folder, which of its files, the room that one takes, and how long it may take, in seconds; and whether they may be left out when the machine is
 * too slow for all: data and failover are tried first, applications last.
 */
const SUITES = [
  { folder: "test/unit", room: 4, limit: 120 },
  { folder: "test/simulation", room: 4, limit: 300 },
  { folder: "test/cluster", only: (file) => PATHS.test(file), room: 4, limit: 420 },
  {
    folder: "test/cluster",
    only: (file) => ![PATHS, APPLICATIONS, LIVES].some((group) => group.test(file)),
    room: ROOM,
    limit: 420,
  },
  { folder: "test/cluster", only: (file) => LIVES.test(file), room: 6, limit: 420, mayBeLeftOut: true },
  {
    folder: "test/cluster",
    only: (file) => APPLICATIONS.test(file),
    room: 3,
    limit: 420,
    mayBeLeftOut: true,
  },
];
/** All of it, seconds: what runs then, or was never begun, counts as failed. */
const WHOLE_LIMIT = 1190;
/** What may be left out begins before this, seconds (those of FIRST, and the others), or is told of as not run. */
const LAST_BEGIN = { long: 920, short: 1000 };
const KEPT_OUTPUT = 8_000_000;

const started = Date.now();
const elapsed = () => (Date.now() - started) / 1000;
const words = process.argv.slice(2);
const skipped = [];
let passed = 0;
let failed = 0;

/** Runs a command to its end or its limit; the process group is killed then. Resolves to its status (null: killed), output and pid. */
function run(command, args, seconds, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let output = "";
    const keep = (chunk) => {
      output += chunk;
      if (output.length > KEPT_OUTPUT) output = output.slice(-KEPT_OUTPUT / 2);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        child.kill("SIGKILL");
      }
    }, seconds * 1000);
    child.on("error", (error) => keep(String(error)));
    // `exit` and not `close`: what a test left behind may hold its output open.
    child.on("exit", (status) => {
      clearTimeout(timer);
      setTimeout(() => resolve({ status: late ? null : (status ?? 1), output, late, pid: child.pid }), 50);
    });
  });
}

function show(mark, name, seconds, detail) {
  console.log(`${mark} ${name}  ${seconds.toFixed(1)} s  ${detail}`);
}

/** One step that passes or fails as a whole. */
async function step(name, command, args, seconds) {
  const begun = elapsed();
  const { status, output } = await run(command, args, seconds);
  if (status === 0) passed++;
  else failed++;
  show(status === 0 ? "ok  " : "FAIL", name, elapsed() - begun, "");
  if (status !== 0) console.log(output);
  return status === 0;
}

/** The counts that tap prints last: `# { total: 23, pass: 22, fail: 1 }`. */
function countsOf(output) {
  const line = [...output.matchAll(/^# \{ (.*) \}$/gm)].at(-1)?.[1];
  if (line === undefined) return null;
  const count = (word) => Number(new RegExp(`\\b${word}: (\\d+)`).exec(line)?.[1] ?? 0);
  return { pass: count("pass"), fail: count("fail") };
}

async function testFile(file, limit) {
  const left = WHOLE_LIMIT - elapsed();
  if (left < 5) {
    failed++;
    return show("FAIL", file, 0, "not run: the whole run took too long");
  }
  const seconds = Math.min(limit, left);
  const begun = elapsed();
  const args = ["--preload", "./test/tap_under_bun.ts", file];
  const mark = `${process.pid}-${file}`;
  const { status, output, late, pid } = await run(join(bin, "bun"), args, seconds, {
    TAP_TIMEOUT: String(Math.floor(seconds)),
    [MARK]: mark,
  });
  const counts = countsOf(output);
  const pass = counts?.pass ?? 0;
  // A file that dies, hangs or ends badly without a failed assertion has failed once.
  const fail = counts?.fail || (status === 0 && counts ? 0 : 1);
  passed += pass;
  failed += fail;
  for (const [, name, reason] of output.matchAll(/^\s*ok \d+ - (.*?) # SKIP ?(.*)$/gm))
    skipped.push(`${file}: ${name}: ${reason || "no reason given"}`);
  show(
    fail === 0 ? "ok  " : "FAIL",
    file,
    elapsed() - begun,
    `${pass} passed${fail > 0 ? `, ${fail} failed` : ""}`,
  );
  if (fail === 0) return;
  const killed = late ? `${file}: killed at its limit of ${seconds.toFixed(0)} s\n` : "";
  const cleaned = (await cleanAfter(pid, mark)).map((line) => `after ${file}: ${line}\n`).join("");
  console.log(`${output}\n${killed}${cleaned}---- end of ${file}`);
}

/** The files of a suite that are asked for, those that take longest first. */
function filesOf({ folder, only = () => true, room, limit, mayBeLeftOut = false }) {
  const directory = join(root, folder);
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `${folder}/${name}`)
    .filter(only)
    .filter(
      (file) => !(words.length === 0 && ASKED_FOR.test(file) && skipped.push(`${file}: run by its name`)),
    )
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort()
    .sort((a, b) => Number(FIRST.test(b)) - Number(FIRST.test(a)))
    .map((file) => ({ file, room, limit, mayBeLeftOut: mayBeLeftOut && words.length === 0 }));
}

/** The share of the processors' time since the last call in which they had nothing to do. See proc_stat(5). */
let before = { idle: 0, all: 0 };
function idleShare() {
  const [, ...ticks] = readFileSync("/proc/stat", "utf8").split("\n")[0].split(/ +/).map(Number);
  const now = { idle: ticks[3], all: ticks.slice(0, 8).reduce((sum, one) => sum + one, 0) };
  const share = (now.idle - before.idle) / Math.max(1, now.all - before.all);
  before = now;
  return share;
}

/** Runs them in this order, as many at a time as there is room and processor for: nobody waits for the slowest of a suite. */
async function runAll(queue) {
  let free = ROOM;
  const running = new Set();
  for (const { file, room, limit, mayBeLeftOut } of queue) {
    idleShare();
    while (free < room || running.size >= ALWAYS) {
      await Promise.race([...running, new Promise((resolve) => setTimeout(resolve, LOOK_EVERY))]);
      if (free >= room && idleShare() > IDLE_ENOUGH) break;
    }
    if (mayBeLeftOut && elapsed() > (FIRST.test(file) ? LAST_BEGIN.long : LAST_BEGIN.short)) {
      skipped.push(
        `${file}: NOT RUN, this machine is too slow for all of it within 20 minutes; run it by its name`,
      );
      continue;
    }
    free -= room;
    const one = testFile(file, limit).then(() => {
      free += room;
      running.delete(one);
    });
    running.add(one);
  }
  await Promise.all(running);
}

const prepared = spawnSync(process.execPath, [join(root, "test/prepare.mjs"), "npm", "apt"], {
  stdio: "inherit",
});
if (prepared.status !== 0) {
  console.log("0 passed, 1 failed");
  process.exit(1);
}
const built = await step(
  "build",
  join(bin, "bun"),
  ["build.ts", ...(words.length > 0 ? ["--if-stale"] : [])],
  300,
);
if (words.length === 0) {
  await step("format and lint", join(bin, "biome"), ["check", "."], 120);
  await step("types", join(bin, "tsc"), ["-p", "tsconfig.json"], 300);
}
await runAll(SUITES.filter(({ folder }) => built || folder !== "test/cluster").flatMap(filesOf));
if (!built) console.log("The tests with real nodes did not run: there is no binary to test.");
if (skipped.length > 0) {
  console.log(`\nSKIPPED (${skipped.length}): this machine cannot run everything`);
  for (const line of skipped) console.log(`  ${line}`);
}
console.log(`\n${elapsed().toFixed(0)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
