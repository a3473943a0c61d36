/**
 * Real programs in the replicated directory, for long: with SECOND in sync; as the module's application, while PRIM loses its power and
 * comes back; and during a swap. The replicas must be equal on the disks each time.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import { type Node, until } from "../cluster/testbed.ts";
import { backingTreesEqual } from "./backing_trees.ts";
import { lastWords, together } from "./power_cuts.ts";
import { programs, SOURCES, stressors } from "./torture_programs.ts";

/** What the module's application does, over and over. */
const APPLICATION = ["untar", "rsync", "fio", "git"];
const APPLICATION_MS = 12_000;
const MINUTE = 60_000;

/** What to do. */
export interface Torture {
  /** How long each stressor runs, s. */
  seconds: number;
  /** Only programs whose name contains one of these words; none: all, and the application with its power cut and swap. */
  only: readonly string[];
  tell(line: string): void;
}

/** One round of a program in an empty directory. */
const whole = (name: string, script: string): string =>
  `set -euo pipefail; rm -rf ${name}; mkdir ${name}; cd ${name}\n${script}`;

/** A loop of programs, which rests while RECORD/rest is there, as an application that hooks start and stop. */
const application = {
  "hooks/start_prim.ts": `import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { defineHook } from "holdfast";
export default defineHook(() => {
  const child = spawn("bash", ["RECORD/application.sh"], { detached: true, stdio: "ignore" });
  writeFileSync("/run/torture.pid", String(child.pid));
  child.unref();
});
`,
  "hooks/stop_prim.ts": `import { readFileSync } from "node:fs";
import { defineHook } from "holdfast";
export default defineHook(() => {
  try {
    process.kill(-Number(readFileSync("/run/torture.pid", "utf8")), "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH" && error.code !== "ENOENT") throw error;
  }
});
`,
};

/** See the top of the file. */
class Torturer {
  /** What failed, in words. */
  readonly failures: string[] = [];
  readonly #mirror: Mirror;
  readonly #torture: Torture;

  constructor(mirror: Mirror, torture: Torture) {
    this.#mirror = mirror;
    this.#torture = torture;
  }

