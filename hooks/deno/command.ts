/** `Deno.Command`. */
import { accessSync, constants as fileConstants, statSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Subprocess } from "bun";
import { errors, translated } from "./errors.ts";

type Stdio = "piped" | "inherit" | "null";

/** What a command is started with. */
interface CommandOptions {
  args?: readonly string[];
  cwd?: string | URL;
  env?: Readonly<Record<string, string>>;
  clearEnv?: boolean;
  stdin?: Stdio;
  stdout?: Stdio;
  stderr?: Stdio;
  signal?: AbortSignal;
  uid?: number;
  gid?: number;
}

interface CommandStatus {
  success: boolean;
  code: number;
  signal: string | null;
}

const BUN_STDIO = { piped: "pipe", inherit: "inherit", null: "ignore" } as const;

/** Where the system would find the program; throws NotFound or PermissionDenied as it would. */
function findProgram(name: string, path: string | undefined, cwd: string | undefined): string {
  const candidates = name.includes("/")
    ? [name.startsWith("/") ? name : join(cwd ?? process.cwd(), name)]
    : [];
  if (candidates.length === 0)
    for (const directory of (path ?? "/usr/bin:/bin").split(delimiter))
      candidates.push(join(directory, name));
  let denied = false;
  for (const candidate of candidates) {
    try {
      if (!statSync(candidate).isFile()) continue;
      accessSync(candidate, fileConstants.X_OK);
      return candidate;
    } catch (error) {
      denied ||= error instanceof Error && "code" in error && error.code === "EACCES";
    }
  }
  const message = `Failed to spawn '${name}'`;
  if (denied) throw new errors.PermissionDenied(`${message}: Permission denied (os error 13)`);
  throw new errors.NotFound(`${message}: entity not found`);
}

function statusOf(exitCode: number | null, signal: string | number | null): CommandStatus {
  if (typeof signal === "string") {
    const numbers: Readonly<Record<string, number>> = constants.signals;
    return { success: false, code: 128 + (numbers[signal] ?? 0), signal };
  }
  const code = exitCode ?? 1;
  return { success: code === 0, code, signal: null };
}

/** Everything that Bun's spawn needs. */
function preparation(command: string | URL, options: CommandOptions) {
  if (options.uid !== undefined || options.gid !== undefined)
    throw new errors.NotSupported("uid and gid are not supported here: use `runuser -u NAME -- COMMAND`");
  const cwd = options.cwd instanceof URL ? fileURLToPath(options.cwd) : options.cwd;
  const env = { ...(options.clearEnv === true ? {} : process.env), ...options.env };
  const name = command instanceof URL ? fileURLToPath(command) : command;
  if (cwd !== undefined) translated(() => statSync(cwd));
  return {
    cmd: [findProgram(name, env["PATH"] ?? process.env["PATH"], cwd), ...(options.args ?? [])],
    env,
    argv0: name,
    ...(cwd === undefined ? {} : { cwd }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
}

/** A running command. */
class ChildProcess {
  readonly #process: Subprocess;
  readonly #options: CommandOptions;
  readonly status: Promise<CommandStatus>;

  constructor(child: Subprocess, options: CommandOptions) {
    this.#process = child;
    this.#options = options;
    this.status = child.exited.then(() => statusOf(child.exitCode, child.signalCode));
  }

  get pid(): number {
    return this.#process.pid;
  }

  get stdin(): WritableStream<Uint8Array> {
    const { stdin } = this.#process;
    if (this.#options.stdin !== "piped" || typeof stdin !== "object")
      throw new TypeError("Cannot get 'stdin': 'stdin' is not piped");
    return new WritableStream({
      async write(chunk) {
        stdin.write(chunk);
        await stdin.flush();
      },
      async close() {
        await stdin.end();
      },
      async abort() {
        await stdin.end();
      },
    });
  }

  get stdout(): ReadableStream<Uint8Array> {
    return this.#stream("stdout");
  }

  get stderr(): ReadableStream<Uint8Array> {
    return this.#stream("stderr");
  }

  #stream(name: "stdout" | "stderr"): ReadableStream<Uint8Array> {
    const stream = this.#process[name];
    if (this.#options[name] !== "piped" || !(stream instanceof ReadableStream))
      throw new TypeError(`Cannot get '${name}': '${name}' is not piped`);
    return stream;
  }

  async output() {
    const read = async (name: "stdout" | "stderr") =>
      this.#options[name] === "piped"
        ? new Uint8Array(await new Response(this.#stream(name)).arrayBuffer())
        : null;
    const [stdout, stderr, status] = await Promise.all([read("stdout"), read("stderr"), this.status]);
    return withOutput(status, stdout, stderr);
  }

  kill(signal: NodeJS.Signals = "SIGTERM"): void {
    this.#process.kill(signal);
  }

  ref(): void {
    this.#process.ref();
  }

  unref(): void {
    this.#process.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.kill();
    await this.status;
  }
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
  readonly #command: string | URL;
  readonly #options: CommandOptions;

  constructor(command: string | URL, options: CommandOptions = {}) {
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
    return new ChildProcess(child, { ...this.#options, stdin, stdout, stderr });
  }
}
