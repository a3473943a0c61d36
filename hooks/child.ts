/**
 * The two ways in which this binary becomes a script: as the child of the hook runner, and as `holdfast run`.
 */
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import * as v from "valibot";
import { replaceProcess } from "../core/platform/linux/exec.ts";
import {
  closeInput,
  dieWithParent,
  enterCgroup,
  giveBackPriority,
  giveInput,
  prepareExec,
} from "../core/platform/linux/inheritance.ts";
import { selfCommand } from "../core/platform/self.ts";
import {
  ANSWER_DETAIL_MAX,
  type CheckerContext,
  type CheckerResult,
  checkerAnswerSchema,
  type HookContext,
  type HookOrder,
  hookOrderSchema,
} from "./context.ts";
import { writeAllSync } from "./deno/descriptor.ts";
import { limitSelf, setGranted } from "./limits.ts";
import { fail, installRuntime } from "./runtime.ts";
import { changeServices } from "./services.ts";
import { workIsDone } from "./waiting.ts";

/** The signal in a hook's context is aborted when this part of its time has passed. */
const WARNING_AT = 0.9;

async function readOrder(): Promise<HookOrder> {
  return v.parse(hookOrderSchema, JSON.parse(await Bun.stdin.text()));
}

/** Never leaves a rejected promise unheard: a hook that forgot an `await` must fail, not succeed. */
function failLoudly(): void {
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
}

function environment(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, value ?? ""]));
}

/**
 * Limits hold for the thread that sets them and for what it starts, not for the runtime's other threads: the same program is
 * started again under them, in the same process, with the same order.
 */
function startAgain(order: HookOrder): never {
  giveInput(JSON.stringify({ ...order, limited: true }));
  return replaceProcess(selfCommand("__hook") as [string, ...string[]], environment());
}

/**
 * Becomes the executable, with the arguments that hooks have always had: force (second stop only), from, to, action. A checker gets its resource.
 */
function becomeExecutable({ file, context }: HookOrder): never {
  const args =
    context.action === "check"
      ? [context.hook]
      : [...(context.force ? ["force"] : []), context.from, context.to, context.action];
  prepareExec();
  try {
    return replaceProcess([file, ...args], environment());
  } catch (error) {
    throw new Error(
      `${file} cannot be executed: is its first line right (#!/bin/sh), and its interpreter installed?`,
      {
        cause: error,
      },
    );
  }
}

/** What a checker's function gets: its resource stands in the place of the hook's name. */
function checkerContext(order: HookOrder): CheckerContext {
  const { module, node, hook, vars, dir } = order.context;
  const { signal } = hookContext(order);
  return { module, node, resource: hook, vars, dir, signal };
}

/** Anything but the answers of the contract is a checker that forgot to answer: down, with that reason. */
function answerOf(result: unknown): Exclude<CheckerResult, boolean> {
  if (typeof result === "boolean") return { state: result ? "up" : "down" };
  const answer = v.safeParse(checkerAnswerSchema, result);
  if (answer.success) {
    const { state, detail } = answer.output;
    return { state, ...(detail === undefined ? {} : { detail: detail.slice(0, ANSWER_DETAIL_MAX) }) };
  }
  const what = JSON.stringify(result) ?? "nothing";
  return {
    state: "down",
    detail: `a checker returns true, false or { state, detail }; this one returned ${what.slice(0, 100)}`,
  };
}

/** The signal is made for the hook that asks for it: waiting for it, and for nothing else, keeps that one alive. */
function hookContext(order: HookOrder): HookContext {
  let controller: AbortController | null = null;
  return {
    ...order.context,
    get signal() {
      if (controller === null) {
        const made = new AbortController();
        const abort = () => made.abort(new Error("the hook's time is nearly up"));
        // The limit counts from the start of this process.
        setTimeout(abort, Math.max(0, order.timeoutMs * WARNING_AT - performance.now()));
        process.on("SIGTERM", abort);
        controller = made;
      }
      return controller.signal;
    },
  };
}

/**
 * A script whose own promise can never be kept ends when nothing else is left to do. That is a failure, and must not look like
 * success.
 */
function endsWith(file: string, work: Promise<void>): void {
  let settled = false;
  process.on("beforeExit", () => {
    if (!settled)
      fail(new Error(`${file} ended while it still waited for something that cannot happen any more`));
  });
  work.then(() => {
    settled = true;
    workIsDone();
  }, fail);
}

/** Tells the runner, on a line of its own. */
function tellAnswer(mark: string, answer: unknown): void {
  writeAllSync(1, Buffer.from(`\n${mark}${JSON.stringify(answer)}\n`));
}

async function runTypeScript(order: HookOrder): Promise<void> {
  if (order.services !== null) {
    await changeServices(order.services, order.timeoutMs);
    process.exit(0);
  }
  installRuntime(order.file, []);
  const loaded: object = await import(order.file);
  if (order.rules) {
    if (!("default" in loaded)) throw new Error("has no default export: export default defineRules({ … })");
    tellAnswer(order.answerMark!, loaded.default ?? null);
    process.exit(0);
  }
  if (!("default" in loaded)) {
    if (Object.keys(loaded).length > 0)
      throw new Error(
        `${order.file} exports ${Object.keys(loaded).join(", ")} but has no default export to call`,
      );
    // A plain script: it ends when nothing is left to do, with its own exit status.
    return;
  }
  if (typeof loaded.default !== "function")
    throw new Error(`${order.file}: the default export is not a function`);
  const result: unknown = await loaded.default(
    order.answerMark === null ? hookContext(order) : checkerContext(order),
  );
  if (order.answerMark !== null) {
    const answer = answerOf(result);
    tellAnswer(order.answerMark, answer);
    // The exit status says the same: a daemon that does not come to read the answer must not take "down" for "up".
    process.exit(answer.state === "up" ? 0 : 1);
  }
  // What it left undone (a timer, an open socket) does not keep the transition waiting.
  process.exit(process.exitCode ?? 0);
}

/** `__hook`: reads the order from standard input, and carries it out. Ends the process. */
export async function runHookChild(): Promise<void> {
  failLoudly();
  try {
    const order = await readOrder();
    const executable = order.kind === "executable";
    // Nobody waits for the answer of a checker whose daemon is gone.
    if (order.answerMark !== null) dieWithParent();
    if (!order.limited) {
      if (order.cgroup !== null) enterCgroup(order.cgroup);
      giveBackPriority();
      if (order.limits !== null) {
        limitSelf(order.limits, { file: order.file, directory: order.context.dir, executable });
        if (!executable) startAgain(order);
      }
    }
    if (order.limits !== null) setGranted(order.limits);
    closeInput();
    if (executable) becomeExecutable(order);
    endsWith(order.file, runTypeScript(order));
  } catch (error) {
    fail(error);
  }
}

/**
 * `holdfast run FILE.ts [ARG…]`: runs the file as the main script with the hooks' runtime. Returns when its top-level code
 * has begun; the process then ends by itself, with the script's status, when nothing is left to do. Call nothing after it.
 */
export function runScript(file: string, args: readonly string[]): void {
  failLoudly();
  try {
    const path = realpathSync(resolve(file));
    installRuntime(path, args);
    endsWith(
      path,
      import(path).then(() => undefined),
    );
  } catch (error) {
    fail(error);
  }
}
