/** SECOND: whom it dials, and how it backs off when nobody answers or the copy cannot follow. */
import { dialTo } from "../../platform/linux/sockets.ts";
import type { Host } from "../host.ts";
import { Link, type LinkOwner } from "../stream/link.ts";

const DIAL_FIRST = 50;
const DIAL_MOST = 2000;
/** After an operation that could not be applied: the cause may go away, hammering will not help it. */
const DIAL_AFTER_FAILURE = 10_000;

/** See the top of the file. */
export class Dialer {
  readonly #host: Host;
  #dueAt = 0;
  #delay = DIAL_FIRST;
  #address = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  /** When to dial next; Infinity: there is nobody to dial. */
  get dueAt(): number {
    return this.#host.config.dial.length === 0 ? Number.POSITIVE_INFINITY : this.#dueAt;
  }

  /** Dials the next address. Null: it is not time yet (`dueAt`), or that failed at once. */
  dial(now: number, owner: LinkOwner): Link | null {
    if (now < this.dueAt) return null;
    const { dial, timeoutMs, module } = this.#host.config;
    const { address, port } = dial[this.#address++ % dial.length]!;
    // All lans are tried one after another, the preferred one first; then comes a wait.
    if (this.#address % dial.length === 0) {
      this.#address = 0;
      this.#delay = Math.min(this.#delay * 2, DIAL_MOST);
    }
    const fd = dialTo(address, port);
    if (fd < 0) {
      this.closed(now);
      return null;
    }
    const link = new Link(fd, "dialer", `${address}:${port}`, this.#host.key, module, timeoutMs, now, owner);
    this.#host.loop.add(link);
    return link;
  }

  /** The primary proved itself. */
  opened(): void {
    this.#delay = DIAL_FIRST;
    this.#address = 0;
  }

  /** The connection is over, or none came about. */
  closed(now: number): void {
    this.#dueAt = Math.max(this.#dueAt, this.#address === 0 ? now + this.#delay : now);
  }

  /** The primary does not let this copy follow. */
  refused(now: number): void {
    this.#dueAt = now + DIAL_MOST;
  }

  /** An operation could not be applied. */
  failed(now: number): void {
    this.#dueAt = now + DIAL_AFTER_FAILURE;
  }
}
