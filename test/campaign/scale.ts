/**
 * A tree of a million files: what it costs to start, to copy, to keep, and to work in. Bounds that do not hold are named, and fail it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import { type Node, until } from "../cluster/testbed.ts";
import { lastWords, verifyEqual } from "./power_cuts.ts";

const SCRIPT = join(import.meta.dir, "scale_tree.ts");
const SMALL_TREE = 1000;
const PATIENCE = "1800s";
const PATIENCE_MS = 1_800_000;
/** What is promised for any tree up to a million files. */
const MOUNT_MS = 2000;
const SERVED_AGAIN_MS = 5000;
const REPLICATION_MIB = 400;
const DAEMON_MIB = 80;
/** An operation may seem dearer than in a small tree by this much: the medians of two runs on one machine differ, most of all where the disk is asked. */
const DEARER = 1.3;
const DEARER_SYNC = 2;

/** What to measure. */
export interface Scale {
  files: number;
  tell(line: string): void;
}

/** Microseconds by operation. */
type Costs = Record<string, number>;

/** Memory of a process, MiB: the most it had, and now, of which its own (not pages of files, which are anybody's). */
interface Memory {
  peak: number;
  now: number;
  own: number;
}

class ScaleRun {
  readonly #broken: string[] = [];
  /** The longest that the probe waited since the last phase began, ms. */
  #slowest = 0;

  constructor(
    readonly mirror: Mirror,
    readonly files: number,
    readonly tell: (line: string) => void,
  ) {}

  get broken(): readonly string[] {
    return this.#broken;
  }

  /** Notes a figure that must not be above its bound. */
  bound(what: string, value: number, limit: number, unit: string): void {
    const holds = value <= limit;
    this.tell(`  ${what}: ${Math.round(value)} ${unit} (bound ${limit})${holds ? "" : "  BROKEN"}`);
    if (!holds) this.#broken.push(`${what}: ${Math.round(value)} ${unit}, bound ${limit}`);
  }

  /** Runs one phase, and tells its duration and the longest stop of the application in it. */
  async phase<T>(name: string, act: () => Promise<T>): Promise<T> {
    this.#slowest = 0;
    const began = performance.now();
    try {
      return await act();
    } finally {
      const stop =
        this.#slowest > 0 ? `; slowest create+unlink meanwhile ${Math.round(this.#slowest)} ms` : "";
      this.tell(`${name}: ${Math.round(performance.now() - began)} ms${stop}`);
    }
  }

  /** Memory of both kinds of process on the nodes that are on. Of the daemon, its own: its program's pages are those of all processes. */
  memory(...nodes: Node[]): void {
    for (const node of nodes) {
      for (const { pid, command } of node.processes()) {
        const kind = command.split(" ")[1] ?? "";
        if (kind !== "daemon" && kind !== "__replication") continue;
        const { peak, now, own } = memoryOf(pid);
        if (kind === "daemon")
          this.bound(`daemon of ${node.name} (with pages of files ${now})`, own, DAEMON_MIB, "MiB");
        else {
          const name = `replication process of ${node.name}, peak (now ${now}, without pages of files ${own})`;
          this.bound(name, peak, REPLICATION_MIB, "MiB");
        }
      }
    }
  }

  async startProbe(node: Node): Promise<() => Promise<void>> {
    const probe = await node.spawn([process.execPath, SCRIPT, "probe", `${this.mirror.data}/probe`]);
    const reading = (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of probe.stdout)
        for (const line of decoder.decode(chunk).split("\n").filter(Boolean))
          this.#slowest = Math.max(this.#slowest, (JSON.parse(line) as { took: number }).took);
    })();
    return async () => {
      probe.signal("SIGKILL");
      await probe.exited;
      await reading;
    };
  }
}

function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const mebibytes = (key: string): number =>
    Math.round(Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  const now = mebibytes("VmRSS");
  return { peak: mebibytes("VmHWM"), now, own: now - mebibytes("RssFile") };
}

/** Waits until the node answers from the mount; returns when that was, ms of this process's clock. */
async function served(mirror: Mirror, node: Node): Promise<number> {
  await until(
    `${node.name} serves`,
    () => readFileSync(`/proc/${node.pid}/mounts`, "utf8").includes(` ${mirror.data} fuse`),
    PATIENCE_MS,
    5,
  );
  await node.exec(["stat", `${mirror.data}/crowd/file-0`]);
  return performance.now();
}

async function operationCosts(mirror: Mirror, node: Node, name: string): Promise<Costs> {
  const argv = [process.execPath, SCRIPT, "operations", `${mirror.data}/${name}`];
  return JSON.parse((await node.exec(argv)).stdout) as Costs;
}

/** And waits until the disk has it: what is measured next is not what writing it back costs. */
async function makeTree(mirror: Mirror, node: Node, files: number): Promise<void> {
  await node.exec([process.execPath, SCRIPT, "make", mirror.data, `${files}`], { timeoutMs: PATIENCE_MS });
  await node.exec(["sync", "-f", mirror.data], { timeoutMs: PATIENCE_MS });
}

async function bothSettled(mirror: Mirror): Promise<void> {
  await mirror.settled("PRIM", "SECOND", PATIENCE, { timeoutMs: PATIENCE_MS });
  await until(
    "both are settled",
    async () => (await mirror.states()).join() === "PRIM Ready,SECOND Ready",
    PATIENCE_MS,
    200,
  );
}

