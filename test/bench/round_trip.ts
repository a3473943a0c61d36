/**
 * How long a message and its answer take: `bun round_trip.ts answer PORT` on one side; `bun round_trip.ts ask ADDRESS PORT SECONDS` on the other
 * prints the median in microseconds.
 *
 * The sizes are those of a replicated write of 4 KiB and of its acknowledgement, and both sides sleep in poll(2), as the product does.
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
import { median } from "./report.ts";

const QUESTION = 64;
const ANSWER = 4096 + 128;
const PATIENCE_MS = 10_000;
const buffer = pinned(ANSWER);
const set = new PollSet(1);

/** Sleeps until the socket is ready. */
function ready(fd: number, events: number): void {
  set.clear();
  set.add(fd, events);
  if (set.wait(PATIENCE_MS) === 0 && events === POLLOUT) throw new Error("nobody answers");
}

/** Reads so many bytes. False at the end of the stream. */
function read(fd: number, length: number): boolean {
  for (let got = 0; got < length; ) {
    const count = receive(fd, buffer, got, length - got);
    if (count === -EAGAIN) ready(fd, POLLIN);
    else if (count <= 0) return false;
    else got += count;
  }
  return true;
}

/** Writes so many bytes; they always fit into the socket's buffer. */
function write(fd: number, length: number): void {
  const count = send(fd, buffer, 0, length);
  if (count !== length) throw new Error(`cannot send: ${count}`);
}

function answer(port: number): never {
  const listener = listenOn("0.0.0.0", port, 1);
  if (listener < 0) throw new Error(`cannot listen on port ${port}: errno ${-listener}`);
  for (;;) {
    ready(listener, POLLIN);
    const fd = acceptFrom(listener);
    if (fd < 0) continue;
    tuneConnection(fd, PATIENCE_MS);
    while (read(fd, QUESTION)) write(fd, ANSWER);
    closeSocket(fd);
  }
}

function ask(address: string, port: number, seconds: number): number {
  const fd = dialTo(address, port);
  if (fd < 0) throw new Error(`cannot connect: errno ${-fd}`);
  tuneConnection(fd, PATIENCE_MS);
  ready(fd, POLLOUT);
  const times: number[] = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const asked = performance.now();
    write(fd, QUESTION);
    if (!read(fd, ANSWER)) throw new Error("the connection was closed");
    times.push((performance.now() - asked) * 1000);
  }
  return median(times);
}

const [side, first = "", ...more] = process.argv.slice(2);
if (side === "answer") answer(Number(first));
console.log(ask(first, Number(more[0]), Number(more[1])));
