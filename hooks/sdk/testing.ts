/**
 * What a module's tests import from "holdfast/testing": a node that is made up, for hooks and checkers to run against.
 *
 * While one of them runs, commands (`$`), `service`, `secret`, `log` and the waits for ports, addresses and processes are
 * answered by the test. Files are real, and so is what a hook does without the SDK (fetch, node:child_process, Deno.Command).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { CheckerContext, CheckerResult, HookContext } from "./context.ts";
import { setStandIn, standIn } from "./stand_in.ts";

// An import would be loaded by each process of the binary, hooks first of all.
const nodeAssert: typeof import("node:assert/strict") = process.getBuiltinModule("node:assert/strict");

/** How a command ended; what is left out is 0 and "". */
export interface Answer {
  exitCode?: number;
  stdout?: string;
  stderr?: string;
}

/** A text is the standard output of a command that succeeds. */
export type AnswerOf = string | Answer | ((line: string, input: string) => string | Answer);

/** What a made-up node is like. */
export interface FakeNodeOptions {
  /** Default "test", on node "n1", a mirror. */
  module?: string;
  node?: string;
  kind?: HookContext["kind"];
  /** `vars` of module.yaml, as far as the hooks look at them. */
  vars?: Record<string, string>;
  /** The module's directory; default: the current one, which is where tests run. */
  dir?: string;
  peers?: HookContext["peers"];
  /** Command line to answer; `*` stands for anything, and the first that fits counts. A command without an answer fails the test. */
  commands?: Readonly<Record<string, AnswerOf>>;
  /** Services and their status; others are inactive. */
  services?: Readonly<Record<string, string>>;
  secrets?: Readonly<Record<string, string>>;
  /** What waitFor.tcp ("127.0.0.1:5432"), .http (the address) and .process (its pattern's text) wait for in vain; the rest is there. */
  absent?: readonly string[];
}

type Hook = (context: HookContext) => unknown;
type Checker = (context: CheckerContext) => CheckerResult | Promise<CheckerResult>;

function fits(pattern: string, line: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join("[^]*")}$`).test(line);
}

/** A node that is made up. What happened on it is in `commands`, `services`, `adopted`, `waits` and `logged`. */
export class FakeNode {
  /** Every command line, in order, as /bin/sh would have got it. */
  readonly commands: string[] = [];
  /** Status of each service that was named. */
  readonly services: Record<string, string>;
  /** Processes that were adopted, in order. */
  readonly adopted: number[] = [];
  /** What was waited for. */
  readonly waits: string[] = [];
  /** Lines of `log` and of commands whose output goes to the log. */
  readonly logged: string[] = [];
  readonly #options: FakeNodeOptions;
  #unanswered: string[] = [];

  constructor(options: FakeNodeOptions = {}) {
    this.#options = options;
    this.services = { ...options.services };
  }

  /** Runs a hook (its default export). What is left out of the context is made up. Throws what the hook throws. */
  async run(hook: Hook, context: Partial<HookContext> = {}): Promise<void> {
    const { kind = "mirror", peers = [{ name: "n2", addresses: { lan: "10.0.0.2" } }] } = this.#options;
    await this.#during(() =>
      hook({
        ...this.#base(),
        kind,
        hook: "start_prim",
        action: "start",
        from: "WAIT",
        to: "PRIM",
        cause: "a test",
        force: false,
        attempt: 1,
        peers,
        signal: new AbortController().signal,
        ...context,
      }),
    );
  }

  /** Runs a checker (its default export). As on a real node, a throw is down, with the reason. */
  async check(
    checker: Checker,
    context: Partial<CheckerContext> = {},
  ): Promise<{ state: "up" | "down"; detail: string }> {
    const whole = { ...this.#base(), resource: "custom.test", signal: new AbortController().signal };
    try {
      const result = await this.#during(() => checker({ ...whole, ...context }));
      if (typeof result === "boolean") return { state: result ? "up" : "down", detail: "" };
      return { state: result.state, detail: result.detail ?? "" };
    } catch (error) {
      if (this.#unanswered.length > 0) throw error;
      return { state: "down", detail: error instanceof Error ? error.message : String(error) };
    }
  }

  #base() {
    const { module = "test", node = "n1", vars = {}, dir = process.cwd() } = this.#options;
    return { module, node, vars, dir };
  }

  async #during<Result>(work: () => Result): Promise<Awaited<Result>> {
    if (standIn()) throw new Error("one hook at a time: await the other run first");
    this.#unanswered = [];
    setStandIn({
      command: async (line, input) => this.#answer(line, input),
      wait: (what) => {
        this.waits.push(what);
        return this.#options.absent?.includes(what.replace(/^a process /, ""))
          ? "it is absent in this test"
          : "";
      },
      service: (name, verb) => {
        if (verb !== "status") this.services[name] = verb === "start" ? "active" : "inactive";
        return this.services[name] ?? "inactive";
      },
      adopt: (pid) => void this.adopted.push(pid),
      secret: (key) => this.#options.secrets?.[key],
      log: (line) => void this.logged.push(line),
    });
    try {
      const result = await work();
      // A hook may have caught the error.
      if (this.#unanswered.length > 0) throw unanswered(this.#unanswered[0]!);
      return result;
    } finally {
      setStandIn(null);
    }
  }

  #answer(line: string, input: string): Required<Answer> {
    this.commands.push(line);
    const found = Object.entries(this.#options.commands ?? {}).find(([pattern]) => fits(pattern, line));
    if (!found) {
      this.#unanswered.push(line);
      throw unanswered(line);
    }
    const answer = typeof found[1] === "function" ? found[1](line, input) : found[1];
    return {
      exitCode: 0,
      stdout: "",
      stderr: "",
      ...(typeof answer === "string" ? { stdout: answer } : answer),
    };
  }
}

function unanswered(line: string): Error {
  return new Error(`the test has no answer for the command: ${line} (add it to commands of the FakeNode)`);
}

/** Throws when `condition` is not true. */
export function assert(condition: unknown, message = "it is not so"): asserts condition {
  nodeAssert.ok(condition, message);
}

/** Throws when the two are not deeply and strictly the same. */
export function assertEquals(actual: unknown, expected: unknown): void {
  nodeAssert.deepStrictEqual(actual, expected);
}

/** Throws when the text does not match. */
export function assertMatch(text: string, pattern: RegExp): void {
  nodeAssert.match(text, pattern);
}

/** Throws when `work` does not fail, or fails with a message that does not match. Gives the error. */
export async function assertRejects(work: () => unknown, pattern = /(?:)/): Promise<Error> {
  try {
    await work();
  } catch (error) {
    const failure = error instanceof Error ? error : new Error(String(error));
    nodeAssert.match(failure.message, pattern);
    return failure;
  }
  throw new Error("it did not fail");
}

/** Gives `work` a new directory, which is removed when it has ended. */
export async function inScratch<Result>(work: (directory: string) => Promise<Result>): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "holdfast-test-"));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}
