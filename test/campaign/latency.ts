/**
 * The slowest moments: 4 KiB written and fsynced again and again while others read, write, make and remove files in the same directory and SECOND goes and
 * comes back, and beside it the same on a bare directory of a disk of its own. No stop of the replicated directory may be more than 50 ms longer than the
 * longest of the bare one. The daemon is asked for its status meanwhile, and beside it a process that does nothing else.
 *
 * SECOND leaves in good order: one that dies without a word is waited for, as long as the heartbeat's and the peer's time-outs say.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import type { Node } from "../cluster/testbed.ts";
import type { Samples } from "./latency_probe.ts";
import { randomFrom } from "./random.ts";

const DISK_MIB = 4096;
/** What a stop may be longer than the bare directory's longest, ms. */
const LIMIT_MS = 50;
/** A reintegration shall go on for a while. */
const BANDWIDTH = "200Mbit/s";
const KINDS = ["stream", "random", "append", "create", "remove", "read"];
/** So many of the longest stops are told, with what the nodes logged around them. */
const TOLD = 5;
const AROUND_MS = 300;

/** What to do, and for how long. */
export interface LatencyRun {
  minutes: number;
  /** Directories that the nodes' disks lie in, in turn; the bare directory's lies in the first. */
  images: readonly string[];
  /** A directory that gets the nodes' logs at the end; null: they go with the nodes. */
  logs: string | null;
  seed: number;
  tell(line: string): void;
}

/** What SECOND did, and since when (ms since 1970). */
interface Phase {
  at: number;
  what: string;
}

const program = (name: string): string => join(import.meta.dir, name);
const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
const sortedOf = ({ took }: Samples): number[] => took.toSorted((a, b) => a - b);
const timeOf = (at: number): string => new Date(at).toISOString().slice(11, 23);

/** A bare directory on n1, on an image of its own beside the nodes'. */
async function bareDirectory({ n1, bed }: Mirror): Promise<string> {
  const image = `${bed.imageDirs[0]}/bare.img`;
  const directory = "/run/bare";
  const script = `truncate -s ${DISK_MIB}M ${image}; mkfs.ext4 -q -m 0 -F ${image}; mkdir ${directory}; mount -o loop ${image} ${directory}`;
  await n1.exec(["bash", "-ec", script]);
  return directory;
}

/** SECOND leaves and returns, with what changed meanwhile or with everything, until the time is over. */
async function unsettle({
  mirror,
  random,
  until,
  tell,
}: {
  mirror: Mirror;
  random: () => number;
  until: number;
  tell(line: string): void;
}): Promise<Phase[]> {
  const { n1, n2 } = mirror;
  const phases: Phase[] = [];
  const begins = (what: string): void => {
    phases.push({ at: Date.now(), what });
  };
  for (let turn = 1; Date.now() < until; turn++) {
    begins("SECOND in sync");
    await Bun.sleep(2000 + random() * 4000);
    begins("SECOND leaves");
    await n2.holdfast(["stop", "db"]);
    await n1.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
    begins("ALONE");
    await Bun.sleep(1000 + random() * 4000);
    const full = turn % 3 === 0;
    begins(full ? "SECOND returns, full copy" : "SECOND returns");
    const began = performance.now();
    await n2.holdfast(["second", "db", ...(full ? ["--full"] : [])]);
    await mirror.settled("PRIM", "SECOND", "180s");
    tell(`return ${turn}${full ? ", a full copy" : ""}: ${Math.round(performance.now() - began)} ms`);
  }
  begins("the end");
  return phases;
}

/** Runs one probe to its end. */
async function probe(node: Node, what: string, place: string, seconds: number): Promise<Samples> {
  const argv = [process.execPath, program("latency_probe.ts"), what, place, `${seconds}`];
  return JSON.parse((await node.exec(argv, { timeoutMs: seconds * 1000 + 120_000 })).stdout) as Samples;
}

/** All that a node's module has logged. */
const logOf = (node: Node): string => readFileSync(node.on.path(`${node.varDir}/log/db/module.log`), "utf8");

/** The lines that a node's module logged between two moments. */
function logBetween(node: Node, from: number, to: number): string[] {
  return logOf(node)
    .split("\n")
    .filter((line) => {
      const at = Date.parse(/\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(line)?.[0] ?? "");
      return at >= from && at <= to;
    });
}

/** A stop, with what the nodes did then. */
function story(mirror: Mirror, at: number, took: number, phases: readonly Phase[]): string {
  const phase = phases.findLast((one) => one.at <= at);
  const since = phase === undefined ? 0 : at - phase.at;
  const lines = [mirror.n1, mirror.n2].flatMap((node) =>
    logBetween(node, at - AROUND_MS, at + took + AROUND_MS).map((line) => `    ${node.name}: ${line}`),
  );
  return [
    `  ${timeOf(at)} ${took.toFixed(1)} ms; ${phase?.what ?? "before all"} for ${since} ms`,
    ...lines,
  ].join("\n");
}

