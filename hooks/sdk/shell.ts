/**
 * `$`: commands of the system, with arguments that need no quoting and failures that cannot be overlooked.
 *
 * A command's output goes where the hook's own goes, unless it is asked for (text, lines, quiet): so an application that a
 * command leaves in the background never holds a pipe that would later break under it.
 */
import { Buffer } from "node:buffer";
import { constants } from "node:os";
import process from "node:process";
import type { Readable } from "node:stream";
import { parseDuration } from "../../modules/units.ts";
import { killFamily } from "../process_tree.ts";
import { standIn } from "./stand_in.ts";

/** How a command ended. `stdout` and `stderr` are empty when they went straight to the log. */
export interface CommandResult {
  exitCode: number;
  stdout: string;
  stderr: string;
  durationMs: number;
}

/** A command failed, or ran over its time. */
export class CommandError extends Error {
  override name = "CommandError";
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;

  constructor(message: string, result: Omit<CommandResult, "durationMs">) {
    super(message);
    this.exitCode = result.exitCode;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
  }
}

/** Resolves after this many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** How long captured output may stay open after the command itself ended: a process in the background may hold it. */
const OUTPUT_GRACE_MS = 200;

/** How a process ended. */
interface Ending {
  code: number | null;
  signal: keyof typeof constants.signals | null;
}

/** Who reads a command line. */
interface Reader {
  program: string;
  argumentsFor(line: string): string[];
}

const SHELL: Reader = { program: "/bin/sh", argumentsFor: (line) => ["-c", line] };

/** What a line of PowerShell begins with: a cmdlet that fails is a failure, and its words are UTF-8 without a progress bar. */
const POWERSHELL_PRELUDE =
  "$ErrorActionPreference = 'Stop'; $ProgressPreference = 'SilentlyContinue'; [Console]::OutputEncoding = [Text.Encoding]::UTF8\n";

/** Encoded, since Windows hands on one string that each program takes apart by rules of its own. See about_PowerShell_exe. */
const POWERSHELL: Reader = {
  program: "powershell.exe",
  argumentsFor: (line) => [
    ...["-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-OutputFormat", "Text"],
    ...["-EncodedCommand", Buffer.from(POWERSHELL_PRELUDE + line, "utf16le").toString("base64")],
  ],
};

function linesOf(output: string): string[] {
  const text = output.replace(/\n$/, "");
  return text === "" ? [] : text.split("\n");
}