  get #environment(): Record<string, string> {
    return { SOURCE: `${this.#mirror.bed.dir}/source`, SECONDS_EACH: `${this.#torture.seconds}s` };
  }

  /** A file outside the nodes. */
  #record(name: string): string {
    return join(this.#mirror.bed.dir, name);
  }

  /** Writes what the application does; it rests first. */
  writeApplication(): void {
    const environment = Object.entries(this.#environment).map(([key, value]) => `export ${key}="${value}"`);
    const rounds = APPLICATION.map((name) => {
      writeFileSync(this.#record(`${name}.sh`), whole(name, programs[name]!));
      return `run ${name}`;
    });
    const lines = [
      ...environment,
      `run() { while [ -e ${this.#record("rest")} ]; do touch ${this.#record("resting")}; sleep 0.1; done; rm -f ${this.#record("resting")}`,
      `  mkdir -p ${this.#mirror.data}/application; cd ${this.#mirror.data}/application || return`,
      `  bash ${this.#record("$1.sh")} > ${this.#record("output")} 2>&1 || { echo "$1, $(hostname):"; tail -n 20 ${this.#record("output")}; } >> ${this.#record("failed")}`,
      `  echo "$1" >> ${this.#record("rounds")}; }`,
      `while sleep 0.1; do ${rounds.join("; ")}; done`,
    ];
    writeFileSync(this.#record("application.sh"), lines.join("\n"));
    writeFileSync(this.#record("rest"), "");
  }

  /** Runs a program; what fails runs on the bare disk too, for comparison. */
  async run(node: Node, name: string, script: string): Promise<void> {
    const started = performance.now();
    const failed = await this.#once(node, this.#mirror.data, name, script);
    const took = `${((performance.now() - started) / 1000).toFixed(1)} s`;
    this.#torture.tell(`${failed === null ? "ok  " : "FAIL"} ${name}  ${took}`);
    if (failed === null) return;
    const bare = await this.#once(node, `${node.dataDir}/bare`, name, script);
    this.failures.push(
      `${name}: ${failed}\non bare ext4: ${bare === null ? "works" : `fails too: ${bare}`}\n${lastWords(this.#mirror)}`,
    );
  }

  async #once(node: Node, directory: string, name: string, script: string): Promise<string | null> {
    await node.exec(["mkdir", "-p", directory]);
    const options = { cwd: directory, env: this.#environment, mayFail: true, timeoutMs: 10 * MINUTE };
    const { status, stdout, stderr } = await node.exec(["bash", "-c", whole(name, script)], options);
    return status === 0 ? null : `status ${status}: ${`${stdout}${stderr}`.slice(-3000)}`;
  }

  /** The replicas are equal; said under this title. */
  async equal(prim: Node, title: string): Promise<void> {
    this.#torture.tell(`${title}: ${await backingTreesEqual(this.#mirror, prim)}`);
  }

  /** Lets the application work. */
  work(): void {
    rmSync(this.#record("rest"), { force: true });
    rmSync(this.#record("resting"), { force: true });
  }

  /** Waits until the application rests between two programs, and nothing of it has failed. */
  async rest(): Promise<void> {
    writeFileSync(this.#record("rest"), "");
    await until("the application rests", () => existsSync(this.#record("resting")), 5 * MINUTE, 100);
    const rounds = readFileSync(this.#record("rounds"), "utf8").trim().split("\n").length;
    this.#torture.tell(`the application has finished ${rounds} programs so far`);
    if (!existsSync(this.#record("failed"))) return;
    this.failures.push(`the application: ${readFileSync(this.#record("failed"), "utf8")}`);
    rmSync(this.#record("failed"));
  }

  /** PRIM loses its power while the application and a writer through a mapping work, and comes back while the application works. */
  async powerCut(prim: Node, survivor: Node): Promise<void> {
    const pages = `${this.#mirror.data}/pages`;
    const numbers = this.#record("numbers");
    const mapped = [process.execPath, join(import.meta.dir, "../cluster/programs_mapped.ts")];
    this.work();
    const writer = await prim.spawn([...mapped, "write", pages], { log: numbers });
    await Bun.sleep(APPLICATION_MS);
    await prim.powerCut();
    await writer.exited;
    await survivor.holdfast(["wait", "db", "ALONE", "--timeout", "60s"]);
    const last = readFileSync(numbers, "utf8").split("\n").at(-2) ?? "0";
    await survivor.exec([...mapped, "check", pages, last]);
    this.#torture.tell(`power cut of ${prim.name}: ${last} pages synced through a mapping, none lost`);
    await Bun.sleep(APPLICATION_MS);
    await prim.powerOn();
    await prim.startDaemon();
    await together(this.#mirror, survivor, "300s");
    await this.rest();
    await this.equal(survivor, "after a power cut and reintegration under load");
  }

  /** The roles change while the application works. */
  async swap(prim: Node, second: Node): Promise<void> {
    this.work();
    await Bun.sleep(APPLICATION_MS);
    await prim.holdfast(["swap", "db"]);
    await together(this.#mirror, second, "60s");
    await Bun.sleep(APPLICATION_MS);
    await this.rest();
    await this.equal(second, "after a swap under load");
  }
}

/** What programs work on, outside the nodes. Returns what could not be made, in words. */
async function makeSources(directory: string): Promise<string | null> {
  mkdirSync(directory);
  const child = Bun.spawn(["bash", "-ec", SOURCES], {
    cwd: directory,
    env: { ...process.env, REPOSITORY: resolve(import.meta.dir, "../..") },
    stdout: "ignore",
    stderr: "pipe",
  });
  const said = await new Response(child.stderr).text();
  if ((await child.exited) === 0) return null;
  if (existsSync(join(directory, "npm/package.json"))) return `no npm: ${said}`;
  throw new Error(`the sources cannot be made: ${said}`);
}

/** Runs it; throws with all that failed. Returns a line. */
export async function torture(options: Torture): Promise<string> {
  const { only, tell } = options;
  const mirror = await createMirror({
    diskMiB: 16_384,
    heartbeat: "{ interval: 200ms, timeout: 3s }",
    files: application,
  });
  await using bed = mirror.bed;
  const { n1, n2 } = mirror;
  const torturer = new Torturer(mirror, options);
  const missing = await makeSources(join(bed.dir, "source"));
  if (missing !== null) tell(`SKIPPED: ${missing}`);
  const stress = stressors();
  const all = Object.entries({ ...programs, ...stress.programs }).filter(
    ([name]) =>
      !(name === "npm" && missing !== null) &&
      (only.length === 0 || only.some((word) => name.includes(word))),
  );
  tell(`stressors left out: ${stress.leftOut.join("; ")}`);
  try {
    torturer.writeApplication();
    await mirror.start();
    for (const [name, script] of all) await torturer.run(n1, name, script);
    await torturer.equal(n1, `after ${all.length} programs with SECOND in sync`);
    if (only.length === 0 || only.includes("application")) {
      await torturer.powerCut(n1, n2);
      await torturer.swap(n2, n1);
    }
  } catch (error) {
    torturer.failures.push(`${(error as Error).message}\n${lastWords(mirror)}`);
  }
  if (torturer.failures.length > 0) throw new Error(torturer.failures.join("\n\n"));
  return `${all.length} programs: nothing failed, the replicas were equal each time`;
}