/** What operations cost in a small tree, alone and with SECOND in sync. */
async function inSmallTree(tell: (line: string) => void): Promise<{ alone: Costs; mirrored: Costs }> {
  const mirror = await createMirror();
  await using _bed = mirror.bed;
  await makeTree(mirror, mirror.n1, SMALL_TREE);
  await mirror.n1.holdfast(["start", "db"]);
  await mirror.n1.holdfast(["prim", "db"]);
  await served(mirror, mirror.n1);
  const alone = await operationCosts(mirror, mirror.n1, "alone");
  await mirror.n2.holdfast(["start", "db"]);
  await bothSettled(mirror);
  const mirrored = await operationCosts(mirror, mirror.n1, "mirrored");
  tell(`${SMALL_TREE} files: alone ${JSON.stringify(alone)}, mirrored ${JSON.stringify(mirrored)} µs`);
  return { alone, mirrored };
}

/** Runs it; throws with the bounds that do not hold, after all was measured. Returns a line. */
export async function measureScale({ files, tell }: Scale): Promise<string> {
  const small = await inSmallTree(tell);
  const mebibytes = 2048 + Math.ceil(files / 128);
  const mirror = await createMirror({ diskMiB: mebibytes, inodes: Math.ceil(files * 1.2) + 10_000 });
  await using _bed = mirror.bed;
  const run = new ScaleRun(mirror, files, tell);
  try {
    await inLargeTree(run, small);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${lastWords(mirror)}`);
  }
  if (run.broken.length > 0) throw new Error(`bounds that do not hold:\n${run.broken.join("\n")}`);
  return `${files} files: all bounds hold`;
}

async function inLargeTree(run: ScaleRun, small: { alone: Costs; mirrored: Costs }): Promise<void> {
  const { mirror, files } = run;
  const { n1, n2 } = mirror;
  await run.phase(`${files} files made`, () => makeTree(mirror, n1, files));

  await n1.holdfast(["start", "db"]);
  const began = performance.now();
  await n1.holdfast(["prim", "db"]);
  run.bound("first start until the mount serves", (await served(mirror, n1)) - began, MOUNT_MS, "ms");
  run.memory(n1);
  const compare = (name: string, now: Costs, before: Costs): void => {
    for (const [operation, cost] of Object.entries(now)) {
      const dearer = operation === "fsync" ? DEARER_SYNC : DEARER;
      run.bound(`${name}, ${operation}`, cost, Math.ceil((before[operation] ?? 0) * dearer + 10), "µs");
    }
  };
  compare("alone", await operationCosts(mirror, n1, "alone"), small.alone);

  const endProbe = await run.startProbe(n1);
  await run.phase("full copy", async () => {
    await n2.holdfast(["start", "db"]);
    await bothSettled(mirror);
  });
  run.memory(n1, n2);
  compare("mirrored", await operationCosts(mirror, n1, "mirrored"), small.mirrored);
  await run.phase("verify", () => verifyEqual(n1, PATIENCE_MS));
  await run.phase("walk of the whole tree", () =>
    n1.exec(["bash", "-c", `find ${mirror.data} -printf '%i %s %T@\\n' | wc -l`], { timeoutMs: PATIENCE_MS }),
  );
  run.memory(n1, n2);
  await run.phase("the kernel forgets", () => forget(n1));
  run.memory(n1);
  compare("after the walk", await operationCosts(mirror, n1, "walked"), small.mirrored);
  await run.phase("rename of the crowded directory", () =>
    n1.exec(["mv", `${mirror.data}/crowd`, `${mirror.data}/renamed`]),
  );
  await n1.exec(["mv", `${mirror.data}/renamed`, `${mirror.data}/crowd`]);
  await endProbe();
  await stopAndStart(run);
  await cutPrim(run);
}

/** Gives back what the kernel remembers of names and inodes, so that it sends FORGET for them. */
async function forget(node: Node): Promise<void> {
  await node.exec(["bash", "-c", "echo 2 > /proc/sys/vm/drop_caches"]);
  await Bun.sleep(2000);
}

async function stopAndStart(run: ScaleRun): Promise<void> {
  const { mirror } = run;
  const { n1, n2 } = mirror;
  await run.phase("stop of both", () => n1.holdfast(["stop", "db", "--all"], { timeoutMs: PATIENCE_MS }));
  const began = performance.now();
  await n1.holdfast(["start", "db", "--all"]);
  run.bound("served again after a clean stop", (await served(mirror, n1)) - began, SERVED_AGAIN_MS, "ms");
  const endProbe = await run.startProbe(n1);
  await run.phase("SECOND in after a clean stop", () => bothSettled(mirror));
  await endProbe();
  run.memory(n1, n2);
}

/** PRIM's power goes in a walk with writes; the other node takes over, and the dead one comes back. */
async function cutPrim(run: ScaleRun): Promise<void> {
  const { mirror } = run;
  const { n1, n2 } = mirror;
  await n1.exec(["bash", "-c", `for i in $(seq 500); do echo x > ${mirror.data}/dirs/d0/cut-$i; done`]);
  await run.phase("power cut of PRIM until SECOND serves", async () => {
    await n1.powerCut();
    await n2.holdfast(["wait", "db", "ALONE", "--timeout", PATIENCE], { timeoutMs: PATIENCE_MS });
    await served(mirror, n2);
  });
  run.memory(n2);
  const endProbe = await run.startProbe(n2);
  await n1.powerOn();
  await run.phase("the dead node is back as SECOND", async () => {
    await n1.startDaemon();
    await n2.holdfast(["wait", "db", "PRIM", "--timeout", PATIENCE], { timeoutMs: PATIENCE_MS });
    await n1.holdfast(["wait", "db", "SECOND", "--timeout", PATIENCE], { timeoutMs: PATIENCE_MS });
  });
  run.memory(n1, n2);
  await run.phase("verify", () => verifyEqual(n2, PATIENCE_MS));
  await endProbe();
}
