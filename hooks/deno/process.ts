/** What `Deno` says about this process, and does with it and others. */
import { constants } from "node:os";
import { expectFromOutside } from "../waiting.ts";
import { errorOf, errors, translated } from "./errors.ts";
import { type Path, pathOf } from "./file_info.ts";

function checkedKey(key: string): string {
  if (key.length === 0) throw new TypeError("Key is an empty string.");
  if (/[=\0]/.test(key)) throw new TypeError(`Key contains invalid characters: ${quoted(key)}`);
  return key;
}

function quoted(text: string): string {
  return JSON.stringify(text).replaceAll("\\u0000", "\\0");
}

/** `Deno.env`. */
export const env = {
  get(key: string): string | undefined {
    return process.env[checkedKey(key)];
  },
  toObject(): Record<string, string> {
    return Object.fromEntries(Object.entries(process.env).map(([key, value]) => [key, value ?? ""]));
  },
  set(key: string, value: string): void {
    const text = String(value);
    if (text.includes("\0")) throw new TypeError(`Value contains invalid characters: ${quoted(text)}`);
    process.env[checkedKey(key)] = text;
  },
  has(key: string): boolean {
    return process.env[checkedKey(key)] !== undefined;
  },
  delete(key: string): void {
    delete process.env[checkedKey(key)];
  },
};

const BYTE = 0xff;

/** `Deno.exit`: without a status, that of `Deno.exitCode`. */
export function exit(code?: number): never {
  return process.exit((typeof code === "number" ? code : getExitCode()) & BYTE);
}

let exitCode = 0;

/** `Deno.exitCode`. */
export function getExitCode(): number {
  return exitCode;
}

/** Throws TypeError or RangeError for what is no whole number. */
export function setExitCode(code: unknown): void {
  if (typeof code !== "number")
    throw new TypeError(`Exit code must be a number, got: ${String(code)} (${typeof code})`);
  if (!Number.isInteger(code)) throw new RangeError(`Exit code must be an integer, got: ${code}`);
  exitCode = code;
  process.exitCode = code & BYTE;
}

/** `Deno.chdir`. */
export function chdir(directory: Path): void {
  const path = pathOf(directory);
  translated(`chdir '${path}'`, () => process.chdir(path));
}

/** `Deno.umask`: sets it where a mask is given; returns the one before. */
export const umask = (mask?: number): number => (mask === undefined ? process.umask() : process.umask(mask));

function signalNumber(signal: string | number): number {
  const numbers: Readonly<Record<string, number>> = constants.signals;
  const number = typeof signal === "number" ? signal : numbers[signal];
  if (number === undefined) throw new TypeError(`Invalid signal: ${signal}`);
  return number;
}

/** `Deno.kill`. */
export function kill(pid: number, signal: string | number = "SIGTERM"): void {
  const number = signalNumber(signal);
  try {
    process.kill(pid, number);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code === "ESRCH") throw new errors.NotFound("ESRCH: No such process");
    if (code === "EPERM") throw new errors.PermissionDenied("EPERM: Operation not permitted");
    throw code === "EINVAL" ? errorOf("EINVAL", "EINVAL: Invalid argument") : error;
  }
}

/** Signals that no process can listen to, or none may. */
const UNHEARD = new Set(["SIGKILL", "SIGSTOP", "SIGILL", "SIGFPE", "SIGSEGV"]);

function listenable(signal: string): NodeJS.Signals {
  signalNumber(signal);
  if (UNHEARD.has(signal)) throw new TypeError(`Binding to signal '${signal}' is not allowed`);
  return signal as NodeJS.Signals;
}

/** What stands between a script's listeners and the process: a listener gets no arguments, and is there once. */
const listeners = new Map<string, Map<() => void, { call(): void; forget(): void }>>();

/** `Deno.addSignalListener`. */
export function addSignalListener(signal: string, handler: () => void): void {
  const name = listenable(signal);
  const known = listeners.get(name) ?? new Map<() => void, { call(): void; forget(): void }>();
  listeners.set(name, known);
  if (known.has(handler)) return;
  const call = () => handler();
  known.set(handler, { call, forget: expectFromOutside() });
  process.on(name, call);
}

/** `Deno.removeSignalListener`. */
export function removeSignalListener(signal: string, handler: () => void): void {
  const known = listeners.get(signal)?.get(handler);
  if (!known) return;
  listeners.get(signal)?.delete(handler);
  process.off(listenable(signal), known.call);
  known.forget();
}
