/** `Deno.Command`, and the shorter `Deno.spawn`. */
import { accessSync, existsSync, constants as fileConstants, statSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join, resolve } from "node:path";
import type { Subprocess } from "bun";
import { errorOf, osErrorText } from "./errors.ts";
import { bare, type Path, pathOf } from "./file_info.ts";

type Stdio = "piped" | "inherit" | "null";

/** What a command is started with. */
interface CommandOptions {
  args?: readonly string[];
  cwd?: Path;
  env?: Readonly<Record<string, string>>;
  clearEnv?: boolean;
  stdin?: Stdio;
  stdout?: Stdio;
  stderr?: Stdio;
  signal?: AbortSignal;
  uid?: number;
  gid?: number;
  detached?: boolean;
}

interface CommandStatus {
  success: boolean;
  code: number;
  signal: string | null;
}

const BUN_STDIO = { piped: "pipe", inherit: "inherit", null: "ignore" } as const;

/** Where the system would find the program; throws NotFound or PermissionDenied in Deno's words. */
function findProgram(name: string, path: string | undefined, cwd: string): string {
  const named = name.includes("/");
  const candidates = named
    ? [resolve(cwd, name)]
    : (path ?? "/usr/bin:/bin").split(delimiter).map((directory) => join(directory, name));
  const refused = (candidate: string, code: string) =>
    errorOf(code, `Failed to spawn '${candidate}': ${osErrorText(code)}`);
  let denied: string | null = null;
  for (const candidate of candidates) {
    try {
      if (!statSync(candidate).isFile()) {
        denied ??= named ? candidate : null;
        continue;
      }
      accessSync(candidate, fileConstants.X_OK);
      return candidate;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EACCES") denied ??= candidate;
    }
  }
  if (denied !== null) throw refused(denied, "EACCES");
  throw named
    ? refused(candidates[0]!, "ENOENT")
    : errorOf("ENOENT", `Failed to spawn '${name}': entity not found`);
}

function statusOf(exitCode: number | null, signal: string | number | null): CommandStatus {
  if (typeof signal === "string") {
    const numbers: Readonly<Record<string, number>> = constants.signals;
    return bare({ success: false, code: 128 + (numbers[signal] ?? 0), signal });
  }
  const code = exitCode ?? 1;
  return bare({ success: code === 0, code, signal: null });
}

/** Everything that Bun's spawn needs. */
function preparation(command: Path, options: CommandOptions) {
  const cwd = options.cwd === undefined ? process.cwd() : resolve(pathOf(options.cwd));
  const env = { ...(options.clearEnv === true ? {} : process.env), ...options.env };
  const name = pathOf(command);
  const program = findProgram(name, env["PATH"] ?? process.env["PATH"], cwd);
  if (!existsSync(cwd)) throw errorOf("ENOENT", `Failed to spawn '${program}': No such cwd '${cwd}'`);
  return {
    cmd: [program, ...(options.args ?? []).map(String)],
    env,
    cwd,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
    ...(options.detached === true ? { detached: true } : {}),
  };
}

/** A command's output, with the short ways to all of it. */
type OutputStream = ReadableStream<Uint8Array> & {
  arrayBuffer(): Promise<ArrayBuffer>;
  bytes(): Promise<Uint8Array>;
  json(): Promise<unknown>;
  text(): Promise<string>;
};

function outputStream(stream: ReadableStream<Uint8Array>): OutputStream {
  const whole = () => new Response(stream);
  return Object.assign(stream, {
    arrayBuffer: () => whole().arrayBuffer(),
    bytes: async () => new Uint8Array(await whole().arrayBuffer()),
    json: (): Promise<unknown> => whole().json(),
    text: () => whole().text(),
  });
}

/** Only commands make them. */
const INTERNAL = Symbol("internal");

/** A running command. */
export class ChildProcess {
  readonly #process: Subprocess;
  readonly #streams = new Map<string, OutputStream>();
  readonly #stdin: WritableStream<Uint8Array> | null;
  readonly pid: number;
  readonly status: Promise<CommandStatus>;

  constructor(key: unknown, child: Subprocess, options: CommandOptions) {
    if (key !== INTERNAL) throw new TypeError("Illegal constructor");
    this.#process = child;
    const { stdin } = child;
    this.#stdin = options.stdin === "piped" && typeof stdin === "object" ? inputStream(stdin) : null;
    for (const name of ["stdout", "stderr"] as const) {
      const stream = child[name];
      if (options[name] === "piped" && stream instanceof ReadableStream)
        this.#streams.set(name, outputStream(stream));
    }
    this.pid = child.pid;
    this.status = child.exited.then(() => statusOf(child.exitCode, child.signalCode));
  }

