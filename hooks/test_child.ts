/**
 * `__test FILE RESULTS`: runs one test file of a module. Each test's outcome is a line of JSON in the file RESULTS, so that what
 * a test prints cannot be taken for one, and what was done before a crash is known.
 */
import { appendFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { type Registered, type RegisteredTest, type TestContext, takeTests } from "./deno/test.ts";
import { describeError, installRuntime } from "./runtime.ts";

/** What the child writes. */
export type TestEvent =
  | { event: "begins"; name: string }
  | { event: "ended"; name: string; status: "passed" | "failed" | "ignored"; ms: number; error: string }
  | { event: "broken"; error: string }
  | { event: "done"; count: number };

/** Without a limit of its own, a test is ended by its file's. */
async function within(work: Promise<unknown>, limitMs: number | null): Promise<void> {
  if (limitMs === null) return void (await work);
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`ran over its time limit of ${limitMs} ms`)), limitMs);
  await Promise.race([work, promise]).finally(() => clearTimeout(timer));
}

/** A context whose steps count: one that fails makes the test fail, and the steps after it still run. */
function contextOf(name: string, origin: string, failures: string[]): TestContext {
  const context: TestContext = {
    name,
    origin,
    async step(first, body) {
      const title = typeof first === "string" ? first : (first.name ?? "step");
      const options = typeof first === "object" ? first : null;
      if (options?.ignore) return false;
      const work = body ?? (typeof first === "function" ? first : options?.fn);
      const before = failures.length;
      try {
        await work?.({ ...contextOf(title, origin, failures), parent: context });
      } catch (error) {
        failures.push(`step "${title}": ${describeError(error)}`);
      }
      return failures.length === before;
    },
  };
  return context;
}

/** One attempt: "" or what went wrong. */
async function attempt(test: RegisteredTest, origin: string, around: Registered["around"]): Promise<string> {
  const failures: string[] = [];
  const guarded = async (work: () => unknown) => {
    try {
      await work();
    } catch (error) {
      failures.push(describeError(error));
    }
  };
  for (const before of around.beforeEach) await guarded(before);
  if (failures.length === 0)
    await guarded(async () => {
      const body = async () => await test.fn(contextOf(test.name, origin, failures));
      await within(body(), test.timeoutMs);
    });
  for (const after of [...around.afterEach].reverse()) await guarded(after);
  return failures.join("\n");
}

async function outcome(test: RegisteredTest, origin: string, around: Registered["around"]): Promise<string> {
  let error = "";
  for (let repeat = 0; repeat <= test.repeats && error === ""; repeat++)
    for (let left = test.retry; left >= 0; left--) {
      error = await attempt(test, origin, around);
      if (error === "") break;
    }
  return error;
}

async function runTests(file: string, filter: string, report: (event: TestEvent) => void): Promise<void> {
  const origin = pathToFileURL(file).href;
  const { tests, around } = takeTests();
  const chosen = tests.filter(({ name }) => name.includes(filter));
  const only = chosen.some((test) => test.only);
  for (const before of around.beforeAll) await before();
  for (const test of chosen) {
    const { name } = test;
    if (test.ignore || (only && !test.only)) {
      report({ event: "ended", name, status: "ignored", ms: 0, error: "" });
      continue;
    }
    report({ event: "begins", name });
    const began = performance.now();
    const error = await outcome(test, origin, around);
    const ms = Math.round(performance.now() - began);
    report({ event: "ended", name, status: error === "" ? "passed" : "failed", ms, error });
  }
  for (const after of [...around.afterAll].reverse()) await after();
  report({ event: "done", count: tests.length });
}

/** Runs the file; the process ends with 0, or 1 when something outside of a test went wrong. Call nothing after it. */
export function runTestChild(file: string, results: string, filter: string): void {
  const report = (event: TestEvent) => appendFileSync(results, `${JSON.stringify(event)}\n`);
  const broken = (error: unknown): never => {
    report({ event: "broken", error: describeError(error) });
    process.exit(1);
  };
  process.on("uncaughtException", broken);
  process.on("unhandledRejection", broken);
  process.on("beforeExit", () => broken(new Error("waits for something that cannot happen any more")));
  const work = async () => {
    installRuntime(file, []);
    await import(file);
    await runTests(file, filter, report);
  };
  // Not awaited: a main module that still waits would keep the process from ending.
  work().then(() => process.exit(0), broken);
}
