/**
 * The replication process of one module: the data path, alone with itself.
 *
 * It is told by the daemon over the control socket what to be (PRIM or SECOND), and outlives a restart of the daemon. It never
 * decides about roles: it reports what happens to the data, holds what must not be acknowledged, and waits.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { Generations, ReplicationReport } from "../failover/types.ts";
import { MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, PR_SET_IO_FLUSHER } from "../platform/linux/constants.ts";
import { mlockall, prctl, umask } from "../platform/linux/libc.ts";
import { Shelf } from "../platform/linux/shelf.ts";
import { ChangedBehind } from "./changed_behind.ts";
import type {
  ControlMessage,
  ControlRequest,
  ReintegrationProgress,
  ReplicationConfig,
  ReplicationCounters,
} from "./control.ts";
import { ControlClient } from "./control_client.ts";
import { CopyRecord } from "./copy_record.ts";
import { prepareDirectories } from "./guards.ts";
import { type Host, messageOf, type Shelves } from "./host.ts";
import { KnownPlaces } from "./known_places.ts";
import { MarksStore } from "./marks_store.ts";
import { forInput, monotonic, PollLoop, type TurnEnd } from "./poll_loop.ts";
import { Pool } from "./pool.ts";
import { Primary } from "./primary.ts";
import { uncover } from "./read_only_view.ts";
import { ReplicaRoots } from "./replica_identity.ts";
import { Second } from "./second.ts";
import { inheritedMounts, Service } from "./service.ts";
import { markStop, stopPoint } from "./stop_point.ts";

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
  const refused = protectProcess();
  const shelves = argv.includes("--shelves") ? shelvesOf(option("--shelves")) : null;
  new ReplicationProcess(option("--module"), option("--control"), refused, shelves).run();
  process.exit(0);
}

/** The shelves that the guardian passes on: the numbers of both ends of both. */
function shelvesOf(numbers: string): Shelves {
  const [a = -1, b = -1, c = -1, d = -1] = numbers.split(",").map(Number);
  return { mounts: new Shelf(a, b), files: new Shelf(c, d) };
}

