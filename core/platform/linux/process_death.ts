/** Notices the end of any process at once: pidfd_open(2), in the event loop. */
import { errnos } from "./errno.ts";
import { watchDescriptor } from "./event_descriptor.ts";
import { syscall } from "./libc.ts";

/** The same number on x86-64 and arm64. */
const SYS_pidfd_open = 434;

/**
 * Calls `onDeath` once when the process has ended (a zombie has). Null when there is no such process. Returns what stops the watch. One that lives and
 * cannot be watched (no descriptor is left, or the runtime refuses it) is not: its end must be found by looking.
 */
export function watchDeath(pid: number, onDeath: () => void): (() => void) | null {
  const fd = syscall(SYS_pidfd_open, pid);
  if (fd === -errnos.ESRCH) return null;
  if (fd < 0) return () => undefined;
  return watchDescriptor(fd, onDeath, (isRefused) => {
    if (!isRefused) onDeath();
  });
}
