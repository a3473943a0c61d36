/**
 * The replication process's end of the control socket: JSON lines, and for ever patient.
 *
 * The daemon may be restarted at any time. What it must know on its return is said again: `hello`, and the report that
 * still waits for an answer. Progress and counters are dropped while nobody listens.
 */
import * as v from "valibot";
import {
  closeSocket,
  connectUnix,
  EAGAIN,
  POLLIN,
  POLLOUT,
  pinned,
  receive,
  send,
} from "../platform/linux/sockets.ts";
import type { ControlMessage, ControlRequest } from "./control.ts";
import type { PollSource } from "./loop/poll_loop.ts";

const generations = v.object({
  current: v.string(),
  parted: v.nullable(v.string()),
  history: v.array(v.string()),
});
const endpoint = v.object({
  address: v.pipe(v.string(), v.ip()),
  port: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535)),
});
const config = v.object({
  module: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/)),
  nodeNumber: v.picklist([1, 2]),
  stateDir: v.string(),
  savedDir: v.string(),
  paths: v.pipe(
    v.array(
      v.object({
        path: v.pipe(v.string(), v.startsWith("/")),
        exclude: v.array(v.string()),
        only: v.array(v.string()),
        notEmpty: v.boolean(),
      }),
    ),
    v.minLength(1),
    v.maxLength(64),
  ),
  durability: v.picklist(["fsync", "write"]),
  close: v.picklist(["ordered", "acknowledged"]),
  timeoutMs: v.pipe(v.number(), v.minValue(1)),
  bandwidth: v.pipe(v.number(), v.minValue(0)),
  listen: v.array(endpoint),
  dial: v.array(endpoint),
  key: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/i)),
});
const id = v.number();
const request = v.variant("op", [
  v.object({ id, op: v.literal("configure"), config }),
  v.object({
    id,
    op: v.literal("serve"),
    alone: v.boolean(),
    generations,
    adopt: v.optional(v.boolean()),
  }),
  v.object({ id, op: v.literal("goAlone"), generations }),
  v.object({ id, op: v.literal("follow"), full: v.boolean(), sacrifice: v.boolean(), generations }),
  v.object({ id, op: v.literal("proceed"), after: v.picklist(["reintegrating", "caughtUp"]) }),
  v.object({ id, op: v.picklist(["sealStream", "stop", "abort", "verify", "exit"]) }),
]);

/** Bytes of the longest line that is taken. */
const MAX_LINE = 1 << 20;
/** Bytes that may wait for a daemon that does not read. */
const MAX_BACKLOG = 4 << 20;
const RETRY_FIRST = 20;
const RETRY_MOST = 500;

/** Speaks to the daemon. */
export class ControlClient implements PollSource {
  fd = -1;
  readonly #path: string;
  readonly #hello: () => ControlMessage;
  readonly #onRequest: (request: ControlRequest) => void;
  readonly #in = pinned(64 << 10);
  readonly #out = pinned(64 << 10);
  #partial = Buffer.alloc(0);
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #outFrom = 0;
  #outTo = 0;
  #retryAt = 0;
  #retry = RETRY_FIRST;
  #standing: ControlMessage | null = null;

  /** `hello` is asked at each connection. */
  constructor(path: string, hello: () => ControlMessage, onRequest: (request: ControlRequest) => void) {
    this.#path = path;
    this.#hello = hello;
    this.#onRequest = onRequest;
  }

  /** Connects when due. Returns when to call again, in the loop's clock. */
  keepConnected(now: number): number {
    if (this.fd >= 0) return Infinity;
    if (now < this.#retryAt) return this.#retryAt;
    const fd = connectUnix(this.#path);
    if (fd < 0) {
      this.#retryAt = now + this.#retry;
      this.#retry = Math.min(this.#retry * 2, RETRY_MOST);
      return this.#retryAt;
    }
    this.fd = fd;
    this.#retry = RETRY_FIRST;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#outFrom = 0;
    this.#outTo = 0;
    this.#partial = Buffer.alloc(0);
    this.send(this.#hello());
    if (this.#standing !== null) this.send(this.#standing);
    return Infinity;
  }

  /** Says `message`; lost when nobody is connected. */
  send(message: ControlMessage): void {
    if (this.fd < 0) return;
    const line = Buffer.from(`${JSON.stringify(message)}\n`);
    if (this.#waitingBytes + line.length > MAX_BACKLOG) {
      this.#lose();
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#flush();
  }

  /** Says `message` now and again to each new daemon, until another stands or `null` clears it. */
  stand(message: ControlMessage | null): void {
    this.#standing = message;
    if (message !== null) this.send(message);
  }

  events(): number {
    return this.#outTo > this.#outFrom || this.#waiting.length > 0 ? POLLIN | POLLOUT : POLLIN;
  }

  onReady(ready: number): void {
    if (ready & POLLOUT) this.#flush();
    if (ready & ~POLLOUT && this.fd >= 0) this.#receive();
  }

  #flush(): void {
    for (;;) {
      if (this.#outFrom === this.#outTo && !this.#fill()) return;
      const count = send(this.fd, this.#out, this.#outFrom, this.#outTo - this.#outFrom);
      if (count === -EAGAIN) return;
      if (count < 0) {
        this.#lose();
        return;
      }
      this.#outFrom += count;
    }
  }

  /** Moves waiting bytes to the kernel's reach; false when none wait. */
  #fill(): boolean {
    const line = this.#waiting[0];
    if (line === undefined) return false;
    const count = Math.min(line.length, this.#out.bytes.length);
    this.#out.bytes.set(line.subarray(0, count));
    this.#outFrom = 0;
    this.#outTo = count;
    this.#waitingBytes -= count;
    if (count === line.length) this.#waiting.shift();
    else this.#waiting[0] = line.subarray(count);
    return true;
  }

  #receive(): void {
    const count = receive(this.fd, this.#in, 0, this.#in.bytes.length);
    if (count === -EAGAIN) return;
    if (count <= 0) {
      this.#lose();
      return;
    }
    this.#partial = Buffer.concat([this.#partial, this.#in.bytes.subarray(0, count)]);
    for (let end = this.#partial.indexOf(10); end >= 0; end = this.#partial.indexOf(10)) {
      const line = this.#partial.subarray(0, end).toString();
      this.#partial = this.#partial.subarray(end + 1);
      this.#take(line);
      if (this.fd < 0) return;
    }
    if (this.#partial.length > MAX_LINE) this.#lose();
  }

  #take(line: string): void {
    let parsed: unknown;
    try {
      parsed = JSON.parse(line);
    } catch {
      this.send({
        type: "log",
        level: "error",
        text: `the control socket carried a line that is not JSON: ${line.slice(0, 80)}`,
      });
      return;
    }
    const result = v.safeParse(request, parsed);
    if (result.success) {
      this.#onRequest(result.output);
      return;
    }
    const issue = result.issues[0];
    const detail = `refused request: ${v.getDotPath(issue) ?? "op"}: ${issue.message}`;
    const numbered = v.safeParse(v.object({ id }), parsed);
    if (numbered.success) this.send({ type: "done", id: numbered.output.id, ok: false, detail });
    else this.send({ type: "log", level: "error", text: detail });
  }

  #lose(): void {
    if (this.fd >= 0) closeSocket(this.fd);
    this.fd = -1;
    this.#retryAt = 0;
  }
}
