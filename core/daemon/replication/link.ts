/**
 * The daemon's end of the replication processes: a Unix socket on which each says which module it serves.
 *
 * A replication process outlives the daemon and finds the new one by itself; the daemon asks it to be configured again, and
 * goes on where it was.
 */
import { EventEmitter } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { ReplicationReport } from "../../failover/types.ts";
import type { ControlMessage, ControlRequest } from "../../filesystem/control.ts";
import { LineReader, toLine } from "../json_lines.ts";

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;
/** A request, before it gets its number. */
export type ReplicationRequest = WithoutId<ControlRequest>;
/** What came of a request. */
export interface ReplicationAnswer {
  ok: boolean;
  detail: string;
  result?: unknown;
}
type Hello = Extract<ControlMessage, { type: "hello" }>;

/** A process that works says something every half second; silent for this long, it hangs, ms. */
const HANGS_AFTER_MS = 5000;
/** A tick that comes later than this is our own lateness, not the process's, ms. */
const LATEST_TICK_MS = 500;
const BEGINS: ReadonlySet<string> = new Set(["serve", "follow"]);
const ENDS: ReadonlySet<string> = new Set(["stop", "abort", "exit"]);

/** One module's replication process, as the daemon sees it. */
export class ReplicationLink extends EventEmitter<{
  hello: [Hello];
  report: [ReplicationReport];
  progress: [Extract<ControlMessage, { type: "progress" }>];
  finished: [Extract<ControlMessage, { type: "finished" }>];
  log: [Extract<ControlMessage, { type: "log" }>];
  /** The process is gone; `asked`: something was asked of it that it did not answer. */
  lost: [boolean];
}> {
  #socket: Socket | null = null;
  #next = 1;
  readonly #pending = new Map<number, (answer: ReplicationAnswer) => void>();

  /** Does the process serve or follow? Only then it speaks without being asked. */
  #works = false;
  #silentMs = 0;
  #tickedAt = 0;

  /** What the connected process said of itself first; null when none is connected. */
  lastHello: Hello | null = null;

  /** Was the connected process told what it replicates? One that came too late for who waited for it was not. */
  get isConfigured(): boolean {
    return this.#isConfigured || this.#replacing !== null;
  }
  #isConfigured = false;

  /** While one process takes the place of another, it counts as connected, and requests wait. */
  get connected(): boolean {
    return this.#socket !== null || this.#replacing !== null;
  }
  #replacing: Promise<void> | null = null;

  /** Until `work` is done, whatever is asked waits for it. */
  holdUntil(work: Promise<void>): void {
    const held = work.finally(() => {
      if (this.#replacing === held) this.#replacing = null;
    });
    this.#replacing = held;
  }

  /** Takes over the connection that said hello for this module; an older one is cut off. */
  attach(socket: Socket, hello: Hello): void {
    const old = this.#socket;
    // The news of the end of a process may come after its successor does.
    if (old !== null && this.lastHello?.pid !== hello.pid) this.#lose();
    this.#socket = socket;
    this.lastHello = hello;
    this.#works = hello.role !== "idle";
    this.#isConfigured = hello.configured;
    this.#silentMs = 0;
    old?.destroy();
    socket.on("close", () => {
      if (this.#socket === socket) this.#lose();
    });
    this.emit("hello", hello);
  }

  #lose(): void {
    this.#socket = null;
    this.lastHello = null;
    this.#works = false;
    const asked = this.#pending.size > 0;
    for (const settle of this.#pending.values())
      settle({ ok: false, detail: "the replication process is gone" });
    this.#pending.clear();
    this.emit("lost", asked);
  }

  /** Takes one message of the process. */
  handle(message: ControlMessage): void {
    this.#silentMs = 0;
    switch (message.type) {
      case "done":
        this.#pending.get(message.id)?.(message);
        this.#pending.delete(message.id);
        return;
      case "report":
        this.emit("report", message.report);
        return;
      case "progress":
        this.emit("progress", message);
        return;
      case "finished":
        this.emit("finished", message);
        return;
      case "log":
        this.emit("log", message);
    }
  }

  /**
   * Once a beat; `now` is monotonic, ms. A process that hangs holds the application for ever, since nobody else answers its file system:
   * it is killed, and reported lost. Returns true when that happened.
   */
  tick(now: number): boolean {
    this.#silentMs += Math.min(now - this.#tickedAt, LATEST_TICK_MS);
    this.#tickedAt = now;
    const socket = this.#socket;
    if (!this.#works || socket === null || this.#silentMs < HANGS_AFTER_MS) return false;
    this.#works = false;
    kill(this.lastHello!.pid);
    socket.destroy();
    return true;
  }

  /** Asks; never rejects. An answer may take as long as the work does. */
  async request(request: ReplicationRequest): Promise<ReplicationAnswer> {
    if (this.#replacing !== null) await this.#replacing;
    return await this.requestNow(request);
  }

  /** As `request`, also while one process takes the place of another. */
  requestNow(request: ReplicationRequest): Promise<ReplicationAnswer> {
    const socket = this.#socket;
    if (!socket) return Promise.resolve({ ok: false, detail: "the replication process does not run" });
    const id = this.#next++;
    if (ENDS.has(request.op)) this.#works = false;
    return new Promise((resolve) => {
      this.#pending.set(id, (answer) => {
        if (BEGINS.has(request.op) && answer.ok) this.#works = true;
        if (request.op === "configure" && answer.ok) this.#isConfigured = true;
        resolve(answer);
      });
      socket.write(toLine({ id, ...request }));
    });
  }
}

/** SIGKILL; a process that is gone is no error. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Listens on VAR/run/control.sock; `find` gives the link of a module of this node, or undefined. */
export function listenForReplication(
  varDir: string,
  find: (module: string) => ReplicationLink | undefined,
): () => void {
  const path = join(varDir, "run", "control.sock");
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    let link: ReplicationLink | undefined;
    const reader = new LineReader((object) => {
      const message = object as ControlMessage;
      if (message.type === "hello") {
        link = find(message.module);
        if (link) link.attach(socket, message);
        else socket.destroy();
      } else link?.handle(message);
    });
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        console.error(`control.sock: ${(error as Error).message}`);
        socket.destroy();
      }
    });
  });
  server.listen(path, () => chmodSync(path, 0o600));
  return () => server.close();
}
