/** `Deno.errors`: the system's error numbers as the classes that scripts catch. */
import { constants } from "node:os";

function errorClass(name: string): new (message?: string, options?: ErrorOptions) => Error {
  const made = class extends Error {
    override name = name;
  };
  Object.defineProperty(made, "name", { value: name });
  return made;
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
  WouldBlock: errorClass("WouldBlock"),
};

const BY_CODE: Readonly<Record<string, keyof typeof errors>> = {
  ENOENT: "NotFound",
  ESRCH: "NotFound",
  EPERM: "PermissionDenied",
  EACCES: "PermissionDenied",
  ECONNREFUSED: "ConnectionRefused",
  ECONNRESET: "ConnectionReset",
  ECONNABORTED: "ConnectionAborted",
  ENOTCONN: "NotConnected",
  EADDRINUSE: "AddrInUse",
  EADDRNOTAVAIL: "AddrNotAvailable",
  EPIPE: "BrokenPipe",
  EEXIST: "AlreadyExists",
  ETIMEDOUT: "TimedOut",
  EINTR: "Interrupted",
  EBADF: "BadResource",
  EBUSY: "Busy",
  ENOSYS: "NotSupported",
  ELOOP: "FilesystemLoop",
  EISDIR: "IsADirectory",
  ENETUNREACH: "NetworkUnreachable",
  ENOTDIR: "NotADirectory",
  EAGAIN: "WouldBlock",
};

/** A system error as Deno's class for it (with its code); other errors as they are. */
export function denoError(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return error;
  const { code } = error;
  const numbers: Readonly<Record<string, number>> = constants.errno;
  const name = BY_CODE[code];
  const message = error.message.replace(/^[A-Z0-9]+: /, "");
  const text = numbers[code] === undefined ? message : `${message} (os error ${numbers[code]})`;
  const made =
    name === undefined ? new Error(text, { cause: error }) : new errors[name](text, { cause: error });
  return Object.assign(made, { code });
}

/** Runs `work`; a system error becomes Deno's. */
export function translated<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw denoError(error);
  }
}

/** As `translated`, for promises. */
export async function translatedLater<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw denoError(error);
  }
}
