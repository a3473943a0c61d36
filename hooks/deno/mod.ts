/**
 * The `Deno` namespace of scripts: what server scripts use, so that a hook runs under Deno too and its editor knows it.
 *
 * Not here: permissions, network listeners (use node:net, fetch, or the SDK's waitFor), workers, FFI, KV.
 */
import * as os from "node:os";
import { pathToFileURL } from "node:url";
import { Command } from "./command.ts";
import { errors, translated } from "./errors.ts";
import { fileFunctions } from "./files.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

/** The version of Deno whose behaviour the tests compare with. */
const DENO_VERSION = "2.9.6";

const env = {
  get: (name: string): string | undefined => process.env[name],
  set: (name: string, value: string): void => {
    process.env[name] = value;
  },
  has: (name: string): boolean => process.env[name] !== undefined,
  delete: (name: string): void => {
    delete process.env[name];
  },
  toObject: (): Record<string, string> =>
    Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, value ?? ""])),
};

/** One of the standard streams. */
function output(stream: NodeJS.WriteStream, fd: 1 | 2) {
  return {
    write: async (bytes: Uint8Array): Promise<number> => await Bun.write(Bun.file(fd), bytes),
    writeSync(bytes: Uint8Array): number {
      stream.write(bytes);
      return bytes.length;
    },
    isTerminal: (): boolean => stream.isTTY,
    get writable(): WritableStream<Uint8Array> {
      return new WritableStream({
        write(chunk) {
          stream.write(chunk);
        },
      });
    },
  };
}

function build(): object {
  const arch = ARCHITECTURES[process.arch] ?? process.arch;
  return {
    target: `${arch}-unknown-linux-gnu`,
    arch,
    os: process.platform === "win32" ? "windows" : process.platform,
    vendor: "unknown",
    env: "gnu",
    standalone: false,
  };
}

function checkedExit(code?: number): never {
  process.exit(code ?? process.exitCode ?? 0);
}

/** Makes the namespace for the main script `file` and its arguments. */
export function denoNamespace(file: string, args: readonly string[]): object {
  return {
    args: Object.freeze([...args]),
    build: build(),
    Command,
    errors,
    env,
    mainModule: pathToFileURL(file).href,
    noColor: process.env["NO_COLOR"] !== undefined && process.env["NO_COLOR"] !== "",
    pid: process.pid,
    get ppid() {
      return process.ppid;
    },
    version: { deno: DENO_VERSION, v8: "", typescript: "" },
    stdin: {
      get readable() {
        return Bun.stdin.stream();
      },
      isTerminal: () => process.stdin.isTTY,
    },
    stdout: output(process.stdout, 1),
    stderr: output(process.stderr, 2),
    get exitCode() {
      return Number(process.exitCode ?? 0);
    },
    set exitCode(code: number) {
      process.exitCode = code;
    },
    exit: checkedExit,
    execPath: () => process.execPath,
    cwd: () => process.cwd(),
    chdir: (directory: string) => translated(() => process.chdir(directory)),
    hostname: () => os.hostname(),
    osRelease: () => os.release(),
    osUptime: () => Math.floor(os.uptime()),
    loadavg: () => os.loadavg(),
    uid: () => process.getuid?.() ?? null,
    gid: () => process.getgid?.() ?? null,
    umask: (mask?: number) => (mask === undefined ? process.umask() : process.umask(mask)),
    kill: (pid: number, signal: NodeJS.Signals = "SIGTERM") => {
      translated(() => process.kill(pid, signal));
    },
    addSignalListener: (signal: NodeJS.Signals, handler: () => void) => {
      process.on(signal, handler);
    },
    removeSignalListener: (signal: NodeJS.Signals, handler: () => void) => {
      process.off(signal, handler);
    },
    inspect: (value: unknown) => Bun.inspect(value),
    ...fileFunctions(),
  };
}
