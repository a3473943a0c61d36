/**
 * Sockets that speak to the kernel or to the wire itself: netlink and packet sockets, one datagram at a time.
 */
import { check } from "./errno.ts";
import { allocate, bind, close, poll, readFd, release, setsockopt, socket, writeFd } from "./libc.ts";
import type { Memory } from "./memory.ts";

export const AF_NETLINK = 16;
export const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const POLLIN = 1;
const EAGAIN = 11;
/** Large enough for what the kernel puts into one netlink datagram. */
const BUFFER_BYTES = 64 * 1024;

/** A non-blocking datagram socket with a buffer of its own. */
export class KernelSocket {
  readonly #fd: number;
  readonly #buffer: Memory = allocate(BUFFER_BYTES);

  /** Throws a SystemError that begins with `what` when the kernel refuses. */
  constructor(family: number, protocol: number, what: string) {
    this.#fd = check(socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol), what);
  }

  /** Binds to a socket address given as bytes. Throws. */
  bind(address: Uint8Array, what: string): void {
    this.#buffer.bytes.set(address);
    check(bind(this.#fd, this.#buffer.address, address.length), what);
  }

  /** Sets an integer option. Returns 0 or -errno: options are wishes. */
  option(level: number, name: number, value: number): number {
    this.#buffer.view.setInt32(0, value, true);
    return setsockopt(this.#fd, level, name, this.#buffer.address, 4);
  }

  /** Sends one datagram. Throws. */
  send(bytes: Uint8Array, what: string): void {
    this.#buffer.bytes.set(bytes);
    check(writeFd(this.#fd, this.#buffer.address, bytes.length), what);
  }

  /** The next datagram, a copy; null when none comes within `waitMs`. Throws on any other failure. */
  receive(waitMs: number, what: string): Uint8Array | null {
    if (waitMs > 0) {
      this.#buffer.view.setInt32(0, this.#fd, true);
      this.#buffer.view.setUint32(4, POLLIN, true);
      poll(this.#buffer.address, 1, waitMs);
    }
    const length = readFd(this.#fd, this.#buffer.address, BUFFER_BYTES);
    if (length === -EAGAIN) return null;
    return this.#buffer.bytes.slice(0, check(length, what));
  }

  close(): void {
    close(this.#fd);
    release(this.#buffer);
  }
}