function longest({ at, took }: Samples, count: number): { at: number; took: number }[] {
  return at
    .map((time, i) => ({ at: time, took: took[i]! }))
    .toSorted((a, b) => b.took - a.took)
    .slice(0, count);
}

/** Everything as a table. */
function table(rows: readonly (readonly [string, Samples])[]): string {
  const head = ["ms", "p50", "p99", "p99.9", "worst", "samples"];
  const cells = rows.map(([name, samples]) => {
    const sorted = sortedOf(samples);
    const figures = [0.5, 0.99, 0.999, 1].map((part) => quantile(sorted, part).toFixed(2));
    return [name, ...figures, `${sorted.length}`];
  });
  const widths = head.map((title, at) => Math.max(title.length, ...cells.map((row) => row[at]!.length)));
  return [head, ...cells]
    .map((row) =>
      row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join("  "),
    )
    .join("\n");
}

/** Runs it. Returns the figures; throws them when a stop was too long. */
export async function measureLatency({ minutes, images, logs, seed, tell }: LatencyRun): Promise<string> {
  const random = randomFrom(seed);
  const seconds = minutes * 60;
  const yaml = `replicate:\n  bandwidth: ${BANDWIDTH}\n  paths:\n    - path: DATA\n`;
  const mirror = await createMirror({ diskMiB: DISK_MIB, images, yaml });
  await using bed = mirror.bed;
  await mirror.start();
  const { n1, n2 } = mirror;
  const bare = await bareDirectory(mirror);
  const log = `${bed.dir}/load.log`;
  const loads = await Promise.all(
    [bare, mirror.data].flatMap((directory) =>
      KINDS.map((kind) =>
        n1.spawn(
          [process.execPath, program("latency_load.ts"), kind, directory, `${seconds + 10}`, `${seed}`],
          { log },
        ),
      ),
    ),
  );
  await n1.spawn([process.execPath, program("latency_probe.ts"), "listen", "/run/idle.sock"], { log });
  // What each kind prepares is no part of the load.
  await Bun.sleep(5000);
  tell(`${minutes} minutes, seed ${seed}, ${KINDS.length} kinds of load in each directory`);
  const socket = `${n1.varDir}/run/api.sock`;
  const [bareSync, ourSync, daemon, other, idle, phases] = await Promise.all([
    probe(n1, "sync", `${bare}/probe`, seconds),
    probe(n1, "sync", `${mirror.data}/probe`, seconds),
    probe(n1, "answer", socket, seconds),
    probe(n2, "answer", socket, seconds),
    probe(n1, "answer", "/run/idle.sock", seconds),
    unsettle({ mirror, random, until: Date.now() + seconds * 1000 - 5000, tell }),
  ]);
  if (logs !== null) {
    mkdirSync(logs, { recursive: true });
    for (const node of [n1, n2]) writeFileSync(join(logs, `${node.name}.log`), logOf(node));
    writeFileSync(
      join(logs, "second.log"),
      phases.map(({ at, what }) => `${new Date(at).toISOString()} ${what}\n`).join(""),
    );
  }
  const statuses = await Promise.all(loads.map(({ exited }) => exited));
  if (statuses.some((status) => status !== 0))
    throw new Error(`a load failed: ${statuses.join()}\n${readFileSync(log, "utf8")}`);
  const figures = table([
    ["write+fsync, bare", bareSync],
    ["write+fsync, replicated", ourSync],
    ["status of PRIM's daemon", daemon],
    ["status of SECOND's daemon", other],
    ["answer of an idle process", idle],
  ]);
  const told = (name: string, samples: Samples): string =>
    `longest, ${name}:\n${longest(samples, TOLD)
      .map(({ at, took }) => story(mirror, at, took, phases))
      .join("\n")}`;
  const said = [
    figures,
    told("replicated", ourSync),
    `longest, bare:\n${longest(bareSync, TOLD)
      .map(({ at, took }) => `  ${timeOf(at)} ${took.toFixed(1)} ms`)
      .join("\n")}`,
    told("PRIM's daemon", daemon),
  ].join("\n");
  const [own, others] = [longest(ourSync, 1)[0]!, longest(bareSync, 1)[0]!];
  if (own.took > others.took + LIMIT_MS)
    throw new Error(
      `a stop of ${own.took.toFixed(1)} ms, more than ${LIMIT_MS} ms longer than the bare directory's worst\n${said}`,
    );
  return said;
}