/** Locks memory, asks the kernel to kill others first, and not to let us wait for pages that only we can write back. Returns what was refused. */
function protectProcess(): string[] {
  const refused: string[] = [];
  if (prctl(PR_SET_IO_FLUSHER, 1) < 0) refused.push("it may wait for itself when memory is short");
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) refused.push("its memory may be swapped out");
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
  readonly #control: ControlClient;
  #config: ReplicationConfig | null = null;
  #store: MarksStore | null = null;
  #record: CopyRecord | null = null;
  #places = new KnownPlaces();
  #primary: Primary | null = null;
  #service: Service | null = null;
  #second: Second | null = null;
  #connected: string | null = null;
  #progress: ReintegrationProgress | null = null;
  #progressAt = 0;

  constructor(
    module: string,
    socket: string,
    refused: readonly string[],
    readonly shelves: Shelves | null,
  ) {
    this.#module = module;
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
  log(level: "info" | "warning" | "error", text: string): void {
    this.#control.send({ type: "log", level, text });
  }
  progress(reintegration: ReintegrationProgress | null): void {
    this.#progress = reintegration;
  }
  finished(bytes: number, files: number, durationMs: number, full: boolean): void {
    this.#control.send({ type: "finished", bytes, files, durationMs, full });
  }
  connectedTo(name: string | null): void {
    this.#connected = name;
  }

  afterTurn(now: number): number {
    let wake = this.#control.keepConnected(now);
    if (this.#primary !== null) wake = Math.min(wake, this.#primary.afterTurn(now));
    if (this.#second !== null) wake = Math.min(wake, this.#second.afterTurn(now));
    if (this.#service !== null) {
      wake = Math.min(wake, this.#service.afterTurn(now));
      // What was resumed may have something to send: it must not wait for the next event.
      if (this.#primary !== null) wake = Math.min(wake, this.#primary.flush());
    }
    if (this.#primary !== null || this.#second !== null) wake = Math.min(wake, this.#tellProgress(now));
    return wake;
  }

  #tellProgress(now: number): number {
    if (now < this.#progressAt) return this.#progressAt;
    this.#progressAt = now + PROGRESS_INTERVAL;
    this.#control.send({
      type: "progress",
      reintegration: this.#progress,
      counters: this.counters,
      connectedTo: this.#connected,
    });
    return this.#progressAt;
  }

  #hello(): ControlMessage {
    return {
      type: "hello",
      module: this.#module,
      pid: process.pid,
      configured: this.#config !== null,
      role: this.#primary !== null ? "serving" : this.#second !== null ? "following" : "idle",
      alone: this.#primary?.outbound.alone ?? false,
      inSync: this.#primary?.phase === "inSync" || this.#second?.phase === "inSync",
      canAdopt: this.#primary === null && this.#second === null && !(this.shelves?.mounts.isEmpty ?? true),
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
    const done = (problem = ""): void => {
      answer(problem === "", problem);
    };
    switch (request.op) {
      case "configure":
        this.#configure(request.config);
        done();
        return;
      case "serve":
        if (request.adopt === true) this.#adopt(request.generations, done);
        else this.#serve(request.generations, request.alone, done);
        return;
      case "goAlone":
        this.#control.stand(null);
        this.#primary?.goAlone(request.generations);
        done(this.#primary === null ? "this process does not serve" : "");
        return;
      case "follow":
        this.#follow(request.generations, request.full, request.sacrifice, done);
        return;
      case "proceed":
        this.#control.stand(null);
        if (request.after === "caughtUp") this.#primary?.proceed();
        this.#second?.proceed(request.after);
        done();
        return;
      case "sealStream":
        if (this.#second === null) done();
        else this.#second.seal(done);
        return;
      case "stop":
        this.#stop(done);
        return;
      case "abort":
        this.#abort();
        done();
        return;
      case "verify":
        if (this.#primary === null) answer(false, "verify runs on the primary, and this node does not serve");
        else {
          this.#service?.settleTimes();
          this.#primary.verify((result) => {
            if (typeof result === "string") answer(false, result);
            else answer(true, "", result);
          });
        }
        return;
      case "exit":
        this.#stop((problem) => {
          done(problem);
          this.loop.stop();
        });
    }
  }

  #configure(config: ReplicationConfig): void {
    if (config.module !== this.#module)
      throw new Error(`this process replicates ${this.#module}, not ${config.module}`);
    const active = this.#primary !== null || this.#second !== null;
    if (active && JSON.stringify(config.paths) !== JSON.stringify(this.config.paths)) {
      throw new Error("the replicated directories cannot change while the module runs; stop it first");
    }
    this.#config = config;
    this.key = Uint8Array.from(Buffer.from(config.key, "hex"));
    if (this.#refused.length > 0)
      this.log(
        "warning",
        `the replication process is less protected than it could be: ${this.#refused.join(", ")}`,
      );
    if (this.#store !== null) return;
    this.#store = new MarksStore(config.stateDir, this.pool, {
      nodeNumber: config.nodeNumber,
      placeOf: (id) => this.#places.get(id),
    });
    this.#record = new CopyRecord(config.stateDir, this.pool);
    if (this.#store.fault !== null)
      this.log("info", `the next reintegration copies everything: ${this.#store.fault}`);
  }

  #serve(generations: Generations, alone: boolean, done: (problem?: string) => void): void {
    if (this.#primary !== null) {
      if (alone) this.#primary.goAlone(generations);
      done();
      return;
    }
    if (this.#second !== null) {
      const second = this.#second;
      second.seal(() => {
        this.#endFollowing(second);
        attempt(done, () => {
          this.#serve(generations, alone, done);
        });
      });
      return;
    }
    this.#control.stand(null);
    const { config } = this;
    prepareDirectories(config);
    this.#places = new KnownPlaces();
    const places = this.#places;
    let primary: Primary | null = null;
    const service = new Service(this, (id, parent, name, at) => {
      places.seen(id, parent, name, at);
      primary?.behind?.seen(id, parent, name, at);
    });
    const record = this.#bind(service.roots.map(({ fd }) => fd));
    primary = new Primary(this, this.#store!, record, places, service.roots, generations, alone);
    try {
      primary.behind = ChangedBehind.begin(this, this.#store!, service.roots, places);
      service.mount(primary.outbound);
    } catch (error) {
      primary.close();
      throw error;
    }
    this.#service = service;
    this.#primary = primary;
    done();
  }

  /** Serves the live mounts of a process that was killed. Nothing is acknowledged before the peer's word, or the daemon's. */
  #adopt(generations: Generations, done: (problem?: string) => void): void {
    const inherited = inheritedMounts(this.shelves);
    const paths = this.config.paths.map(({ path }) => path);
    if (inherited === null || this.#primary !== null || this.#second !== null) {
      done("there is no live mount to take over");
      return;
    }
    if (inherited.map(({ path }) => path).join("\0") !== paths.join("\0"))
      throw new Error("the live mounts are of other directories than the module's");
    this.#places = new KnownPlaces();
    if (inherited.some(({ root }) => stopPoint(root) !== null))
      throw new Error("it is not known yet what was changed while the module was stopped");
    const places = this.#places;
    const seen = places.seen.bind(places);
    const service = new Service(this, seen, inherited);
    places.finder = service.finder;
    const record = this.#bind(service.roots.map(({ fd }) => fd));
    const { roots } = service;
    const primary = new Primary(this, this.#store!, record, this.#places, roots, generations, false);
    try {
      service.adopt(primary.outbound, inherited);
    } catch (error) {
      primary.close();
      throw error;
    }
    this.#service = service;
    this.#primary = primary;
    done();
  }

  #follow(
    generations: Generations,
    full: boolean,
    sacrifice: boolean,
    done: (problem?: string) => void,
  ): void {
    if (this.#primary !== null) {
      done("this process serves: stop it before it can follow");
      return;
    }
    if (this.#second !== null) {
      const second = this.#second;
      second.seal(() => {
        this.#endFollowing(second);
        attempt(done, () => {
          this.#follow(generations, full, sacrifice, done);
        });
      });
      return;
    }
    this.#control.stand(null);
    const { config } = this;
    prepareDirectories(config);
    const roots = new ReplicaRoots(
      config.paths.map(({ path }) => path),
      config.nodeNumber,
    );
    const record = this.#bind(roots.fds);
    const second = new Second(this, this.#store!, record, roots, generations, full, sacrifice);
    second.start();
    this.#second = second;
    done();
  }

  /** Are these the data that the marks speak of? If not, the marks know nothing of what they lack. */
  #bind(roots: readonly number[]): CopyRecord {
    const record = this.#record!;
    const fault = record.bind(roots);
    if (fault === null) return record;
    this.#store!.forget();
    this.log("warning", `${fault}; its copy counts as inconsistent`);
    return record;
  }

  #endFollowing(second: Second): void {
    second.release();
    this.#record?.release();
    if (this.#second === second) this.#second = null;
  }

  #stop(done: (problem?: string) => void): void {
    this.#control.stand(null);
    const second = this.#second;
    if (second !== null) {
      second.seal(() => {
        this.#endFollowing(second);
        this.#noteStop();
        done();
      });
      return;
    }
    const primary = this.#primary;
    const service = this.#service;
    if (primary === null || service === null) {
      if (this.#config !== null) for (const { path } of this.#config.paths) uncover(path);
      done();
      return;
    }
    service.unmount(monotonic(), (problem) => {
      primary.drain(() => {
        this.#service = null;
        this.#primary = null;
        primary.close();
        this.#record?.release();
        // Whoever kept the mount to the end may go on writing to it: nobody knows when that ends.
        if (problem === "") this.#noteStop();
        this.connectedTo(null);
        done(problem);
      });
    });
  }

  /** What changes from here on changes without us. */
  #noteStop(): void {
    try {
      markStop(this.config.paths.map(({ path }) => path));
    } catch (error) {
      this.log(
        "warning",
        `changes made while the module is stopped will not be noticed: ${messageOf(error)}`,
      );
    }
  }

  /** Everything at once, without a goodbye. */
  #abort(): void {
    this.#service?.abort();
    this.#primary?.close();
    this.#service = null;
    this.#primary = null;
    this.#record?.release();
    const second = this.#second;
    if (second !== null) {
      second.abandon();
      this.#endFollowing(second);
    }
  }
}

/** Runs what a request led to later: a refusal is its answer, not the end of the process. */
function attempt(done: (problem?: string) => void, act: () => void): void {
  try {
    act();
  } catch (error) {
    done(messageOf(error));
  }
}

/** The process's own memory, for who watches it: bytes resident. */
export function residentBytes(): number {
  return Number(readFileSync("/proc/self/statm", "utf8").split(" ")[1]) * 4096;
}
