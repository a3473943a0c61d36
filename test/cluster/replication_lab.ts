/**
 * Two real replication processes on one machine, driven as their daemons would drive them: a control socket each, real mounts, the
 * stream over loopback. What a daemon records durably is a variable here.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Generations, ReplicationReport } from "../../core/failover/types.ts";
import type { ControlMessage, ControlRequest, ReplicationConfig } from "../../core/filesystem/control.ts";
import { unmountDead } from "../../core/filesystem/mounts/dead_mounts.ts";

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;
type Hello = Extract<ControlMessage, { type: "hello" }>;
type Done = Extract<ControlMessage, { type: "done" }>;

/** A generation and its past. */
export const generation = (
  current: string,
  parted: string | null = null,
  history: string[] = [],
): Generations => ({ current, parted, history });

/** One node: directory, state, process, and the daemon's end of its control socket. */
export class LabNode {
  readonly directory: string;
  readonly reports: ReplicationReport[] = [];
  readonly logs: string[] = [];
  readonly finished: Extract<ControlMessage, { type: "finished" }>[] = [];
  counters: Extract<ControlMessage, { type: "progress" }>["counters"] | null = null;
  reintegration: Extract<ControlMessage, { type: "progress" }>["reintegration"] = null;
  connectedTo: string | null = null;
  /** Answers `reintegrating` and `caughtUp` with `proceed` by itself, as a daemon does once its record is durable. */
  proceeds = true;
  process: ChildProcess | null = null;
  /** Descriptors that the process may have open, if not what everybody may. */
  openFiles = 0;
  #server: Server;
  #socket: Socket | null = null;
  #next = 1;
  readonly #pending = new Map<number, (done: Done) => void>();
  #waiters: (() => void)[] = [];
  hello: Hello | null = null;

  constructor(
    readonly name: string,
    readonly base: string,
    readonly config: ReplicationConfig,
  ) {
    this.directory = config.paths[0]!.path;
    mkdirSync(base, { recursive: true });
    for (const { path } of config.paths) mkdirSync(path, { recursive: true });
    this.#server = createServer((socket) => this.#attach(socket));
    this.#server.listen(join(base, "control.sock"));
  }

  /** Starts the process and configures it. */
  async start(): Promise<void> {
    this.hello = null;
    const entry = new URL("../../core/cli/main.ts", import.meta.url).pathname;
    const args = [
      entry,
      "__replication",
      "--module",
      this.config.module,
      "--control",
      join(this.base, "control.sock"),
    ];
    const limits = this.openFiles > 0 ? ["prlimit", `--nofile=${this.openFiles}`] : [];
    const [program = "", ...rest] = [...limits, process.execPath, ...args];
    this.process = spawn(program, rest, { stdio: ["ignore", "inherit", "inherit"] });
    await this.until(() => this.hello !== null, "hello");
    await this.must({ op: "configure", config: this.config });
  }

  /** SIGKILL, as by a power cut of the process alone. */
  async kill(): Promise<void> {
    const child = this.process;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    this.process = null;
  }

  /** Asks the process. */
  ask(request: WithoutId<ControlRequest>): Promise<Done> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#pending.set(id, resolve);
      this.#socket?.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  /** Asks, and throws when refused. */
  async must(request: WithoutId<ControlRequest>): Promise<Done> {
    const done = await this.ask(request);
    if (!done.ok) throw new Error(`${this.name}: ${request.op}: ${done.detail}`);
    return done;
  }

