/**
 * Runs one hook in a process of its own, and ends it with all its children at the time limit.
 *
 * The runner returns when the hook itself has ended. What the hook left running (the application) goes on: it is in the
 * module's cgroup, its output goes to a file, and nothing ties it to the daemon.
 */
import { randomUUID } from "node:crypto";
import { closeSync, constants, openSync, rmSync } from "node:fs";
import { selfCommand } from "../core/platform/self.ts";
import { formatDuration } from "../modules/units.ts";
import { contextVariables, type HookCall, type HookOrder } from "./context.ts";
import { hookEnvironment, limitedEnvironment } from "./environment.ts";
import { limitsOf, type Permissions } from "./limits.ts";
import { followOutput, type LineSink } from "./output.ts";
import { killFamily, RUN_MARK } from "./process_tree.ts";
import { SECRETS_DIRECTORY } from "./sdk/secret.ts";
import { type SecretValues, writeSecrets } from "./secret_files.ts";
import type { ServiceOrder } from "./services.ts";

/** One hook to run. */
export interface HookRun {
  file: string;
  kind: "typescript" | "executable";
  context: HookCall;
  timeoutMs: number;
  /** More variables, such as the module's mark; the rest of the environment is fixed. */
  env?: Readonly<Record<string, string>>;
  /** Directory of the cgroup (v2) that the hook and all it starts belong to. */
  cgroupPath?: string | null;
  /** Where the hook and the application print (absolute; made with mode 0600). Follow it with `followOutput` after a restart of the daemon. */
  outputFile: string;
  /** What was read of that file is erased: it lies in memory, and may hold secrets. */
  eraseOutput?: boolean;
  onOutput: LineSink;
  /** `permissions` of module.yaml: without, the hook may do everything. */
  permissions?: Permissions | undefined;
  /** Values by name: files for this run alone, masked in what is printed from now on. */
  secrets?: SecretValues;
  /** The directory below which these files are made: in memory. */
  secretsIn?: string;
  /** Services to start or stop, in the place of a file. */
  services?: ServiceOrder;
  /** Ends the hook at once, like its time limit. */
  signal?: AbortSignal;
}

/** How a hook ended. `detail` is a sentence for people. */
export interface HookResult {
  ok: boolean;
  exitCode: number | null;
  timedOut: boolean;
  detail: string;
}

/** How long a killed process may take to go (it may be stuck in a system call that nothing can interrupt). */
const KILLED_GRACE_MS = 2000;

/** Runs a hook to its end. Never throws: what goes wrong is in the result. */
export async function runHook(run: HookRun): Promise<HookResult> {
  const { hook } = run.context;
  if (run.signal?.aborted) return failed(`${hook} was not started: cancelled`);
  const started = performance.now();
  try {
    const secrets = run.secrets ?? {};
    const follower = followOutput(run.outputFile, run.onOutput, run.eraseOutput);
    follower.mask.hide(Object.values(secrets));
    const directory = Object.keys(secrets).length === 0 ? null : writeSecrets(secrets, run.secretsIn);
    follower.begin();
    try {
      const result = await supervise(run, directory, started);
      return { ...result, detail: follower.mask.whole(result.detail) };
    } finally {
      follower.end();
      if (directory !== null) rmSync(directory, { recursive: true, force: true });
    }
  } catch (error) {
    return failed(`${hook} could not be run: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function failed(detail: string): HookResult {
  return { ok: false, exitCode: null, timedOut: false, detail };
}

/** Starts the child with its order on standard input, its output in the file, in a session of its own. */
function spawn(run: HookRun, secrets: string | null, mark: string) {
  const limits = run.permissions === undefined ? null : limitsOf(run.permissions, run.context.dir);
  const order: HookOrder = {
    file: run.file,
    kind: run.kind,
    context: run.context,
    timeoutMs: run.timeoutMs,
    cgroup: run.cgroupPath ?? null,
    limits,
    limited: false,
    services: run.services ?? null,
    answerMark: null,
    rules: false,
  };
  const variables = { ...run.env, ...contextVariables(run.context), [RUN_MARK]: mark };
  const whole = hookEnvironment(
    secrets === null ? variables : { ...variables, [SECRETS_DIRECTORY]: secrets },
  );
  const env = limitedEnvironment(whole, limits?.env ?? true);
  const output = openSync(run.outputFile, constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW);
  try {
    return Bun.spawn(selfCommand("__hook"), {
      cwd: run.context.dir,
      env,
      stdin: Buffer.from(JSON.stringify(order)),
      stdout: output,
      stderr: output,
      detached: true,
    });
  } finally {
    closeSync(output);
  }
}

/** What a hook has left of a limit that it shares with services is no round number. */
function limitText(ms: number): string {
  return formatDuration(ms < 100 ? Math.ceil(ms) : Math.round(ms / 100) * 100);
}

async function supervise(run: HookRun, secrets: string | null, started: number): Promise<HookResult> {
  const mark = randomUUID();
  const child = spawn(run, secrets, mark);
  const { hook } = run.context;
  let ended: "limit" | "cancelled" | null = null;
  const { promise: stuck, resolve: giveUp } = Promise.withResolvers<"stuck">();
  const end = (why: "limit" | "cancelled") => {
    if (ended) return;
    ended = why;
    killFamily(child.pid, mark, true);
    setTimeout(() => giveUp("stuck"), KILLED_GRACE_MS).unref();
  };
  const limit = setTimeout(() => end("limit"), run.timeoutMs);
  const cancel = () => end("cancelled");
  run.signal?.addEventListener("abort", cancel, { once: true });
  const outcome = await Promise.race([child.exited, stuck]);
  clearTimeout(limit);
  run.signal?.removeEventListener("abort", cancel);
  const took = `${((performance.now() - started) / 1000).toFixed(2)} s`;
  if (ended) {
    const reason =
      ended === "limit" ? `ran over its time limit of ${limitText(run.timeoutMs)}` : "was cancelled";
    const rest = outcome === "stuck" ? ", but the kernel does not let it go" : " with all it had started";
    return {
      ok: false,
      exitCode: null,
      timedOut: ended === "limit",
      detail: `${hook} ${reason} and was killed${rest}`,
    };
  }
  if (child.signalCode !== null)
    return {
      ok: false,
      exitCode: null,
      timedOut: false,
      detail: `${hook} was killed by ${child.signalCode} after ${took}`,
    };
  const exitCode = child.exitCode ?? 0;
  const detail =
    exitCode === 0 ? `${hook} done in ${took}` : `${hook} failed with exit status ${exitCode} after ${took}`;
  return { ok: exitCode === 0, exitCode, timedOut: false, detail };
}
