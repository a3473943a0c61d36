/**
 * `$`: commands of the system, with arguments that need no quoting and failures that cannot be overlooked.
 *
 * A command's output goes where the hook's own goes, unless it is asked for (text, lines, quiet): so an application that a
 * command leaves in the background never holds a pipe that would later break under it.
 */
import { constants } from "node:os";
import { parseDuration } from "../../modules/units.ts";
import { killFamily } from "../process_tree.ts";

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

/** How long captured output may stay open after the command itself ended: a process in the background may hold it. */
const OUTPUT_GRACE_MS = 200;

function quote(value: unknown): string {
  if (Array.isArray(value)) return value.map(quote).join(" ");
  if (value instanceof Command) return value.line;
  const text = String(value);
  if (text.includes("\0")) throw new TypeError("a command's argument cannot contain a NUL character");
  return /^[A-Za-z0-9_./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Reads a stream to its end; `soFar` gives what has come until then. */
function collect(stream: ReadableStream<Uint8Array>): { done: Promise<void>; soFar: () => string } {
  const decoder = new TextDecoder();
  let text = "";
  const read = async () => {
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  };
  return { done: read(), soFar: () => text };
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
  #running: Promise<CommandResult> | null = null;

  constructor(line: string, title = line) {
    this.line = line;
    this.#title = title;
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
    const output = (await this.quiet()).stdout.replace(/\n$/, "");
    return output === "" ? [] : output.split("\n");
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
    const started = performance.now();
    const child = Bun.spawn(["/bin/sh", "-c", this.line], {
      ...(this.#cwd === undefined ? {} : { cwd: this.#cwd }),
      env: { ...process.env, ...this.#env },
      stdin: this.#input.length === 0 ? "ignore" : Buffer.from(this.#input),
      stdout: this.#output,
      stderr: this.#output,
    });
    const output = child.stdout ? collect(child.stdout) : null;
    const errors = child.stderr ? collect(child.stderr) : null;
    let late = false;
    const limit = this.#timeoutMs;
    const end = () => {
      late = true;
      killFamily(child.pid, null, false);
    };
    const timer = limit === null ? null : setTimeout(end, limit);
    await child.exited;
    if (timer) clearTimeout(timer);
    if (output && errors)
      await Promise.race([Promise.all([output.done, errors.done]), Bun.sleep(OUTPUT_GRACE_MS)]);
    const exitCode = child.exitCode ?? 128 + signalNumber(child.signalCode);
    const result = {
      exitCode,
      stdout: output?.soFar() ?? "",
      stderr: errors?.soFar() ?? "",
      durationMs: performance.now() - started,
    };
    if (late)
      throw new CommandError(
        `${this.#shown()} ran over its time limit of ${limit} ms and was killed`,
        result,
      );
    if (exitCode === 0 || !this.#throws) return result;
    const how =
      child.signalCode === null ? `failed with exit status ${exitCode}` : `was killed by ${child.signalCode}`;
    const said = result.stderr.trim().split("\n").slice(-5).join("\n");
    throw new CommandError(`${this.#shown()} ${how}${said === "" ? "" : `: ${said}`}`, result);
  }

  #shown(): string {
    const line = this.#title.trim().replaceAll(/\s+/g, " ");
    return `\`${line.length > 200 ? `${line.slice(0, 197)}…` : line}\``;
  }
}

function signalNumber(signal: NodeJS.Signals | number | null): number {
  return typeof signal === "number" ? signal : signal === null ? 1 : constants.signals[signal];
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
