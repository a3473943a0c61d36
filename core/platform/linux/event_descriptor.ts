/**
 * A descriptor of the kernel's in the runtime's event loop: nothing is polled, no thread waits.
 *
 * The runtime waits for any pollable descriptor that it takes for a connected socket, and reads from it when it is readable. Datagram sockets give
 * their datagrams; a pidfd refuses to be read, which ends the "connection": that is the news. What ended, or is stopped, is closed.
 */
import { close } from "./libc.ts";

/** `Bun.connect` on a descriptor that is open already: in the runtime, not in its types. */
type Adopt = (options: {
  fd: number;
  socket: { data(socket: unknown, bytes: Uint8Array): void; close(): void; error(): void };
}) => Promise<{ terminate(): void }>;

/**
 * Watches `fd`, which belongs to this watch from now on. `onEnd` is not called after the returned function was, which stops it. `isRefused`: the
 * runtime does not take this descriptor, and would not take the next one: nothing has ended.
 */
export function watchDescriptor(
  fd: number,
  onData: (bytes: Uint8Array) => void,
  onEnd: (isRefused: boolean) => void,
): () => void {
  let isOver = false;
  const end = (isRefused: boolean): void => {
    if (isOver) return;
    isOver = true;
    onEnd(isRefused);
  };
  const ended = (): void => end(false);
  const data = (_: unknown, bytes: Uint8Array): void => {
    if (!isOver) onData(bytes);
  };
  const adopt = Bun.connect as unknown as Adopt;
  const connected = (async () => await adopt({ fd, socket: { data, close: ended, error: ended } }))();
  connected.catch(() => {
    close(fd);
    end(true);
  });
  return () => {
    isOver = true;
    void connected.then((socket) => socket.terminate()).catch(() => undefined);
  };
}
