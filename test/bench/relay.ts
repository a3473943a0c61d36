/**
 * A link of a certain length: `bun relay.ts CONTROL_PORT LISTEN_PORT=ADDRESS:PORT…` passes TCP connections on, each byte half of the delay
 * after it came, in both directions, so that the delay is added to a round trip.
 *
 * The delay is changed while connections live: who connects to CONTROL_PORT sends microseconds and a newline, and is answered `ok`. It sleeps until something
 * is due: timerfd_create(2) has no slack, where poll(2) has a resolution of 1 ms. What it costs itself is measured by who uses it.
 */
import { dlopen } from "bun:ffi";
import {
  acceptFrom,
  closeSocket,
  connectError,
  dialTo,
  EAGAIN,
  listenOn,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  PollSet,
  pinned,
  receive,
  send,
  tuneConnection,
} from "../../core/platform/linux/sockets.ts";

const CLOCK_MONOTONIC = 1;
const TFD_NONBLOCK_CLOEXEC = 0o2004000;
/** More than a second's worth of a slow link, and 4 GB/s over 1 ms. */
const BUFFER = 8 << 20;
const MOST_AT_ONCE = 256 << 10;
const MOST_CHUNKS = 8192;
const BACKLOG = 16;
const PEER_TIMEOUT_MS = 60_000;

const libc = dlopen("libc.so.6", {
  timerfd_create: { args: ["i32", "i32"], returns: "i32" },
  timerfd_settime: { args: ["i32", "i32", "ptr", "ptr"], returns: "i32" },
}).symbols;

