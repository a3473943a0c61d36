/**
 * Non-blocking sockets and poll(2) for processes that run no event loop.
 *
 * Every call returns a count, a descriptor, or a negative errno: on the data path a refusal is an answer, not an exception.
 * Buffers must be made with `pinned`, since only their storage stays where its pointer says.
 */
import { dlopen, FFIType, type Pointer, ptr, read } from "bun:ffi";
import { isIPv4, isIPv6 } from "node:net";

const symbols = {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  recv: { args: ["i32", FFIType.u64_fast, FFIType.u64_fast, "i32"], returns: FFIType.i64_fast },
  send: { args: ["i32", FFIType.u64_fast, FFIType.u64_fast, "i32"], returns: FFIType.i64_fast },
  poll: { args: ["ptr", FFIType.u64_fast, "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

/** glibc, else musl. */
function load(): ReturnType<typeof dlopen<typeof symbols>>["symbols"] {
  try {
    return dlopen("libc.so.6", symbols).symbols;
  } catch {
    return dlopen(`libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`, symbols).symbols;
  }
}

const libc = load();

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_USER_TIMEOUT = 18;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const MSG_NOSIGNAL = 0x4000;

export const EAGAIN = 11;
export const EINPROGRESS = 115;
export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 16;

const errnoAt = libc.__errno_location() as Pointer;
const negativeErrno = (): number => -read.i32(errnoAt, 0);

/** A byte array whose pointer stays valid for as long as the array is referenced. */
export interface Pinned {
  readonly bytes: Uint8Array;
  readonly address: number;
}

/** Allocates `length` bytes that the kernel may be given the address of. */
export function pinned(length: number): Pinned {
  const bytes = new Uint8Array(new ArrayBuffer(length));
  return { bytes, address: Number(ptr(bytes)) };
}

const option = pinned(4);
const optionLength = pinned(4);

function setOption(fd: number, level: number, name: number, value: number): void {
  new DataView(option.bytes.buffer).setInt32(0, value, true);
  libc.setsockopt(fd, level, name, ptr(option.bytes), 4);
}

/** The 16 bytes of an IPv6 address without zone. */
function ipv6Bytes(address: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const [head = "", tail] = address.split("::") as [string?, string?];
  const words = (text: string): number[] =>
    text === ""
      ? []
      : text.split(":").flatMap((part) => {
          if (!part.includes(".")) return [Number.parseInt(part, 16)];
          const [a = 0, b = 0, c = 0, d = 0] = part.split(".").map(Number);
          return [a * 256 + b, c * 256 + d];
        });
  const first = words(head);
  const last = tail === undefined ? [] : words(tail);
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  all.forEach((word, index) => {
    bytes[index * 2] = word >> 8;
    bytes[index * 2 + 1] = word & 255;
  });
  return bytes;
}

/** A sockaddr for a numeric address. Throws when `address` is not numeric. */
function socketAddress(address: string, port: number): { family: number; bytes: Uint8Array } {
  if (isIPv4(address)) {
    const bytes = new Uint8Array(new ArrayBuffer(16));
    const view = new DataView(bytes.buffer);
    view.setUint16(0, AF_INET, true);
    view.setUint16(2, port);
    bytes.set(address.split(".").map(Number), 4);
    return { family: AF_INET, bytes };
  }
  if (isIPv6(address)) {
    const bytes = new Uint8Array(new ArrayBuffer(28));
    const view = new DataView(bytes.buffer);
    view.setUint16(0, AF_INET6, true);
    view.setUint16(2, port);
    bytes.set(ipv6Bytes(address), 8);
    return { family: AF_INET6, bytes };
  }
  throw new Error(`${address}: not a numeric IP address; replication addresses come from cluster.yaml`);
}

/** Listens on a numeric address. Returns a descriptor or a negative errno. */
export function listenOn(address: string, port: number, backlog: number): number {
  const { family, bytes } = socketAddress(address, port);
  const fd = libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return negativeErrno();
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family === AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  // Buffers of a listening socket are inherited: set after accept, the window scale would already be fixed.
  growBuffers(fd);
  if (libc.bind(fd, ptr(bytes), bytes.length) < 0 || libc.listen(fd, backlog) < 0) {
    const error = negativeErrno();
    libc.close(fd);
    return error;
  }
  return fd;
}

/** The port that a listening socket got: for listeners on port 0. */
export function portOf(fd: number): number {
  const bytes = new Uint8Array(new ArrayBuffer(28));
  new DataView(optionLength.bytes.buffer).setUint32(0, 28, true);
  libc.getsockname(fd, ptr(bytes), ptr(optionLength.bytes));
  return new DataView(bytes.buffer).getUint16(2);
}

/** Takes a waiting connection. Returns a non-blocking descriptor or a negative errno. */
export function acceptFrom(fd: number): number {
  const accepted = libc.accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return accepted < 0 ? negativeErrno() : accepted;
}

/** Begins to connect over TCP. Returns a descriptor, writable once connected (then ask `connectError`), or a negative errno. */
export function dialTo(address: string, port: number): number {
  const { family, bytes } = socketAddress(address, port);
  const fd = libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return negativeErrno();
  growBuffers(fd);
  if (libc.connect(fd, ptr(bytes), bytes.length) < 0) {
    const error = negativeErrno();
    if (error !== -EINPROGRESS) {
      libc.close(fd);
      return error;
    }
  }
  return fd;
}

/** Connects to a Unix socket. Returns a non-blocking descriptor or a negative errno. */
export function connectUnix(path: string): number {
  const name = new TextEncoder().encode(path);
  if (name.length > 107) return -36;
  const bytes = new Uint8Array(new ArrayBuffer(110));
  bytes[0] = AF_UNIX;
  bytes.set(name, 2);
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return negativeErrno();
  if (libc.connect(fd, ptr(bytes), name.length + 3) < 0) {
    const error = negativeErrno();
    libc.close(fd);
    return error;
  }
  return fd;
}

function growBuffers(fd: number): void {
  setOption(fd, SOL_SOCKET, SO_SNDBUF, 4 << 20);
  setOption(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);
}

/** A replication connection: no delay for small messages, and given up when nothing is acknowledged for `timeoutMs`. */
export function tuneConnection(fd: number, timeoutMs: number): void {
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, timeoutMs);
}

/** How a connection attempt ended: 0 or a positive errno. */
export function connectError(fd: number): number {
  new DataView(optionLength.bytes.buffer).setUint32(0, 4, true);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, ptr(option.bytes), ptr(optionLength.bytes)) < 0)
    return -negativeErrno();
  return new DataView(option.bytes.buffer).getInt32(0, true);
}

