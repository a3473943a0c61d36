/**
 * Notices the end of any process at once: pidfd_open(2), and the descriptor in the event loop. Nothing is polled, no thread waits.
 *
 * The runtime's event loop waits for descriptors that it takes for sockets. A pidfd becomes readable when its process ends; the runtime then tries
 * to read, which a pidfd refuses, and says "closed": that is the news. It also closes the descriptor.
 */
import { close, syscall } from "./libc.ts";

/** The same number on x86-64 and arm64. */
const SYS_pidfd_open = 434;

/** `Bun.connect` on a descriptor that is open already: in the runtime, not in its types. */
interface Adopting {
  fd: number;
  socket: { data(): void; close(): void; error(): void };
}

/** Calls `onDeath` once when the process has ended (a zombie has). Null when there is no such process. Returns what stops the watch. */
export function watchDeath(pid: number, onDeath: () => void): (() => void) | null {
  const fd = syscall(SYS_pidfd_open, pid);
  if (fd < 0) return null;
  let isOver = false;
  const over = (): void => {
    if (isOver) return;
    isOver = true;
    onDeath();
  };
  const adopting: Adopting = { fd, socket: { data: over, close: over, error: over } };
  const connected = (Bun.connect as unknown as (options: Adopting) => Promise<{ terminate(): void }>)(
    adopting,
  );
  connected.catch(() => {
    close(fd);
    over();
  });
  return () => {
    isOver = true;
    void connected.then((socket) => socket.terminate()).catch(() => undefined);
  };
}
