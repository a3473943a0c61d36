/**
 * The first copy of a large tree, interrupted again and again: the link is cut, SECOND loses its power, PRIM's replication process is
 * killed. Each time it goes on where the last durable point left it, and both copies are equal in the end.
 */
import { join } from "node:path";
import type { StatusDocument } from "../../core/daemon/engine.ts";
import type { ReintegrationProgress } from "../../core/filesystem/control.ts";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import { until } from "../cluster/testbed.ts";
import { backingTreesEqual } from "./backing_trees.ts";
import { lastWords, together } from "./power_cuts.ts";
import type { Scale } from "./scale.ts";

const SCRIPT = join(import.meta.dir, "scale_tree.ts");
/** Of each file of the tree. */
const FILE_BYTES = 100;
/** The bandwidth of the copy is such that all of it would take so long, s. */
const COPY_SECONDS = 100;
/** How long each stretch of it lasts, once its names are there, ms. */
const STRETCH_MS = 20_000;
/** What was copied this long before an interruption, ms, is not copied again: two durable points and their syncs. */
const UNSETTLED_MS = 15_000;
/** Part of all objects that may be copied again besides: directories, whose names come first. */
const BESIDES = 0.01;
const PATIENCE_MS = 600_000;

type Progress = Pick<ReintegrationProgress, "phase" | "filesDone" | "filesTotal" | "startedAt">;

/** One stretch of the copy, from one interruption to the next: objects. */
interface Stretch {
  startedAt: number;
  total: number;
  done: number;
  /** What the next one need not copy again. */
  settled: number;
}

async function progressOf({ n1 }: Mirror): Promise<Progress | null> {
  const { stdout, status } = await n1.holdfast(["status", "--json"], { mayFail: true });
  if (status !== 0) return null;
  return (JSON.parse(stdout) as StatusDocument).modules["db"]?.nodes["n1"]?.reintegration ?? null;
}

/** Watches the copy that began after `before` for a while. */
async function watch(mirror: Mirror, before: Stretch | null): Promise<Stretch> {
  const seen: (Progress & { at: number })[] = [];
  await until(
    "a stretch of the copy is over",
    async () => {
      const progress = await progressOf(mirror);
      if (progress === null || progress.startedAt === before?.startedAt || progress.phase === "names")
        return false;
      seen.push({ ...progress, at: performance.now() });
      return seen.at(-1)!.at - seen[0]!.at >= STRETCH_MS;
    },
    PATIENCE_MS,
    200,
  );
  const { startedAt, filesTotal: total, filesDone: done, at } = seen.at(-1)!;
  const settled = seen.findLast((earlier) => earlier.at <= at - UNSETTLED_MS)!.filesDone;
  return { startedAt, total, done, settled };
}

/** What interrupts, and lets it go on. */
const interruptions: Record<string, (mirror: Mirror) => Promise<void>> = {
  "the link is cut": async ({ bed, n2 }) => {
    await bed.isolate(n2);
    await Bun.sleep(3000);
    await bed.heal();
  },
  "SECOND loses its power": async ({ n2 }) => {
    await n2.powerCut();
    await n2.powerOn();
    await n2.startDaemon();
  },
  "PRIM's replication process is killed": async ({ n1 }) => {
    const found = n1.processes().find(({ command }) => command.includes("__replication"));
    if (found === undefined) throw new Error("n1 runs no replication process");
    process.kill(found.pid, "SIGKILL");
  },
};

async function interrupted(mirror: Mirror, files: number, tell: (line: string) => void): Promise<string> {
  const { n1, n2 } = mirror;
  await n1.exec([process.execPath, SCRIPT, "make", mirror.data, `${files}`], { timeoutMs: PATIENCE_MS });
  await n1.holdfast(["start", "db"]);
  await n1.holdfast(["prim", "db"]);
  await n1.holdfast(["wait", "db", "ALONE", "--timeout", "60s"]);
  await n2.holdfast(["start", "db"]);
  let before: Stretch | null = null;
  let copied = 0;
  for (const [what, interrupt] of Object.entries(interruptions)) {
    before = judged(await watch(mirror, before), before, files);
    copied += before.done;
    tell(`${before.done} of ${before.total} objects copied, ${before.settled} of them settled; ${what}`);
    await interrupt(mirror);
  }
  const last = judged(await watch(mirror, before), before, files);
  await together(mirror, n1, `${PATIENCE_MS / 1000}s`);
  copied += last.total;
  tell(`${last.total} objects were left, and copied`);
  return `${files} files, ${Object.keys(interruptions).length} interruptions: ${copied} objects copied in all; ${await backingTreesEqual(mirror, n1)}`;
}

/** Throws when this stretch has more to copy than the one before it left. */
function judged(stretch: Stretch, before: Stretch | null, files: number): Stretch {
  const most = before === null ? Number.POSITIVE_INFINITY : before.total - before.settled + files * BESIDES;
  if (stretch.total > most)
    throw new Error(`${stretch.total} objects are copied, where ${Math.round(most)} were left at most`);
  return stretch;
}

/** Runs it; throws when more is copied again than may be, or the copies differ. Returns a line. */
export async function interruptAtScale({ files, tell }: Scale): Promise<string> {
  const bits = Math.ceil((files * FILE_BYTES * 8) / COPY_SECONDS);
  const mirror = await createMirror({
    diskMiB: 2048 + Math.ceil(files / 128),
    inodes: Math.ceil(files * 1.2) + 10_000,
    yaml: `replicate:\n  bandwidth: ${Math.ceil(bits / 1000)}kbit/s\n  paths:\n    - path: DATA\n`,
  });
  await using _bed = mirror.bed;
  try {
    return await interrupted(mirror, files, tell);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${lastWords(mirror)}`);
  }
}