function quote(value: unknown): string {
  if (Array.isArray(value)) return value.map(quote).join(" ");
  if (value instanceof Command) return value.line;
  const text = String(value);
  if (text.includes("\0")) throw new TypeError("a command's argument cannot contain a NUL character");
  return /^[A-Za-z0-9_./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Reads a stream to its end; `soFar` gives what has come until then. */
function collect(stream: Readable): { done: Promise<void>; soFar: () => string; leave: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.once("close", () => resolve());
  return {
    done: promise,
    soFar: () => new TextDecoder().decode(Buffer.concat(chunks)),
    // What still holds it may write on, but nobody waits for that.
    leave: () => "unref" in stream && typeof stream.unref === "function" && void stream.unref(),
  };
}

/**
 * A pipe whose status is the second part's or, when that is good, the first part's. It comes on descriptor 3, which neither
 * part sees, so that what they leave running cannot hold it; 141 is SIGPIPE.
 */
function bothOf(first: string, second: string): string {
  return [
    `( { s=$( { { ( ${first}\n) 3>&- 4>&-; echo $? >&3; } | ( ${second}\n) >&4 3>&- 4>&-; } 3>&1 )`,
    'r=$?; [ "$r" = 0 ] || exit "$r"; [ "$s" = 141 ] || exit "$s"; } 4>&1 )',
  ].join("; ");
}

/** A command that starts when it is awaited. */
export class Command implements PromiseLike<CommandResult> {
  readonly line: string;
  #output: "inherit" | "pipe" = "inherit";
  #throws = true;
  #timeoutMs: number | null = null;
  #cwd: string | undefined;
  #env: Readonly<Record<string, string>> = {};
  #input: string | Uint8Array = "";
  /** What error messages call it. */
  readonly #title: string;
  readonly #reader: Reader;
  #running: Promise<CommandResult> | null = null;

  constructor(line: string, title = line, reader = SHELL) {
    this.line = line;
    this.#title = title;
    this.#reader = reader;
  }

  /** Keeps the output out of the log; the result has it. */
  quiet(): this {
    this.#output = "pipe";
    return this;
  }

  /** A failure does not throw: look at `exitCode`. */
  nothrow(): this {
    this.#throws = false;
    return this;
  }

  /** Ends the command, with all that it started, after this time ("30s"). */
  timeout(duration: string): this {
    this.#timeoutMs = parseDuration(duration);
    return this;
  }

  /** The directory to run in. */
  cwd(directory: string): this {
    this.#cwd = directory;
    return this;
  }

  /** More environment variables. */
  env(variables: Readonly<Record<string, string>>): this {
    this.#env = { ...this.#env, ...variables };
    return this;
  }

  /** What the command reads on its standard input; without, there is nothing to read. */
  input(content: string | Uint8Array): this {
    this.#input = content;
    return this;
  }

  /**
   * Its output is what `next` reads: one command, which fails when either fails (a plain `|` in a command line tells of its
   * last part alone). A first part that `next` did not read to its end has not failed.
   */
  pipe(next: Command): Command {
    const whole = new Command(bothOf(this.line, next.line), `${this.#title} | ${next.#title}`);
    return whole.input(this.#input).env({ ...this.#env, ...next.#env });
  }

  /** The output, read as JSON. Throws SyntaxError when it is none. */
  async json(): Promise<unknown> {
    return JSON.parse((await this.quiet()).stdout) as unknown;
  }

  /** The output as lines, without a last empty one. */
  async lines(): Promise<string[]> {
    return linesOf((await this.quiet()).stdout);
  }

  /** The output as one text, without its final line end. */
  async text(): Promise<string> {
    return (await this.quiet()).stdout.replace(/\n$/, "");
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting a command runs it.
  then<A = CommandResult, B = never>(
    resolved?: ((value: CommandResult) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#running ??= this.#run();
    return this.#running.then(resolved, rejected);
  }

  /** As a promise's: `await $`…`.catch(() => …)`. */
  catch<B>(rejected: (reason: unknown) => B | PromiseLike<B>): Promise<CommandResult | B> {
    return this.then(null, rejected);
  }

  /** As a promise's. */
  finally(done: () => void): Promise<CommandResult> {
    return this.then().finally(done);
  }

  async #run(): Promise<CommandResult> {
    const tested = standIn();
    if (tested) {
      const text = typeof this.#input === "string" ? this.#input : new TextDecoder().decode(this.#input);
      const result = { ...(await tested.command(this.line, text)), durationMs: 0 };
      if (this.#output === "inherit") for (const line of linesOf(result.stdout)) tested.log(line);
      return this.#judged(result, null);
    }
    const started = performance.now();
    // Loaded when the first command runs: a hook starts sooner without.
    const { spawn } = process.getBuiltinModule("node:child_process");
    const child = spawn(this.#reader.program, this.#reader.argumentsFor(this.line), {
      ...(this.#cwd === undefined ? {} : { cwd: this.#cwd }),
      env: { ...process.env, ...this.#env },
      stdio: [this.#input.length === 0 ? "ignore" : "pipe", this.#output, this.#output],
    });
    const { promise: exited, resolve, reject } = Promise.withResolvers<Ending>();
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve({ code, signal }));
    // A command need not read what it is given.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(this.#input);
    const outputs = [child.stdout, child.stderr].map((stream) => (stream ? collect(stream) : null));
    let late = false;
    const limit = this.#timeoutMs;
    const end = () => {
      late = true;
      killFamily(child.pid!, null, false);
    };
    const timer = limit === null ? null : setTimeout(end, limit);
    const { code, signal } = await exited;
    if (timer) clearTimeout(timer);
    const all = Promise.all(outputs.map((output) => output?.done));
    if (this.#output === "pipe") await Promise.race([all, pause(OUTPUT_GRACE_MS)]);
    for (const output of outputs) output?.leave();
    const result = {
      exitCode: code ?? 128 + (signal === null ? 1 : constants.signals[signal]),
      stdout: outputs[0]?.soFar() ?? "",
      stderr: outputs[1]?.soFar() ?? "",
      durationMs: performance.now() - started,
    };
    if (late)
      throw new CommandError(
        `${this.#shown()} ran over its time limit of ${limit} ms and was killed`,
        result,
      );
    return this.#judged(result, signal);
  }

  /** The result, or what it means when it is a failure. */
  #judged(result: CommandResult, signal: string | null): CommandResult {
    if (result.exitCode === 0 || !this.#throws) return result;
    const how = signal === null ? `failed with exit status ${result.exitCode}` : `was killed by ${signal}`;
    const said = result.stderr.trim().split("\n").slice(-5).join("\n");
    throw new CommandError(`${this.#shown()} ${how}${said === "" ? "" : `: ${said}`}`, result);
  }

  #shown(): string {
    const line = this.#title.trim().replaceAll(/\s+/g, " ");
    return `\`${line.length > 200 ? `${line.slice(0, 197)}…` : line}\``;
  }
}

/**
 * Runs a command line through /bin/sh; every `${value}` is one argument, quoted (a list is several). Await it, or its
 * `.text()`, `.lines()`. Throws CommandError when it fails.
 */
export function $(strings: TemplateStringsArray, ...values: readonly unknown[]): Command {
  return new Command(
    strings.raw.map((part, index) => (index < values.length ? part + quote(values[index]) : part)).join(""),
  );
}

/** One argument for PowerShell, or a list of them. It takes typographic quotes for quotes, too. See about_Quoting_Rules. */
function quoteForPowerShell(value: unknown): string {
  if (Array.isArray(value)) return `@(${value.map(quoteForPowerShell).join(", ")})`;
  const text = String(value);
  if (text.includes("\0")) throw new TypeError("a command's argument cannot contain a NUL character");
  return `'${text.replaceAll(/['\u2018-\u201B]/g, "$&$&")}'`;
}

/**
 * Runs lines of PowerShell (on Windows); every `${value}` is one argument, quoted (a list is an array). As `$` otherwise, but for
 * `.pipe()`. Written from Microsoft's documentation: it has not been run on a Windows machine yet.
 */
export function powershell(strings: TemplateStringsArray, ...values: readonly unknown[]): Command {
  const line = strings.raw
    .map((part, index) => (index < values.length ? part + quoteForPowerShell(values[index]) : part))
    .join("");
  return new Command(line.trim(), line, POWERSHELL);
}
