/** Error numbers of Linux, their names, and the error that a person reads. */

/** Numbers as in asm-generic/errno.h: the same on every architecture that we build for. */
export const errnos = {
  EPERM: 1, ENOENT: 2, ESRCH: 3, EINTR: 4, EIO: 5, ENXIO: 6, E2BIG: 7, EBADF: 9, ECHILD: 10, EAGAIN: 11,
  ENOMEM: 12, EACCES: 13, EFAULT: 14, EBUSY: 16, EEXIST: 17, EXDEV: 18, ENODEV: 19, ENOTDIR: 20, EISDIR: 21,
  EINVAL: 22, ENFILE: 23, EMFILE: 24, ENOTTY: 25, ETXTBSY: 26, EFBIG: 27, ENOSPC: 28, ESPIPE: 29, EROFS: 30,
  EMLINK: 31, EPIPE: 32, ERANGE: 34, EDEADLK: 35, ENAMETOOLONG: 36, ENOSYS: 38, ENOTEMPTY: 39, ELOOP: 40,
  ENODATA: 61, EBADMSG: 74, EOVERFLOW: 75, ENOTSOCK: 88, EMSGSIZE: 90, EOPNOTSUPP: 95, EAFNOSUPPORT: 97, EADDRINUSE: 98,
  EADDRNOTAVAIL: 99, ENETDOWN: 100, ENETUNREACH: 101, ECONNABORTED: 103, ECONNRESET: 104, ENOBUFS: 105, ENOTCONN: 107,
  ETIMEDOUT: 110, ECONNREFUSED: 111, EHOSTUNREACH: 113, EALREADY: 114, EINPROGRESS: 115, ESTALE: 116, EUCLEAN: 117, EDQUOT: 122,
} as const; // biome-ignore format: a table

const names = new Map<number, string>(Object.entries(errnos).map(([name, number]) => [number, name]));

/** `ENOSPC` for 28; `errno 200` for a number without a name here. Takes either sign. */
export function errnoName(errno: number): string {
  const number = Math.abs(errno);
  return names.get(number) ?? `errno ${number}`;
}

/** Does this result (-errno) of opening or listing say that the object is not there, rather than that the disk does not give it? */
export function isAbsent(result: number): boolean {
  const { ENOENT, ENOTDIR, ELOOP, ESTALE } = errnos;
  return result === -ENOENT || result === -ENOTDIR || result === -ELOOP || result === -ESTALE;
}

/** Does this result (-errno) of a change say something about the disk, rather than about what was to be changed? */
export function isDiskFault(result: number): boolean {
  const { EIO, ENOSPC, EROFS, EDQUOT, EBADMSG, EUCLEAN } = errnos;
  return [EIO, ENOSPC, EROFS, EDQUOT, EBADMSG, EUCLEAN].some((known) => result === -known);
}

/** Does this result (-errno) of a change say that a copy is not what it should be? The disk is not at fault then. */
export function isDisagreement(result: number): boolean {
  const { ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, ESTALE } = errnos;
  return [ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, ESTALE].some((known) => result === -known);
}

/** A system call failed and the caller cannot go on. `errno` is positive. */
export class SystemError extends Error {
  constructor(
    readonly errno: number,
    /** What was tried, where, and what to do: a sentence without the errno's name. */
    what: string,
  ) {
    super(`${what}: ${errnoName(errno)}`);
    this.name = "SystemError";
  }
  /** The errno's name. */
  get code(): string {
    return errnoName(this.errno);
  }
}

/** Returns `result`, or throws a SystemError that begins with `what` when it is a negative error number. */
export function check(result: number, what: string): number {
  if (result < 0) throw new SystemError(-result, what);
  return result;
}
