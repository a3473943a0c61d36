/**
 * How long clients wait: the gap from the last answer of the old primary to the first of the new one.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseDuration } from "../../modules/units.ts";
import { createMirror, type Mirror, VIRTUAL_IP } from "../cluster/mirror.ts";
import { type Node, until } from "../cluster/testbed.ts";
import { cutPowerRepeatedly } from "./power_cuts.ts";

const PORT = "8080";
/** A gap that is longer than the timeout by this wants an explanation, ms. */
const EXPLAINED_MS = 1500;
const application = readFileSync(join(import.meta.dir, "gap_application.ts"), "utf8");

/** The module: an application that starts at once and needs no stop. */
const files = {
  "app.ts": application,
  "hooks/start_prim.ts": `import { spawn } from "node:child_process";
import { defineHook } from "holdfast";
export default defineHook(({ dir, node }) => {
  spawn(process.execPath, ["run", dir + "/app.ts", "${VIRTUAL_IP}", "${PORT}", node], { detached: true, stdio: "ignore" }).unref();
});
`,
  "hooks/stop_prim.ts": `import { defineHook } from "holdfast";
export default defineHook(() => undefined);
`,
};

/** What to measure. */
export interface GapRuns {
  runs: number;
  /** Heartbeat timeout, such as 1s. */
  timeout: string;
  replicate: boolean;
  seed: number;
  tell(line: string): void;
}

/** Gaps in ms, in the order of the runs. */
export interface Gaps {
  cuts: number[];
  swaps: number[];
}

/** What the client told of one change of node. */
interface Gap {
  gap: number;
  from: string;
  to: string;
}

/** Starts the client on the third machine; every change of node that it sees goes to the list. */
async function startClient(mirror: Mirror): Promise<Gap[]> {
  const seen: Gap[] = [];
  const client = await mirror.host.spawn([
    process.execPath,
    join(import.meta.dir, "gap_client.ts"),
    VIRTUAL_IP,
    PORT,
  ]);
  void (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of client.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) seen.push(JSON.parse(line) as Gap);
    }
  })();
  return seen;
}

/** Waits until the client has been answered by this node; returns how long it went without an answer, ms. */
async function answeredBy(seen: Gap[], node: Node): Promise<number> {
  const found = await until(
    `the client is answered by ${node.name}`,
    () => seen.findLast(({ to, from }) => to === node.name && from !== node.name),
    30_000,
  );
  return found.gap;
}

/** Swaps; returns how long the client was not answered, ms. */
async function swap(prim: Node, second: Node, seen: Gap[]): Promise<number> {
  await prim.holdfast(["swap", "db"]);
  const gap = await answeredBy(seen, second);
  await second.holdfast(["wait", "db", "PRIM", "--timeout", "30s"]);
  await prim.holdfast(["wait", "db", "SECOND", "--timeout", "30s"]);
  seen.length = 0;
  return gap;
}

/** Where the time went. */
async function steps(survivor: Node): Promise<string> {
  const story = await survivor.holdfast(["explain", "db"]);
  return story.stdout.trimEnd().split("\n").slice(-14).join("\n");
}

/** Cuts PRIM's power and swaps, `runs` times each. Throws when the client is not answered again. */
export async function measureGaps(options: GapRuns): Promise<Gaps> {
  const { runs, tell, timeout } = options;
  const mirror = await createMirror({
    replicate: options.replicate,
    heartbeat: `{ interval: 200ms, timeout: ${timeout} }`,
    files,
  });
  await using _bed = mirror.bed;
  await mirror.start();
  const seen = await startClient(mirror);
  await answeredBy(seen, mirror.n1);
  const gaps: Gaps = { cuts: [], swaps: [] };
  await cutPowerRepeatedly({
    mirror,
    cuts: runs,
    seed: options.seed,
    calmMs: [0, 1000],
    tell,
    afterFailover: async (survivor) => {
      const gap = await answeredBy(seen, survivor);
      gaps.cuts.push(gap);
      if (gap > parseDuration(timeout) + EXPLAINED_MS) tell(await steps(survivor));
      seen.length = 0;
      return `gap ${Math.round(gap)} ms`;
    },
    afterReintegration: async (prim) => {
      const second = prim === mirror.n1 ? mirror.n2 : mirror.n1;
      const there = await swap(prim, second, seen);
      const back = await swap(second, prim, seen);
      gaps.swaps.push(there, back);
      return `swaps ${Math.round(there)} and ${Math.round(back)} ms`;
    },
  });
  return gaps;
}

/** Median and worst of some times, in words. */
export function inWords(times: readonly number[]): string {
  const sorted = [...times].sort((one, other) => one - other);
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  return `median ${Math.round(median)} ms, worst ${Math.round(sorted.at(-1) ?? Number.NaN)} ms, ${sorted.length} runs`;
}