/** Becomes readable when it is time. */
class Alarm {
  readonly fd = libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK_CLOEXEC);
  /** struct itimerspec: an interval of nothing, and the time until it goes off. */
  readonly #setting = new BigInt64Array(new ArrayBuffer(32));
  #at = Number.POSITIVE_INFINITY;

  /** True while it is to be polled. */
  get isSet(): boolean {
    return this.#at !== Number.POSITIVE_INFINITY;
  }

  /** `at`: ms of performance.now(); Infinity: never. */
  set(at: number): void {
    if (at === this.#at) return;
    this.#at = at;
    const nanoseconds = this.isSet ? Math.max(1, Math.round((at - performance.now()) * 1e6)) : 0;
    this.#setting[2] = BigInt(Math.floor(nanoseconds / 1e9));
    this.#setting[3] = BigInt(nanoseconds % 1e9);
    libc.timerfd_settime(this.fd, 0, this.#setting, null);
  }
}

/** One direction of a connection: what came, and when it may leave. Throws what ends the connection. */
class Direction {
  readonly #ring = pinned(BUFFER);
  readonly #ends = new Float64Array(MOST_CHUNKS);
  readonly #dues = new Float64Array(MOST_CHUNKS);
  #firstChunk = 0;
  #nextChunk = 0;
  #received = 0;
  #sent = 0;
  #blocked = false;
  #ended = false;

  constructor(
    readonly from: number,
    readonly to: number,
  ) {}

  get reads(): boolean {
    return (
      !this.#ended && this.#received - this.#sent < BUFFER && this.#nextChunk - this.#firstChunk < MOST_CHUNKS
    );
  }

  get writes(): boolean {
    return this.#blocked;
  }

  /** True when all that came before the end has been passed on. */
  get isOver(): boolean {
    return this.#ended && this.#sent === this.#received;
  }

  /** When the next bytes may leave; Infinity when there are none, or when the other side does not take them. */
  get dueAt(): number {
    if (this.#blocked || this.#firstChunk === this.#nextChunk) return Number.POSITIVE_INFINITY;
    return this.#dues[this.#firstChunk % MOST_CHUNKS]!;
  }

  /** Takes what is there; `delay` in ms. */
  receive(delay: number): void {
    const at = this.#received % BUFFER;
    const room = Math.min(BUFFER - at, BUFFER - (this.#received - this.#sent), MOST_AT_ONCE);
    const count = receive(this.from, this.#ring, at, room);
    if (count === -EAGAIN) return;
    if (count < 0) throw new Error(`receiving failed: errno ${-count}`);
    if (count === 0) {
      this.#ended = true;
      return;
    }
    this.#received += count;
    const chunk = this.#nextChunk++ % MOST_CHUNKS;
    this.#ends[chunk] = this.#received;
    this.#dues[chunk] = performance.now() + delay;
  }

  /** Passes on what is due. */
  send(): void {
    this.#blocked = false;
    while (this.#firstChunk < this.#nextChunk && this.dueAt <= performance.now()) {
      const at = this.#sent % BUFFER;
      const end = this.#ends[this.#firstChunk % MOST_CHUNKS]!;
      const count = send(this.to, this.#ring, at, Math.min(BUFFER - at, end - this.#sent));
      if (count === -EAGAIN) {
        this.#blocked = true;
        return;
      }
      if (count < 0) throw new Error(`sending failed: errno ${-count}`);
      this.#sent += count;
      if (this.#sent === end) this.#firstChunk++;
    }
  }
}

/** A connection and its other half. */
class Pair {
  readonly #there: Direction;
  readonly #back: Direction;
  #connecting = true;
  #places = { near: -1, far: -1 };

  constructor(
    readonly near: number,
    readonly far: number,
  ) {
    this.#there = new Direction(near, far);
    this.#back = new Direction(far, near);
    for (const fd of [near, far]) tuneConnection(fd, PEER_TIMEOUT_MS);
  }

  poll(set: PollSet): void {
    if (this.#connecting) {
      this.#places = { near: -1, far: set.add(this.far, POLLOUT) };
      return;
    }
    const events = (incoming: Direction, outgoing: Direction): number =>
      (incoming.reads ? POLLIN : 0) | (outgoing.writes ? POLLOUT : 0);
    this.#places = {
      near: set.add(this.near, events(this.#there, this.#back)),
      far: set.add(this.far, events(this.#back, this.#there)),
    };
  }

  get dueAt(): number {
    return Math.min(this.#there.dueAt, this.#back.dueAt);
  }

  /** Serves both directions after poll(2). Returns false when the connection has ended, in both at once. */
  serve(set: PollSet, delay: number): boolean {
    const near = set.ready(this.#places.near);
    const far = set.ready(this.#places.far);
    try {
      if (this.#connecting) {
        if (far === 0) return true;
        if (connectError(this.far) !== 0) throw new Error("refused");
        this.#connecting = false;
        return true;
      }
      const came = POLLIN | POLLERR | POLLHUP;
      if (near & came && this.#there.reads) this.#there.receive(delay);
      if (far & came && this.#back.reads) this.#back.receive(delay);
      if (far & POLLOUT || this.#there.dueAt !== Number.POSITIVE_INFINITY) this.#there.send();
      if (near & POLLOUT || this.#back.dueAt !== Number.POSITIVE_INFINITY) this.#back.send();
    } catch {
      return false;
    }
    return !this.#there.isOver && !this.#back.isOver;
  }

  close(): void {
    closeSocket(this.near);
    closeSocket(this.far);
  }
}

/** Listens on `port`, of every address. */
function listener(port: number): number {
  const fd = listenOn("0.0.0.0", port, BACKLOG);
  if (fd < 0) throw new Error(`cannot listen on port ${port}: errno ${-fd}`);
  return fd;
}

const [control = "", ...ways] = process.argv.slice(2);
const listeners = ways.map((way) => {
  const [port, address, targetPort] = way.split(/[=:]/);
  return { fd: listener(Number(port)), address: address!, port: Number(targetPort) };
});
const controlFd = listener(Number(control));
const orders = pinned(64);
const controllers: number[] = [];
let pairs: Pair[] = [];
/** Of one direction, ms. */
let delay = 0;

/** Takes the new delay. */
function obey(fd: number): void {
  const count = receive(fd, orders, 0, orders.bytes.length);
  if (count === -EAGAIN) return;
  if (count > 0) {
    delay = Number(Buffer.from(orders.bytes.subarray(0, count)).toString()) / 2000;
    orders.bytes.set(Buffer.from("ok\n"));
    send(fd, orders, 0, 3);
  }
  closeSocket(fd);
  controllers.splice(controllers.indexOf(fd), 1);
}

const set = new PollSet(256);
const alarm = new Alarm();
console.log("ready");
for (;;) {
  set.clear();
  const accepting = [...listeners.map(({ fd }) => fd), controlFd].map((fd) => set.add(fd, POLLIN));
  const ordering = controllers.map((fd) => [fd, set.add(fd, POLLIN)] as const);
  let due = Number.POSITIVE_INFINITY;
  for (const pair of pairs) {
    pair.poll(set);
    due = Math.min(due, pair.dueAt);
  }
  alarm.set(due);
  if (alarm.isSet) set.add(alarm.fd, POLLIN);
  set.wait(-1);
  for (const pair of pairs) {
    if (pair.serve(set, delay)) continue;
    pair.close();
    pairs = pairs.filter((other) => other !== pair);
  }
  for (const [fd, place] of ordering) if (set.ready(place) !== 0) obey(fd);
  for (const [i, place] of accepting.entries()) {
    if (set.ready(place) === 0) continue;
    const way = listeners[i];
    const near = acceptFrom(way?.fd ?? controlFd);
    if (near < 0) continue;
    const far = way === undefined ? null : dialTo(way.address, way.port);
    if (far === null) controllers.push(near);
    else if (far < 0) closeSocket(near);
    else pairs.push(new Pair(near, far));
  }
}
