/** PRIM's door: listens on every lan, lets one peer in at a time, and keeps strangers short. */

import { errnoName } from "../../platform/linux/errno.ts";
import { acceptFrom, closeSocket, listenOn } from "../../platform/linux/sockets.ts";
import type { Host } from "../host.ts";
import type { PollSource } from "../loop/poll_loop.ts";
import { forInput } from "../loop/poll_loop.ts";
import { Link, type LinkOwner } from "../stream/link.ts";

/** Connections that have not proved themselves yet, at most; then the oldest goes, so that no crowd can keep the peer out. */
const MOST_STRANGERS = 64;
/** The kernel's queue: full, it would drop the peer's first packet, which is repeated only after a second. */
const BACKLOG = 256;
const RETRY_LISTEN = 500;
/** Refused strangers are told of once in this time: they must not fill the log. */
const QUIET = 10_000;

/** The listening sockets of a primary. */
export class Listener implements LinkOwner {
  readonly #host: Host;
  readonly #accept: LinkOwner;
  readonly #keepsOut: (now: number) => boolean;
  readonly #strangers = new Set<Link>();
  readonly #sockets: PollSource[] = [];
  #missing: readonly { address: string; port: number }[];
  #retryAt = 0;
  #quietUntil = 0;

  /** `accept` becomes the owner of whoever proves to hold the key. Nobody comes that far while `keepsOut`. */
  constructor(host: Host, accept: LinkOwner, keepsOut: (now: number) => boolean) {
    this.#host = host;
    this.#accept = accept;
    this.#keepsOut = keepsOut;
    this.#missing = host.config.listen;
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    let wake = Number.POSITIVE_INFINITY;
    if (this.#missing.length > 0) {
      if (now >= this.#retryAt) this.#listen(now);
      if (this.#missing.length > 0) wake = this.#retryAt;
    }
    for (const stranger of this.#strangers) {
      if (now >= stranger.proofDeadline) stranger.close("no proof in time");
      else wake = Math.min(wake, stranger.proofDeadline);
    }
    return wake;
  }

  /** Closes all. */
  close(): void {
    for (const socket of this.#sockets) {
      this.#host.loop.remove(socket);
      closeSocket(socket.fd);
    }
    for (const stranger of [...this.#strangers]) stranger.close("stopped");
  }

  onOpen(link: Link): void {
    this.#strangers.delete(link);
    link.owner = this.#accept;
    this.#accept.onOpen(link);
  }

  onFrame(): void {}

  onClosed(link: Link, why: string): void {
    this.#strangers.delete(link);
    this.#host.loop.remove(link);
    if (!why.includes("key")) return;
    const now = performance.now();
    if (now < this.#quietUntil) return;
    this.#quietUntil = now + QUIET;
    this.#host.log("warning", `a connection to ${link.name} was refused: ${why}`);
  }

  #listen(now: number): void {
    this.#retryAt = now + RETRY_LISTEN;
    const failed: { address: string; port: number }[] = [];
    for (const place of this.#missing) {
      const fd = listenOn(place.address, place.port, BACKLOG);
      if (fd < 0) {
        failed.push(place);
        // The address of a lan that is down comes later; said once only.
        if (this.#missing === this.#host.config.listen)
          this.#host.log("warning", `cannot listen on ${place.address}:${place.port} yet: ${errnoName(fd)}`);
        continue;
      }
      const name = `${place.address}:${place.port}`;
      const socket: PollSource = { fd, events: forInput, onReady: (_, at) => this.#welcome(fd, name, at) };
      this.#sockets.push(socket);
      this.#host.loop.add(socket);
    }
    this.#missing = failed;
  }

  #welcome(listening: number, name: string, now: number): void {
    const fd = acceptFrom(listening);
    if (fd < 0) return;
    if (this.#keepsOut(now)) {
      closeSocket(fd);
      return;
    }
    const [oldest] = this.#strangers;
    if (oldest !== undefined && this.#strangers.size >= MOST_STRANGERS) oldest.close("too many strangers");
    const { module, timeoutMs } = this.#host.config;
    const link = new Link(fd, "listener", name, this.#host.key, module, timeoutMs, now, this);
    this.#strangers.add(link);
    this.#host.loop.add(link);
  }
}
