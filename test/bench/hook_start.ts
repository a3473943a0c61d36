/**
 * What a hook costs before it does anything: from the decision to run it to its first line, as the daemon's runner starts it.
 *
 * Both processes read the same clock, in fractions of a millisecond. The child is the built binary; its order, its output in a file and its
 * environment are the runner's.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HookCall } from "../../hooks/context.ts";
import { hookEnvironment } from "../../hooks/environment.ts";
import { limitsOf } from "../../hooks/limits.ts";
import { median } from "./report.ts";

const RUNS = 60;
const WARM_UP = 5;

/** One kind of hook, and its figures in milliseconds. */
export interface HookFigures {
  hook: string;
  median: number;
  p95: number;
  worst: number;
}

const now = (): number => performance.timeOrigin + performance.now();
const stamp = "console.log(String(performance.timeOrigin + performance.now()));";
const HOOKS = [
  { hook: "TypeScript, nothing imported", file: "bare.ts", source: `${stamp} export default () => {};` },
  {
    hook: "TypeScript with the SDK, an import map and a module of its own",
    file: "whole.ts",
    source: `import { $, defineHook } from "holdfast"; import { one } from "@lib/one.ts"; ${stamp}\nexport default defineHook(() => { one($); });`,
  },
  { hook: "the same, with permissions", file: "limited.ts", limited: true },
] as const;

function context(dir: string): HookCall {
  const names = { module: "db", node: "n1", kind: "mirror", hook: "start_prim", action: "start" } as const;
  const call = { from: "WAIT", to: "ALONE", cause: "a measurement", force: false, attempt: 1 };
  return { ...names, ...call, vars: {}, dir, peers: [] };
}

/** Milliseconds from now to the first line of the hook. */
async function once(binary: string, file: string, dir: string, limited: boolean): Promise<number> {
  const output = join(dir, "output");
  const decided = now();
  const fd = openSync(output, "w");
  const permissions = { read: ["/srv"], write: [dir], net: ["127.0.0.1:5432"], run: ["true"], env: [] };
  const order = {
    file,
    kind: "typescript",
    context: context(dir),
    timeoutMs: 60_000,
    cgroup: null,
    limits: limited ? limitsOf(permissions, dir) : null,
  };
  const child = Bun.spawn([binary, "__hook"], {
    cwd: dir,
    env: hookEnvironment({}),
    stdin: Buffer.from(JSON.stringify(order)),
    stdout: fd,
    stderr: fd,
    detached: true,
  });
  closeSync(fd);
  const status = await child.exited;
  const said = readFileSync(output, "utf8").trim();
  if (status !== 0 || Number.isNaN(Number(said))) throw new Error(`the hook failed: ${said}`);
  return Number(said) - decided;
}

/** Runs every kind of hook in turn, so that what else the machine does meets all of them. */
export async function measureHookStart(binary: string): Promise<HookFigures[]> {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-hook-start-"));
  try {
    mkdirSync(join(dir, "lib"));
    writeFileSync(join(dir, "deno.json"), '{ "imports": { "@lib/": "./lib/" } }');
    writeFileSync(join(dir, "lib/one.ts"), "export const one = (x: unknown): unknown => x;");
    for (const { file, ...rest } of HOOKS) {
      const source = "source" in rest ? rest.source : HOOKS[1].source;
      writeFileSync(join(dir, file), source);
    }
    const times = HOOKS.map((): number[] => []);
    for (let run = -WARM_UP; run < RUNS; run++)
      for (const [i, { file, ...rest }] of HOOKS.entries()) {
        const ms = await once(binary, join(dir, file), dir, "limited" in rest);
        if (run >= 0) times[i]!.push(ms);
      }
    return HOOKS.map(({ hook }, i) => {
      const sorted = times[i]!.toSorted((a, b) => a - b);
      return {
        hook,
        median: median(sorted),
        p95: sorted[Math.floor(sorted.length * 0.95)]!,
        worst: sorted.at(-1)!,
      };
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** The figures for people. */
export function hookStartInWords(figures: readonly HookFigures[]): string {
  return figures
    .map(
      ({ hook, median: middle, p95, worst }) =>
        `${hook}: median ${middle.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`,
    )
    .join("\n");
}
