/**
 * The replication process of one module: the data path, alone with itself.
 *
 * It is told by the daemon over the control socket what to be (PRIM or SECOND), and outlives a restart of the daemon. It never
 * decides about roles: it reports what happens to the data, holds what must not be acknowledged, and waits.
 */
import { writeFileSync } from "node:fs";
import type { ReplicationReport } from "../failover/types.ts";
import { PR_SET_IO_FLUSHER } from "../platform/linux/constants.ts";
import { prctl, umask } from "../platform/linux/libc.ts";
import { Shelf } from "../platform/linux/shelf.ts";
import type {
  ControlMessage,
  ControlRequest,
  ReintegrationProgress,
  ReplicationConfig,
  ReplicationCounters,
} from "./control.ts";
import { ControlClient } from "./control_client.ts";
import { type Host, messageOf, type Shelves } from "./host.ts";
import { forInput, PollLoop, type TurnEnd } from "./loop/poll_loop.ts";
import { Pool } from "./loop/pool.ts";
import { ProcessMemory } from "./process_memory.ts";
import { Roles } from "./roles.ts";

/** Short beside any heartbeat timeout: that bytes came from the peer is a sign of its life. */
const PROGRESS_INTERVAL = 200;
const THREADS = 4;

/** Runs until told to exit. `argv`: `--module NAME --control SOCKET`. */
export function runReplicationProcess(argv: readonly string[]): void {
  const option = (name: string): string => {
    const value = argv[argv.indexOf(name) + 1];
    if (!argv.includes(name) || value === undefined)
      throw new Error(`the replication process was started without ${name}`);
    return value;
  };
  for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"] as const) process.on(signal, () => undefined);
  umask(0);
  const memory = new ProcessMemory();
  const refused = protectProcess(memory);
  const shelves = argv.includes("--shelves") ? shelvesOf(option("--shelves")) : null;
  new ReplicationProcess(option("--module"), option("--control"), memory, refused, shelves).run();
  process.exit(0);
}

/** The shelves that the guardian passes on: the numbers of both ends of both. */
function shelvesOf(numbers: string): Shelves {
  const [a = -1, b = -1, c = -1, d = -1] = numbers.split(",").map(Number);
  return { mounts: new Shelf(a, b), files: new Shelf(c, d) };
}

/** Locks memory, asks the kernel to kill others first, and not to let us wait for pages that only we can write back. Returns what was refused. */
function protectProcess(memory: ProcessMemory): string[] {
  const refused: string[] = [];
  if (prctl(PR_SET_IO_FLUSHER, 1) < 0) refused.push("it may wait for itself when memory is short");
  if (!memory.lock()) refused.push("its memory may be swapped out");
  try {
    writeFileSync("/proc/self/oom_score_adj", "-900");
  } catch {
    refused.push("it may be killed when memory is short");
  }
  return refused;
}

/** See the top of the file. */
class ReplicationProcess implements Host, TurnEnd {
  readonly loop = new PollLoop();
  readonly pool = new Pool(THREADS);
  readonly mountPool = new Pool(1, true);
  readonly counters: ReplicationCounters = {
    operations: 0,
    bytesSent: 0,
    bytesReceived: 0,
    syncs: 0,
    queueBytes: 0,
    durablePoints: 0,
  };
  key = new Uint8Array(0);
  readonly #module: string;
  readonly #memory: ProcessMemory;
  readonly #control: ControlClient;
  readonly #roles = new Roles(this);
  #config: ReplicationConfig | null = null;
  #connected: string | null = null;
  #heldUntil: number | null = null;
  #progress: ReintegrationProgress | null = null;
  #progressAt = 0;

  constructor(
    module: string,
    socket: string,
    memory: ProcessMemory,
    refused: readonly string[],
    readonly shelves: Shelves | null,
  ) {
    this.#module = module;
    this.#memory = memory;
    this.#control = new ControlClient(
      socket,
      () => this.#hello(),
      (request) => {
        this.#handle(request);
      },
    );
    this.loop.add(this.#control);
    for (const pool of [this.pool, this.mountPool])
      this.loop.add({ fd: pool.eventFd, events: forInput, onReady: () => pool.drain() });
    this.#refused = refused;
  }
  readonly #refused: readonly string[];

