/** A thread of the pool: sleeps until asked, makes one blocking call, says so, for ever. */
import {
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  PR_SET_IO_FLUSHER,
  STATX_BASIC_STATS,
  UMOUNT_NOFOLLOW,
} from "../../platform/linux/constants.ts";
import * as libc from "../../platform/linux/libc.ts";
import type { WorkerStart } from "./pool_slot.ts";
import {
  ADDRESS,
  ASKED,
  DONE,
  ENDING,
  FD,
  FREE,
  Job,
  KIND,
  LENGTH,
  OFFSET,
  RESULT,
  STATE,
} from "./pool_slot.ts";
import { warm } from "./pool_warm.ts";

declare const self: { onmessage: ((event: { data: WorkerStart }) => void) | null };

/** Makes the call that the slot describes. */
function perform(words: Int32Array, doubles: Float64Array, buffer: number): number {
  const fd = words[FD]!;
  const length = words[LENGTH]!;
  const address = doubles[ADDRESS]!;
  switch (words[KIND]) {
    case Job.FSYNC:
      return libc.fsync(fd);
    case Job.FDATASYNC:
      return libc.fdatasync(fd);
    case Job.READ:
      return readAll(fd, address === 0 ? buffer : address, length, doubles[OFFSET]!);
    case Job.WRITE:
      return libc.pwrite(fd, address, length, doubles[OFFSET]!);
    case Job.SYNCFS:
      return libc.syncfs(fd);
    case Job.UMOUNT:
      return libc.umountAt(address, UMOUNT_NOFOLLOW);
    case Job.SYNC_PATH:
      return syncPath(address);
    case Job.STAT_AT:
      return libc.statx(fd, address, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer);
    case Job.WARM:
      return warm(fd, address, length, buffer);
    case Job.CLOSE:
      return libc.close(fd);
    default:
      return -22;
  }
}

/** Fewer bytes than asked for mean the end of the file: a bad block only shortens the call that comes to it, and whoever asked would take that for the end. */
function readAll(fd: number, address: number, length: number, offset: number): number {
  let done = 0;
  while (done < length) {
    const count = libc.pread(fd, address + done, length - done, offset + done);
    if (count < 0) return count;
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** Writes out what is dirty in a mount, which is held open no longer than that takes. */
function syncPath(path: number): number {
  const fd = libc.openat(-100, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  const result = libc.syncfs(fd);
  libc.close(fd);
  return result;
}

self.onmessage = ({ data }): void => {
  const words = new Int32Array(data.shared);
  const doubles = new Float64Array(data.shared);
  // This thread writes back pages that a full machine waits for: it must not wait for them itself. Refused without CAP_SYS_RESOURCE.
  libc.prctl(PR_SET_IO_FLUSHER, 1);
  if (data.apart) libc.keepOnly(data.eventFd, data.wakeFd);
  Atomics.store(words, STATE, FREE);
  Atomics.notify(words, STATE);
  for (;;) {
    let state = Atomics.load(words, STATE);
    for (; state !== ASKED && state !== ENDING; state = Atomics.load(words, STATE))
      libc.drainEvent(data.wakeFd);
    if (state === ENDING) return;
    words[RESULT] = perform(words, doubles, data.buffer);
    Atomics.store(words, STATE, DONE);
    libc.signalEvent(data.eventFd);
  }
};