/** Receives into `buffer` from `offset`. Returns bytes, 0 at the end of the stream, or a negative errno. */
export function receive(fd: number, buffer: Pinned, offset: number, length: number): number {
  const count = Number(libc.recv(fd, buffer.address + offset, length, 0));
  return count < 0 ? negativeErrno() : count;
}

/** Sends from `buffer`. Returns the bytes taken or a negative errno; never raises SIGPIPE. */
export function send(fd: number, buffer: Pinned, offset: number, length: number): number {
  const count = Number(libc.send(fd, buffer.address + offset, length, MSG_NOSIGNAL));
  return count < 0 ? negativeErrno() : count;
}

/** Closes a socket. */
export function closeSocket(fd: number): void {
  libc.close(fd);
}

/** The descriptors of one poll(2) call, laid out for the kernel; filled afresh before each wait, without allocation. */
export class PollSet {
  readonly #array: Int32Array;
  readonly #address: Pointer;
  readonly #bytes: Uint8Array;
  #count = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(new ArrayBuffer(capacity * 8));
    this.#array = new Int32Array(this.#bytes.buffer);
    this.#address = ptr(this.#bytes);
  }

  /** Forgets all descriptors. */
  clear(): void {
    this.#count = 0;
  }

  /** Adds a descriptor; returns its place for `ready`. */
  add(fd: number, events: number): number {
    const place = this.#count++;
    this.#array[place * 2] = fd;
    this.#array[place * 2 + 1] = events;
    return place;
  }

  /** Waits up to `timeoutMs` (-1: for ever). Returns how many are ready; an interrupted wait counts as none. */
  wait(timeoutMs: number): number {
    const ready = libc.poll(this.#address, this.#count, timeoutMs);
    if (ready >= 0) return ready;
    for (let place = 0; place < this.#count; place++) this.#array[place * 2 + 1]! &= 0xffff;
    return 0;
  }

  /** What happened to the descriptor at `place`: POLL* bits. */
  ready(place: number): number {
    return place < 0 ? 0 : this.#array[place * 2 + 1]! >>> 16;
  }
}