  get stdin(): WritableStream<Uint8Array> {
    if (this.#stdin === null) throw new TypeError("Cannot get 'stdin': 'stdin' is not piped");
    return this.#stdin;
  }

  get stdout(): OutputStream {
    return this.#stream("stdout");
  }

  get stderr(): OutputStream {
    return this.#stream("stderr");
  }

  #stream(name: "stdout" | "stderr"): OutputStream {
    const stream = this.#streams.get(name);
    if (!stream) throw new TypeError(`Cannot get '${name}': '${name}' is not piped`);
    return stream;
  }

  get #ended(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  async output() {
    if (this.#stdin !== null && !this.#stdin.locked) await this.#stdin.close();
    const read = async (name: "stdout" | "stderr") => (await this.#streams.get(name)?.bytes()) ?? null;
    const [stdout, stderr, status] = await Promise.all([read("stdout"), read("stderr"), this.status]);
    return withOutput(status, stdout, stderr);
  }

  kill(signal: NodeJS.Signals | number = "SIGTERM"): void {
    if (this.#ended) throw new TypeError("Child process has already terminated");
    this.#process.kill(signal);
  }

  ref(): void {
    this.#process.ref();
  }

  unref(): void {
    this.#process.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.kill();
    await this.status;
  }
}

function inputStream(sink: { write(bytes: Uint8Array): unknown; flush(): unknown; end(): unknown }) {
  return new WritableStream<Uint8Array>({
    async write(chunk) {
      sink.write(chunk);
      await sink.flush();
    },
    async close() {
      await sink.end();
    },
    async abort() {
      await sink.end();
    },
  });
}

/** A status with its output; what was not piped throws when asked for, as in Deno. */
function withOutput(status: CommandStatus, stdout: Uint8Array | null, stderr: Uint8Array | null) {
  const demand = (name: string, bytes: Uint8Array | null) => {
    if (bytes === null) throw new TypeError(`Cannot get '${name}': '${name}' is not piped`);
    return bytes;
  };
  return {
    ...status,
    get stdout() {
      return demand("stdout", stdout);
    },
    get stderr() {
      return demand("stderr", stderr);
    },
  };
}

/** `new Deno.Command("pg_ctl", { args: […] })`: `output()`, `outputSync()` or `spawn()`. */
export class Command {
  readonly #command: Path;
  readonly #options: CommandOptions;

  constructor(command: Path, options: CommandOptions = {}) {
    this.#command = command;
    this.#options = options;
  }

  spawn(): ChildProcess {
    return this.#start("inherit");
  }

  async output() {
    if (this.#options.stdin === "piped")
      throw new TypeError(
        "Piped stdin is not supported for this function, use 'Deno.Command.spawn()' instead",
      );
    return await this.#start("piped", "null").output();
  }

  outputSync() {
    const { stdin = "null", stdout = "piped", stderr = "piped" } = this.#options;
    if (stdin === "piped")
      throw new TypeError(
        "Piped stdin is not supported for this function, use 'Deno.Command.spawn()' instead",
      );
    const result = Bun.spawnSync({
      ...preparation(this.#command, this.#options),
      stdin: BUN_STDIO[stdin],
      stdout: BUN_STDIO[stdout],
      stderr: BUN_STDIO[stderr],
    });
    const bytes = (kind: Stdio, data: Uint8Array | undefined) =>
      kind === "piped" ? new Uint8Array(data ?? []) : null;
    const status = statusOf(result.exitCode, result.signalCode ?? null);
    return withOutput(status, bytes(stdout, result.stdout), bytes(stderr, result.stderr));
  }

  #start(fallback: Stdio, inputFallback: Stdio = fallback): ChildProcess {
    const { stdin = inputFallback, stdout = fallback, stderr = fallback } = this.#options;
    const child = Bun.spawn({
      ...preparation(this.#command, this.#options),
      stdin: BUN_STDIO[stdin],
      stdout: BUN_STDIO[stdout],
      stderr: BUN_STDIO[stderr],
    });
    return new ChildProcess(INTERNAL, child, { ...this.#options, stdin, stdout, stderr });
  }
}

type Rest = [args: readonly string[], options?: CommandOptions] | [options?: CommandOptions];

function commandOf(command: Path, [first, second]: Rest): Command {
  const listed = Array.isArray(first);
  const options = listed ? { ...second, args: first as readonly string[] } : (first as CommandOptions);
  return new Command(command, options);
}

/** `Deno.spawn(command, args, options)`. */
export const spawn = (command: Path, ...rest: Rest): ChildProcess => commandOf(command, rest).spawn();

/** `Deno.spawnAndWait`: its output, when it has ended. */
export const spawnAndWait = (command: Path, ...rest: Rest) => commandOf(command, rest).output();

/** As `spawnAndWait`, at once. */
export const spawnAndWaitSync = (command: Path, ...rest: Rest) => commandOf(command, rest).outputSync();
