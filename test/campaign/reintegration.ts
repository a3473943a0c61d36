/**
 * What reintegration moves, on the wire: a part of all 4 KiB zones rewritten, a big file renamed and a directory deleted while the
 * other node was away, after a clean stop and after a power cut of PRIM in full write load.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StatusDocument } from "../../core/daemon/engine.ts";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import type { MachineProcess, Node } from "../cluster/testbed.ts";
import { backingTreesEqual } from "./backing_trees.ts";
import { lastWords, together } from "./power_cuts.ts";
import { ZONE } from "./zoned_tree.ts";

/** What may be moved to the node that returns, as a multiple of the bytes of the zones that changed. */
const BOUND = 1.1;
/** What the activity log may cover besides, after a power cut, bytes. */
const ACTIVITY_LOG = 1 << 30;
const LOAD_MS = 15_000;
const PATIENCE = "300s";
const USUAL_SEGMENTS = 65_535;
const LANS = ["lan", "repl"];

/** What to do. */
export interface ReintegrationRun {
  /** Size of the tree, bytes. */
  bytes: number;
  files: number;
  /** Part of all zones that is rewritten, 0 to 1. */
  part: number;
  seed: number;
  tell(line: string): void;
}

const mebibytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(2)} MiB`;

/** Both directions, with the headers of Ethernet, IP and TCP. */
interface Wire {
  out: number;
  back: number;
}

/** The counters of a node's interfaces. */
async function wire(node: Node): Promise<Wire> {
  const sum = { out: 0, back: 0 };
  for (const lan of LANS) {
    const { stdout } = await node.exec(["ip", "-s", "-j", "link", "show", "dev", lan]);
    const [link] = JSON.parse(stdout) as { stats64: Record<"rx" | "tx", { bytes: number }> }[];
    sum.out += link!.stats64.tx.bytes;
    sum.back += link!.stats64.rx.bytes;
  }
  return sum;
}

/**
 * How many segments TCP hands over at once. 1: it cuts them itself, as a network card would, and the counters see real frames, each with
 * its headers. Only for what is slow enough for a virtual link's queue, which would drop frames, and count them again.
 */
async function segmentsAtOnce(node: Node, count: number): Promise<void> {
  for (const lan of LANS) await node.exec(["ip", "link", "set", "dev", lan, "gso_max_segs", String(count)]);
}

/** The process that moves the data. */
function replicator(node: Node): number {
  const found = node.processes().find(({ command }) => command.includes("__replication"));
  if (!found) throw new Error(`${node.name} runs no replication process`);
  return found.pid;
}

/** Most memory that a process has used since it began or since `forgetPeak`, bytes. */
function peak(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** A long command of the tree's program on a node. */
async function tree(node: Node, ...args: (string | number)[]): Promise<string> {
  const argv = [process.execPath, join(import.meta.dir, "zoned_tree.ts"), ...args.map(String)];
  return (await node.exec(argv, { timeoutMs: 600_000 })).stdout.trim();
}

/** What happens on the node that is alone. Returns bytes of zones that changed. */
async function changeAlone(
  { data }: Mirror,
  alone: Node,
  run: ReintegrationRun,
  change: string,
): Promise<number> {
  await alone.exec(["bash", "-ec", change], { cwd: data });
  return Number(await tree(alone, "rewrite", data, run.part, run.seed)) * ZONE;
}

/** What `status` tells while it lasts: bytes moved, as the product counts them. */
async function lastProgress(alone: Node, ends: Promise<void>): Promise<number> {
  let last = 0;
  let over = false;
  void ends.finally(() => (over = true)).catch(() => undefined);
  while (!over) {
    const { modules } = await alone.json<StatusDocument>(["status"]);
    last = modules["db"]?.nodes[alone.name]?.reintegration?.bytesDone ?? last;
    await Bun.sleep(100);
  }
  await ends;
  return last;
}

/** What came of one reintegration. */
interface Moved {
  wire: Wire;
  line: string;
}

/** Lets the node come back by `begin`; measures until it follows. */
async function comesBack(mirror: Mirror, alone: Node, begin: () => Promise<unknown>): Promise<Moved> {
  const away = alone === mirror.n1 ? mirror.n2 : mirror.n1;
  forgetPeak(replicator(alone));
  const before = await wire(alone);
  const started = performance.now();
  await begin();
  const told = await lastProgress(alone, together(mirror, alone, PATIENCE));
  const seconds = (performance.now() - started) / 1000;
  const after = await wire(alone);
  const moved = { out: after.out - before.out, back: after.back - before.back };
  const log = await alone.holdfast(["log", "db", "--lines", "2000"]);
  const counted = log.stdout.match(/Reintegration ended.*/g)?.at(-1);
  return {
    wire: moved,
    line: [
      `on the wire ${mebibytes(moved.out)} to ${away.name}, ${mebibytes(moved.back)} back`,
      `status told ${mebibytes(told)} at last, the log "${counted}"`,
      `${seconds.toFixed(1)} s until PRIM and SECOND`,
      `peak memory ${mebibytes(peak(replicator(alone)))} on ${alone.name}, ${mebibytes(peak(replicator(away)))} on ${away.name}`,
    ].join("; "),
  };
}

function judge(what: string, changed: number, { wire: { out, back }, line }: Moved, besides: number): string {
  const ratio = `ratio ${(out / changed).toFixed(3)}, both directions ${((out + back) / changed).toFixed(3)}`;
  const words = `${what}: ${mebibytes(changed)} in zones changed; ${line}; ${ratio}`;
  if (out > BOUND * changed + besides)
    throw new Error(`${words}: more than ${BOUND} times${besides > 0 ? ` and ${mebibytes(besides)}` : ""}`);
  return words;
}

/** SECOND is stopped, and comes back. */
async function afterStop(mirror: Mirror, run: ReintegrationRun): Promise<string> {
  const { n1, n2 } = mirror;
  await n2.holdfast(["stop", "db"]);
  await n1.holdfast(["wait", "db", "ALONE", "--timeout", "20s"]);
  const changed = await changeAlone(mirror, n1, run, "mv big d1/renamed; rm -r d2");
  for (const node of [n1, n2]) await segmentsAtOnce(node, 1);
  const moved = await comesBack(mirror, n1, () => n2.holdfast(["start", "db"]));
  for (const node of [n1, n2]) await segmentsAtOnce(node, USUAL_SEGMENTS);
  return judge("after a stop of SECOND", changed, moved, 0);
}

/** PRIM loses its power while two programs write as fast as they can, and comes back. */
async function afterPowerCut(mirror: Mirror, run: ReintegrationRun): Promise<string> {
  const { n1, n2, data } = mirror;
  const program = [process.execPath, join(import.meta.dir, "zoned_tree.ts"), "load", data];
  const writers: MachineProcess[] = [];
  for (const writer of [1, 2]) writers.push(await n1.spawn([...program, String(run.seed + writer)]));
  const before = await wire(n1);
  await Bun.sleep(LOAD_MS);
  const { out } = await wire(n1);
  run.tell(`the load made ${mebibytes((out - before.out) / (LOAD_MS / 1000))}/s on the wire`);
  await n1.powerCut();
  await Promise.all(writers.map(({ exited }) => exited));
  await n2.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
  const changed = await changeAlone(mirror, n2, run, "mv d1/renamed big; rm -r d3");
  await n1.powerOn();
  const moved = await comesBack(mirror, n2, () => n1.startDaemon());
  return judge("after a power cut of PRIM in full write load", changed, moved, ACTIVITY_LOG);
}

/** Runs it; throws when more is moved than may be, or the replicas are not equal. Returns lines of figures. */
export async function measureReintegration(run: ReintegrationRun): Promise<string> {
  const { bytes, files, tell } = run;
  const mirror = await createMirror({ diskMiB: Math.ceil((bytes / 1024 / 1024) * 1.25) + 2048 });
  await using _bed = mirror.bed;
  const { n1, n2, data } = mirror;
  try {
    await tree(n1, "make", data, bytes, files, run.seed);
    tell(`${mebibytes(bytes)} in ${files} files, seed ${run.seed}`);
    const started = performance.now();
    await mirror.start(PATIENCE);
    tell(`first copy: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    const stop = await afterStop(mirror, run);
    tell(stop);
    tell(await backingTreesEqual(mirror, n1));
    const cut = await afterPowerCut(mirror, run);
    tell(cut);
    tell(await backingTreesEqual(mirror, n2));
    return `${stop}\n${cut}\nequal each time`;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${lastWords(mirror)}`);
  }
}
