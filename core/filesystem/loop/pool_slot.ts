/** How the loop and a pool thread talk: one stretch of shared memory for each thread, as 32-bit words. */

/** STARTING until the thread runs, FREE, ASKED or ENDING by the loop, DONE by the thread. */
export const STATE = 0;
export const KIND = 1;
export const FD = 2;
export const LENGTH = 3;
export const RESULT = 4;
/** 64-bit floats, as indices into the same memory seen as doubles. */
export const OFFSET = 4;
export const ADDRESS = 5;
export const SLOT_BYTES = 64;

/* States of a slot. */
export const FREE = 0;
export const ASKED = 1;
export const DONE = 2;
/** Before the thread runs. */
export const STARTING = 3;
/** The thread shall end. */
export const ENDING = 4;

/** What a thread can do. Results are the call's, or -errno. */
export const Job = {
  /** fsync(fd) */
  FSYNC: 1,
  /** fdatasync(fd) */
  FDATASYNC: 2,
  /** pread(fd, the thread's buffer or `address`, length, offset), again where it was short of the end of the file */
  READ: 3,
  /** pwrite(fd, `address`, length, offset) */
  WRITE: 4,
  /** syncfs(fd) */
  SYNCFS: 5,
  /** umount2(the path at `address`, 0) */
  UMOUNT: 6,
  /** open, syncfs and close the directory whose path is at `address` */
  SYNC_PATH: 7,
  /** statx of the name at `address` in the directory `fd`, into the thread's buffer */
  STAT_AT: 8,
  /** bring the object called by the name at `address` in the directory `fd`, and its first `length` bytes, into memory */
  WARM: 9,
  /** close(fd): the last descriptor of a large file frees what it had on the disk */
  CLOSE: 10,
} as const;

/** What a new thread is told. */
export interface WorkerStart {
  shared: SharedArrayBuffer;
  eventFd: number;
  /** The thread sleeps in a read of this eventfd: one call wakes it, where Atomics.wait takes three. */
  wakeFd: number;
  /** The thread's own buffer. */
  buffer: number;
  /** The thread shares no descriptors: its jobs are those that name paths. */
  apart: boolean;
}