  /** Waits until `condition` holds after some message. */
  async until(condition: () => boolean, what: string, ms = 15_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!condition()) {
      if (performance.now() > deadline) {
        throw new Error(
          `${this.name}: waited ${ms} ms for ${what}; reports ${JSON.stringify(this.reports)}; log ${this.logs.join(" | ")}`,
        );
      }
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
        setTimeout(resolve, 50);
      });
    }
  }

  /** Waits for a report of this kind, from the `from`th report on. */
  async reported(kind: ReplicationReport["kind"], from = 0): Promise<ReplicationReport> {
    const find = (): ReplicationReport | undefined =>
      this.reports.slice(from).find((report) => report.kind === kind);
    await this.until(() => find() !== undefined, kind);
    return find()!;
  }

  /** What PRIM has by now is on both disks: a durable point that begins later has passed. */
  async pointPasses(): Promise<void> {
    const now = this.counters?.durablePoints ?? 0;
    await this.until(
      () => (this.counters?.durablePoints ?? 0) >= now + 2,
      "two durable points, the first of which may have begun before",
      30_000,
    );
  }

  /** Ends everything of this node, whatever state it is in. */
  async close(): Promise<void> {
    await this.kill();
    this.#server.close();
    this.#socket?.destroy();
    for (const { path } of this.config.paths) unmountDead(path);
  }

  #attach(socket: Socket): void {
    this.#socket = socket;
    let text = "";
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      text += chunk.toString();
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        this.#take(JSON.parse(text.slice(0, end)) as ControlMessage);
        text = text.slice(end + 1);
      }
    });
  }

  #take(message: ControlMessage): void {
    if (message.type === "hello") this.hello = message;
    else if (message.type === "done") {
      this.#pending.get(message.id)?.(message);
      this.#pending.delete(message.id);
    } else if (message.type === "log") this.logs.push(message.text);
    else if (message.type === "finished") this.finished.push(message);
    else if (message.type === "progress") {
      this.counters = message.counters;
      this.connectedTo = message.connectedTo;
      this.reintegration = message.reintegration;
    } else {
      this.reports.push(message.report);
      const { kind } = message.report;
      const waits = kind === "caughtUp" || (kind === "reintegrating" && message.report.side === "target");
      if (waits && this.proceeds) void this.ask({ op: "proceed", after: kind });
    }
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

/** Runs a shell in a directory without blocking this process, which plays the daemon. Throws with what it said. */
export async function shell(directory: string, script: string): Promise<string> {
  const child = Bun.spawn(["sh", "-ec", script], { cwd: directory, stdout: "pipe", stderr: "pipe" });
  const [out, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(`${script}: ${out}${errors}`);
  return out;
}

/** What differs between the two directories, compared in a process of its own. */
export async function compare(
  a: Pick<LabNode, "directory">,
  b: Pick<LabNode, "directory">,
): Promise<string[]> {
  const module = new URL("./replication_compare.ts", import.meta.url).pathname;
  const code = `import { differences } from ${JSON.stringify(module)};
    console.log(JSON.stringify(differences(process.argv[1], process.argv[2])))`;
  const command = [process.execPath, "-e", code, a.directory, b.directory];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  return JSON.parse(await new Response(child.stdout).text()) as string[];
}

/** Waits until the copies are equal: modification times follow their data within a second. Returns what still differs. */
export async function becomesEqual(
  a: Pick<LabNode, "directory">,
  b: Pick<LabNode, "directory">,
): Promise<string[]> {
  let left: string[] = [];
  for (let tries = 0; tries < 6; tries++) {
    left = await compare(a, b);
    if (left.length === 0) break;
    await Bun.sleep(500);
  }
  return left;
}

/** Two nodes that replicate one directory, made under `base`, which is emptied. `dataOf`: where a node's directory is, if not there. */
export function makeLab(
  base: string,
  port: number,
  options: Partial<ReplicationConfig> = {},
  dataOf: (name: string) => string = (name) => join(base, name, "data"),
): { n1: LabNode; n2: LabNode; part(): Promise<void>; close(): Promise<void> } {
  rmSync(base, { recursive: true, force: true });
  const node = (name: string, number: 1 | 2): LabNode => {
    const home = join(base, name);
    const own = { address: "127.0.0.1", port: port + number };
    const peer = { address: "127.0.0.1", port: port + 3 - number };
    return new LabNode(name, home, {
      module: "lab",
      nodeNumber: number,
      stateDir: join(home, "state"),
      savedDir: join(home, "saved"),
      paths: [{ path: dataOf(name), exclude: [], only: [], notEmpty: false }],
      durability: "fsync",
      close: "ordered",
      timeoutMs: 1500,
      bandwidth: 0,
      listen: [own],
      dial: [peer],
      key: "5a".repeat(32),
      ...options,
    });
  };
  const n1 = node("n1", 1);
  const n2 = node("n2", 2);
  return {
    n1,
    n2,
    /** Waits until nothing is left that only a durable point makes clean, then kills n2, which follows n1. */
    part: async () => {
      await n1.pointPasses();
      const from = n1.reports.length;
      await n2.kill();
      await n1.reported("peerGone", from);
    },
    close: async () => {
      await n1.close();
      await n2.close();
      rmSync(base, { recursive: true, force: true });
    },
  };
}
