/** Notices the end of any process at once: pidfd_open(2), in the event loop. */
import { watchDescriptor } from "./event_descriptor.ts";
import { syscall } from "./libc.ts";

/** The same number on x86-64 and arm64. */
const SYS_pidfd_open = 434;

/** Calls `onDeath` once when the process has ended (a zombie has). Null when there is no such process. Returns what stops the watch. */
export function watchDeath(pid: number, onDeath: () => void): (() => void) | null {
  const fd = syscall(SYS_pidfd_open, pid);
  return fd < 0 ? null : watchDescriptor(fd, onDeath, onDeath);
}
