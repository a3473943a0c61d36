/**
 * A connection for one process that has nothing else to do: it sleeps in poll(2) until what it waits for is there, as the product does.
 */
import {
  acceptFrom,
  closeSocket,
  dialTo,
  EAGAIN,
  listenOn,
  POLLIN,
  POLLOUT,
  PollSet,
  pinned,
  receive,
  send,
  tuneConnection,
} from "../../core/platform/linux/sockets.ts";

const PATIENCE_MS = 10_000;
const set = new PollSet(1);

/** The longest message, bytes: a write of 4 KiB and what belongs to it. */
export const LONG = 4096 + 128;
/** Its acknowledgement, bytes. */
export const SHORT = 64;
/** What is sent, and where what comes is put. */
export const buffer = pinned(LONG);

/** Sleeps until the socket is ready; false when nothing happened for ten seconds. */
function ready(fd: number, events: number): boolean {
  set.clear();
  set.add(fd, events);
  return set.wait(PATIENCE_MS) > 0;
}

/** Connects; throws when nobody answers. */
export function dial(address: string, port: number): number {
  const fd = dialTo(address, port);
  if (fd < 0) throw new Error(`cannot connect to port ${port}: errno ${-fd}`);
  tuneConnection(fd, PATIENCE_MS);
  if (!ready(fd, POLLOUT)) throw new Error(`nobody answers on port ${port}`);
  return fd;
}

/** Takes connections, one after the other, for as long as somebody asks. */
export function* connections(port: number): Generator<number, never> {
  const listener = listenOn("0.0.0.0", port, 1);
  if (listener < 0) throw new Error(`cannot listen on port ${port}: errno ${-listener}`);
  for (;;) {
    ready(listener, POLLIN);
    const fd = acceptFrom(listener);
    if (fd < 0) continue;
    tuneConnection(fd, PATIENCE_MS);
    yield fd;
    closeSocket(fd);
  }
}

/** Reads so many bytes. False at the end of the stream. */
export function read(fd: number, length: number): boolean {
  for (let got = 0; got < length; ) {
    const count = receive(fd, buffer, got, length - got);
    if (count === -EAGAIN) ready(fd, POLLIN);
    else if (count <= 0) return false;
    else got += count;
  }
  return true;
}

/** Writes so many bytes; they always fit into the socket's buffer. */
export function write(fd: number, length: number): void {
  const count = send(fd, buffer, 0, length);
  if (count !== length) throw new Error(`cannot send: ${count}`);
}
