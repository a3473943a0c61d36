/**
 * `Deno.errors`: the system's error numbers as the classes that scripts catch, in the words that Deno uses.
 */
import { constants } from "node:os";
import { errorText } from "../../core/platform/linux/descriptors.ts";

type ErrorClass = new (message?: string, options?: ErrorOptions) => Error;

/** A class whose name is its own property, as in Deno: scripts ask for `error.name`. */
function errorClass(name: string): ErrorClass {
  const made = {
    [name]: class extends Error {
      constructor(message?: string, options?: ErrorOptions) {
        super(message, options);
        this.name = name;
      }
    },
  };
  return made[name]!;
}

/** The classes, by their names in Deno. */
export const errors = {
  NotFound: errorClass("NotFound"),
  PermissionDenied: errorClass("PermissionDenied"),
  ConnectionRefused: errorClass("ConnectionRefused"),
  ConnectionReset: errorClass("ConnectionReset"),
  ConnectionAborted: errorClass("ConnectionAborted"),
  NotConnected: errorClass("NotConnected"),
  AddrInUse: errorClass("AddrInUse"),
  AddrNotAvailable: errorClass("AddrNotAvailable"),
  BrokenPipe: errorClass("BrokenPipe"),
  AlreadyExists: errorClass("AlreadyExists"),
  InvalidData: errorClass("InvalidData"),
  TimedOut: errorClass("TimedOut"),
  Interrupted: errorClass("Interrupted"),
  WriteZero: errorClass("WriteZero"),
  WouldBlock: errorClass("WouldBlock"),
  UnexpectedEof: errorClass("UnexpectedEof"),
  BadResource: errorClass("BadResource"),
  Http: errorClass("Http"),
  Busy: errorClass("Busy"),
  NotSupported: errorClass("NotSupported"),
  FilesystemLoop: errorClass("FilesystemLoop"),
  IsADirectory: errorClass("IsADirectory"),
  NetworkUnreachable: errorClass("NetworkUnreachable"),
  NotADirectory: errorClass("NotADirectory"),
  NotCapable: errorClass("NotCapable"),
};

/** Numbers that are not here are plain errors in Deno too, with their code. */
const CLASSES: Readonly<Record<string, ErrorClass>> = {
  ENOENT: errors.NotFound,
  EPERM: errors.PermissionDenied,
  EACCES: errors.PermissionDenied,
  ECONNREFUSED: errors.ConnectionRefused,
  ECONNRESET: errors.ConnectionReset,
  ECONNABORTED: errors.ConnectionAborted,
  ENOTCONN: errors.NotConnected,
  EADDRINUSE: errors.AddrInUse,
  EADDRNOTAVAIL: errors.AddrNotAvailable,
  EPIPE: errors.BrokenPipe,
  EEXIST: errors.AlreadyExists,
  ETIMEDOUT: errors.TimedOut,
  EINTR: errors.Interrupted,
  EINVAL: TypeError,
  ELOOP: errors.FilesystemLoop,
  EISDIR: errors.IsADirectory,
  ENETUNREACH: errors.NetworkUnreachable,
  ENOTDIR: errors.NotADirectory,
  EAGAIN: errors.WouldBlock,
};

/** The error with Deno's class and code for an error number's name; `what` is the whole message. */
export function errorOf(code: string, what: string): Error {
  return Object.assign(new (CLASSES[code] ?? Error)(what), { code });
}

/** "No such file or directory (os error 2)". */
export function osErrorText(code: string): string | null {
  const numbers: Readonly<Record<string, number>> = constants.errno;
  const number = numbers[code];
  return number === undefined ? null : `${errorText(number)} (os error ${number})`;
}

/** A system error as Deno's class for it, after "…: " the operation that failed, if any; other errors as they are. */
export function denoError(error: unknown, operation = ""): unknown {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return error;
  const during = operation === "" ? "" : `: ${operation}`;
  // What node: says about a path with a NUL in it, before any system call.
  if (error.code === "ERR_INVALID_ARG_VALUE" && error.message.includes("null bytes"))
    return errorOf("EINVAL", `file name contained an unexpected NUL byte${during}`);
  // Only what a system call said has a number; what was made here is Deno's error already.
  const text = "errno" in error ? osErrorText(error.code) : null;
  return text === null ? error : errorOf(error.code, `${text}${during}`);
}

/** Runs `work`; a system error becomes Deno's, and names the operation. */
export function translated<Result>(operation: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw denoError(error, operation);
  }
}

/** As `translated`, for promises. */
export async function translatedLater<Result>(
  operation: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw denoError(error, operation);
  }
}
