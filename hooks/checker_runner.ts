/**
 * Runs one checker (or the module's rules.ts) once, in a process of its own, and ends it with all its children at the time limit or when nobody wants to know any more.
 *
 * A child for each look, not one that stays: it costs about 50 ms of one processor and nothing between two looks, where a child that stays costs its
 * memory all the time; and a look can neither be spoilt by the last one nor outlive a new revision of the module.
 */
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import * as v from "valibot";
import { selfCommand } from "../core/platform/self.ts";
import { checkerAnswerSchema, contextVariables, type HookCall, type HookOrder } from "./context.ts";
import { hookEnvironment, limitedEnvironment } from "./environment.ts";
import { limitsOf, type Permissions } from "./limits.ts";
import { Mask } from "./mask.ts";
import type { LineSink } from "./output.ts";
import { killFamily, RUN_MARK } from "./process_tree.ts";
import { SECRETS_DIRECTORY } from "./sdk/secret.ts";
import { type SecretValues, writeSecrets } from "./secret_files.ts";

/** One checker to run. */
export interface CheckerRun {
  file: string;
  kind: "typescript" | "executable";
  /** `hook` is the resource, `action` is "check". */
  context: HookCall;
  timeoutMs: number;
  env?: Readonly<Record<string, string>>;
  permissions?: Permissions | undefined;
  secrets?: SecretValues;
  /** The directory below which their files are made: in memory. */
  secretsIn?: string;
  onOutput: LineSink;
  /** Ends it at once. */
  signal: AbortSignal;
}

/** What is kept of what a checker prints, its end. The answer is the last of it, and must fit: see ANSWER_DETAIL_MAX. */
const PRINTED_MAX = 64 * 1024;
const DETAIL_LENGTH_MAX = 300;
const LAST_WORDS_MS = 50;

/** A child that has ended, and what it told and printed. */
interface Ended {
  /** Null where it told nothing. */
  answer: string | null;
  child: { exitCode: number | null; signalCode: unknown };
  /** Lines, secrets masked. */
  said: readonly string[];
  mask: Mask;
}

/** What a checker found. Rejects when it could not be run. */
export async function runChecker(run: CheckerRun): Promise<{ state: "up" | "down"; detail: string }> {
  const { answer, child, said, mask } = await ask(run, false);
  if (answer === null) return byStatus(run, child, said);
  for (const line of said) run.onOutput(line);
  const { state, detail = "" } = v.parse(checkerAnswerSchema, JSON.parse(answer));
  return { state, detail: mask.whole(detail).slice(0, DETAIL_LENGTH_MAX) };
}

/** What the default export of a module's rules.ts comes to, as JSON has it. Throws with what it printed where it comes to nothing. */
export async function runRules(run: CheckerRun): Promise<unknown> {
  const { answer, said } = await ask(run, true);
  if (answer !== null) return JSON.parse(answer) as unknown;
  throw new Error(said.join("\n") || `says nothing that can be read, or more than ${PRINTED_MAX / 1024} KiB`);
}

async function ask(run: CheckerRun, rules: boolean): Promise<Ended> {
  run.signal.throwIfAborted();
  const mark = randomUUID();
  const secrets = run.secrets ?? {};
  const directory = Object.keys(secrets).length === 0 ? null : writeSecrets(secrets, run.secretsIn);
  const mask = new Mask();
  mask.hide(Object.values(secrets));
  try {
    const child = spawn(run, mark, directory, rules);
    const kill = (): void => killFamily(child.pid, mark, true);
    run.signal.addEventListener("abort", kill, { once: true });
    const printed = new Printed();
    const readers = [child.stdout.getReader(), child.stderr.getReader()];
    const read = Promise.all(readers.map((reader) => follow(reader, printed)));
    await child.exited;
    // What it left running may keep the pipes open, and with them two descriptors of the daemon: what it printed itself is here by then.
    await Promise.race([read, Bun.sleep(LAST_WORDS_MS)]);
    await Promise.all(readers.map((reader) => reader.cancel()));
    run.signal.removeEventListener("abort", kill);
    run.signal.throwIfAborted();
    const lines = printed.text.split("\n");
    const answer = lines.find((line) => line.startsWith(mark))?.slice(mark.length);
    const text = mask.push(lines.filter((line) => !line.startsWith(mark)).join("\n")) + mask.flush();
    const said = text.split("\n").filter((line) => line.trim() !== "");
    return { answer: answer ?? null, child, said, mask };
  } finally {
    if (directory !== null) rmSync(directory, { recursive: true, force: true });
  }
}

function spawn(run: CheckerRun, mark: string, secrets: string | null, rules: boolean) {
  const limits = run.permissions === undefined ? null : limitsOf(run.permissions, run.context.dir);
  const order: HookOrder = {
    file: run.file,
    kind: run.kind,
    context: run.context,
    timeoutMs: run.timeoutMs,
    cgroup: null,
    limits,
    limited: false,
    services: null,
    answerMark: mark,
    rules,
  };
  const whole = hookEnvironment({
    ...run.env,
    ...contextVariables(run.context),
    HOLDFAST_RESOURCE: run.context.hook,
    [RUN_MARK]: mark,
    ...(secrets === null ? {} : { [SECRETS_DIRECTORY]: secrets }),
  });
  return Bun.spawn(selfCommand("__hook"), {
    cwd: run.context.dir,
    env: limitedEnvironment(whole, limits?.env ?? true),
    stdin: Buffer.from(JSON.stringify(order)),
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
  });
}

/** The end of a text that comes in pieces. */
class Printed {
  readonly #pieces: string[] = [];
  #length = 0;
  #isCut = false;

  push(piece: string): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
    while (this.#length - this.#pieces[0]!.length >= PRINTED_MAX) {
      this.#length -= this.#pieces.shift()!.length;
      this.#isCut = true;
    }
  }

  /** Whole lines: the first of what is left may be the end of a secret. */
  get text(): string {
    const text = this.#pieces.join("");
    if (!this.#isCut) return text;
    const end = text.indexOf("\n");
    return end < 0 ? "" : text.slice(end + 1);
  }
}

/** What a stream is read with, whichever of the runtime's. */
interface Reader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
}

async function follow(reader: Reader, printed: Printed): Promise<void> {
  const decoder = new TextDecoder();
  // Read on to the end: who prints too much must not wait for somebody to read it.
  for (;;) {
    const { done, value } = await reader.read();
    if (done || value === undefined) return;
    printed.push(decoder.decode(value, { stream: true }));
  }
}

/** A program, or a script without a default export: its exit status is the answer, and the last that it printed tells why. */
function byStatus(
  { kind, context }: CheckerRun,
  { exitCode, signalCode }: { exitCode: number | null; signalCode: unknown },
  said: readonly string[],
): { state: "up" | "down"; detail: string } {
  const words = said.findLast((line) => !/^\s+at /.test(line)) ?? "";
  const last = words.replace(/^error: /, "").slice(0, DETAIL_LENGTH_MAX);
  if (exitCode === 0) return { state: "up", detail: last };
  const how = signalCode === null ? `exit status ${exitCode}` : `killed by ${String(signalCode)}`;
  const what = kind === "executable" ? `${how}: ${last}` : last;
  return { state: "down", detail: last === "" ? `${context.hook}: ${how}` : what };
}
