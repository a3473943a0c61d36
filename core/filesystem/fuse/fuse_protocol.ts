/**
 * The FUSE kernel protocol, version 7.45: numbers and places of include/uapi/linux/fuse.h.
 *
 * Offsets of requests count from the start of the message, header included; offsets of replies from the start of their
 * payload, which begins REPLY_HEADER bytes into the reply buffer.
 */

export const FUSE_MAJOR = 7;
export const FUSE_MINOR = 45;

/** Operations that the server knows by name. All others are answered ENOSYS, after which the kernel stops asking. */
export const Op = {
  LOOKUP: 1, FORGET: 2, GETATTR: 3, SETATTR: 4, READLINK: 5, SYMLINK: 6, MKNOD: 8, MKDIR: 9, UNLINK: 10, RMDIR: 11,
  RENAME: 12, LINK: 13, OPEN: 14, READ: 15, WRITE: 16, STATFS: 17, RELEASE: 18, FSYNC: 20, SETXATTR: 21,
  GETXATTR: 22, LISTXATTR: 23, REMOVEXATTR: 24, FLUSH: 25, INIT: 26, OPENDIR: 27, READDIR: 28, RELEASEDIR: 29,
  FSYNCDIR: 30, CREATE: 35, INTERRUPT: 36, DESTROY: 38, IOCTL: 39, BATCH_FORGET: 42, FALLOCATE: 43,
  READDIRPLUS: 44, RENAME2: 45, SYNCFS: 50, TMPFILE: 51, STATX: 52,
} as const; // biome-ignore format: a table

/** The request header: length, opcode, unique (two words), node (two words), uid, gid, pid. */
export const IN_OPCODE = 4;
export const IN_UID = 24;
export const IN_GID = 28;
export const REPLY_HEADER = 16;
/** Index of the low word of `unique` and of the node in the request, as 32-bit words. */
export const IN_UNIQUE_WORD = 2;
export const IN_NODE_WORD = 4;

/** Bits of INIT's `flags`. */
export const Init = {
  ASYNC_READ: 1, EXPORT_SUPPORT: 1 << 4, BIG_WRITES: 1 << 5, DONT_MASK: 1 << 6, HAS_IOCTL_DIR: 1 << 11,
  DO_READDIRPLUS: 1 << 13, READDIRPLUS_AUTO: 1 << 14, ASYNC_DIO: 1 << 15, WRITEBACK_CACHE: 1 << 16,
  PARALLEL_DIROPS: 1 << 18, POSIX_ACL: 1 << 20, ABORT_ERROR: 1 << 21, MAX_PAGES: 1 << 22, CACHE_SYMLINKS: 1 << 23,
  EXPLICIT_INVAL_DATA: 1 << 25, HANDLE_KILLPRIV_V2: 1 << 28, SETXATTR_EXT: 1 << 29, INIT_EXT: 1 << 30,
} as const; // biome-ignore format: a table
/** Bits of INIT's `flags2`: those from 32 on. */
export const INIT2_HAS_RESEND = 1 << 7;

/** Bits of SETATTR's `valid`. The first six are also the replicator's. */
export const Fattr = {
  MODE: 1, UID: 2, GID: 4, SIZE: 8, ATIME: 16, MTIME: 32, ATIME_NOW: 128, MTIME_NOW: 256, KILL_SUIDGID: 2048,
} as const; // biome-ignore format: a table

/* Flags of single requests, and the number of a notification. */
export const WRITE_FROM_CACHE = 1;
export const WRITE_KILL_SUIDGID = 4;
export const FSYNC_DATA_ONLY = 1;
export const SETXATTR_ACL_KILL_SGID = 1;
export const NOTIFY_RESEND = 7;

/** Sizes of replies, and where an answer to GETATTR has its 88-byte `fuse_attr`. */
export const ENTRY_SIZE = 128;
export const ATTR_ATTR = 16;
export const ATTR_SIZE = 104;
export const OPEN_SIZE = 16;
export const DIRENT_HEADER = 24;

/** "For ever", as the high word of seconds: nobody else changes the directory, so the kernel's caches never age. */
export const FOREVER_HIGH = 1;

/** The largest WRITE and READ, bytes. */
export const MAX_TRANSFER = 1 << 20;