  get config(): ReplicationConfig {
    if (this.#config === null) throw new Error("not configured yet: say configure first");
    return this.#config;
  }

  run(): void {
    this.loop.run(this);
  }

  report(report: ReplicationReport): void {
    this.#control.stand({ type: "report", report });
  }
  withdraw(): void {
    this.#control.stand(null);
  }
  log(level: "info" | "warning" | "error", text: string): void {
    this.#control.send({ type: "log", level, text });
  }
  progress(reintegration: ReintegrationProgress | null): void {
    this.#progress = reintegration;
  }
  finished(bytes: number, files: number, durationMs: number, full: boolean): void {
    this.#control.send({ type: "finished", bytes, files, durationMs, full });
  }
  heldUntil(time: number): void {
    this.#heldUntil = time;
    // It may be over before the next one is due.
    this.#progressAt = 0;
  }
  connectedTo(name: string | null): void {
    this.#connected = name;
    if (name !== null) this.#heldUntil = null;
  }

  afterTurn(now: number): number {
    const wake = Math.min(this.#control.keepConnected(now), this.#roles.afterTurn(now));
    if (this.#roles.role === "idle") return wake;
    if (now >= this.#progressAt) this.#tellProgress(now);
    return Math.min(wake, this.#progressAt);
  }

  #tellProgress(now: number): void {
    this.#progressAt = now + PROGRESS_INTERVAL;
    this.#memory.tend(this.#roles.isBusy, now);
    this.#control.send({
      type: "progress",
      reintegration: this.#progress,
      counters: this.counters,
      connectedTo: this.#connected,
      heldUntil: this.#heldUntil,
    });
  }

  #hello(): ControlMessage {
    const { role, alone, inSync } = this.#roles;
    return {
      type: "hello",
      module: this.#module,
      pid: process.pid,
      configured: this.#config !== null,
      role,
      alone,
      inSync,
      canAdopt: role === "idle" && !(this.shelves?.mounts.isEmpty ?? true),
    };
  }

  #handle(request: ControlRequest): void {
    const answer = (ok: boolean, detail: string, result?: unknown): void => {
      this.#control.send({
        type: "done",
        id: request.id,
        ok,
        detail,
        ...(result === undefined ? {} : { result }),
      });
    };
    try {
      this.#execute(request, answer);
    } catch (error) {
      answer(false, messageOf(error));
    }
  }

  #execute(request: ControlRequest, answer: (ok: boolean, detail: string, result?: unknown) => void): void {
    const roles = this.#roles;
    const done = (problem = ""): void => {
      answer(problem === "", problem);
    };
    switch (request.op) {
      case "configure":
        this.#configure(request.config);
        done();
        return;
      case "serve":
        if (request.adopt === true) roles.adopt(request.generations, done);
        else roles.serve(request.generations, request.alone, done);
        return;
      case "goAlone":
        roles.goAlone(request.generations, done);
        return;
      case "follow":
        roles.follow(request.generations, request.full, request.sacrifice, done);
        return;
      case "proceed":
        roles.proceed(request.after);
        done();
        return;
      case "sealStream":
        roles.seal(done);
        return;
      case "stop":
        roles.stop(done);
        return;
      case "abort":
        roles.abort();
        done();
        return;
      case "verify":
        roles.verify((result) => {
          if (typeof result === "string") answer(false, result);
          else answer(true, "", result);
        });
        return;
      case "exit":
        roles.stop((problem) => {
          done(problem);
          this.loop.stop();
        });
    }
  }

  #configure(config: ReplicationConfig): void {
    if (config.module !== this.#module)
      throw new Error(`this process replicates ${this.#module}, not ${config.module}`);
    if (this.#roles.role !== "idle" && JSON.stringify(config.paths) !== JSON.stringify(this.config.paths)) {
      throw new Error("the replicated directories cannot change while the module runs; stop it first");
    }
    this.#config = config;
    this.key = Uint8Array.from(Buffer.from(config.key, "hex"));
    if (this.#refused.length > 0)
      this.log(
        "warning",
        `the replication process is less protected than it could be: ${this.#refused.join(", ")}`,
      );
    this.#roles.configure(config);
  }
}
