/**
 * Runs a module's own tests: every `*.test.ts` of its folder, each file in a process of its own, with a time limit.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { selfCommand } from "../core/platform/self.ts";
import { hookEnvironment } from "../hooks/environment.ts";
import { killFamily, RUN_MARK } from "../hooks/process_tree.ts";
import type { TestEvent } from "../hooks/test_child.ts";
import { formatDuration } from "./units.ts";

/** One test, or what went wrong outside of any (then `name` is the file's). */
export interface TestResult {
  /** Path below the module's folder. */
  file: string;
  name: string;
  status: "passed" | "failed" | "ignored";
  ms: number;
  /** "" or what went wrong, with file:line:column. */
  error: string;
}

/** What one file gave. */
export interface FileResult {
  file: string;
  results: TestResult[];
  /** What its tests printed, both streams as they came. */
  output: string;
}

/** Kept of what a file prints, characters. */
const KEPT_OUTPUT = 100_000;

/** The module's test files, by their path below its folder; hidden folders and vendored packages are not searched. */
export function testFiles(directory: string, below = ""): string[] {
  return readdirSync(join(directory, below), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      if (entry.name.startsWith(".") || entry.name === "node_modules") return [];
      const path = join(below, entry.name);
      if (entry.isDirectory()) return testFiles(directory, path);
      return entry.isFile() && /\.test\.m?ts$/.test(entry.name) ? [path] : [];
    });
}

/** Runs the process to its end or its limit. */
async function inProcess(
  command: readonly string[],
  directory: string,
  limitMs: number,
): Promise<{ output: string; ending: string }> {
  const mark = randomUUID();
  const child = spawn(command[0]!, command.slice(1), {
    cwd: directory,
    env: hookEnvironment({ HOME: process.env["HOME"] ?? "/", [RUN_MARK]: mark }),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT);
    });
  let ending = "";
  const timer = setTimeout(() => {
    ending = `ran over its time limit of ${formatDuration(limitMs)} and was killed`;
    killFamily(child.pid!, mark, true);
  }, limitMs);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.once("error", reject);
  child.once("exit", (code, signal) => {
    if (ending === "" && signal !== null) ending = `was killed by ${signal}`;
    else if (ending === "") ending = `ended by itself with exit status ${code}`;
    // What is in the pipes comes before their end, but a process left behind may hold them open.
    setTimeout(resolve, 50);
  });
  child.once("close", () => resolve());
  await promise.finally(() => clearTimeout(timer));
  killFamily(child.pid!, mark, false);
  return { output, ending };
}

/** Runs one file of `testFiles`. A file that registers no test, dies, or hangs has failed. */
export async function runTestFile(
  directory: string,
  file: string,
  options: { limitMs: number; filter: string },
): Promise<FileResult> {
  const scratch = mkdtempSync(join(tmpdir(), "holdfast-test-"));
  const events = join(scratch, "events");
  try {
    const command = [...selfCommand("__test"), join(directory, file), events, options.filter];
    const { output, ending } = await inProcess(command, directory, options.limitMs);
    const lines = existsSync(events) ? readFileSync(events, "utf8").trim().split("\n") : [];
    const told = lines.filter((line) => line !== "").map((line) => JSON.parse(line) as TestEvent);
    return { file, results: judged(directory, file, told, ending), output };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function judged(directory: string, file: string, events: readonly TestEvent[], ending: string): TestResult[] {
  const results: TestResult[] = [];
  const failed = (name: string, error: string) =>
    results.push({ file, name, status: "failed", ms: 0, error: shortened(directory, error) });
  let running: string | null = null;
  let whole = false;
  let broken = "";
  for (const event of events) {
    if (event.event === "begins") running = event.name;
    else if (event.event === "broken") broken = event.error;
    else if (event.event === "done") {
      whole = true;
      if (event.count === 0) failed(file, 'registers no test: write Deno.test("name", async () => { … })');
    } else {
      running = null;
      const { name, status, ms, error } = event;
      results.push({ file, name, status, ms, error: shortened(directory, error) });
    }
  }
  if (!whole) failed(running ?? file, broken === "" ? ending : broken);
  return results;
}

/** Paths below the module's folder, as its author knows them. */
function shortened(directory: string, text: string): string {
  return text.replaceAll(`${directory}/`, "");
}
