/**
 * The guardian: a small process that outlives the daemon and does one thing when the daemon is late: it makes this node
 * stop answering, before the peer may take over.
 *
 * A stopped daemon (SIGSTOP, a swap storm) is as dangerous as a dead one, so the guardian trusts neither a pid nor an
 * open socket, only a sign of life that must keep coming. Without one for 0.72 T it fences every armed module, done by 0.8 T: virtual
 * addresses silenced, the application's cgroup killed, the replication process killed (which aborts its FUSE connection), unmounted. No hook takes part.
 * It is also the parent of the replication processes, which so survive a restart of the daemon.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { ModuleState } from "../failover/types.ts";
import { killAll, members } from "./cgroup.ts";
import {
  type Armament,
  FENCE_BEGINS,
  type GuardianMessage,
  type GuardianRequest,
  sharedClock,
} from "./guardian_protocol.ts";
import { LineReader, toLine } from "./json_lines.ts";
import { claimPriority } from "./priority.ts";
import { silence } from "./silence.ts";

/** One running guardian. */
class Guardian {
  readonly #armed = new Map<string, Armament>();
  readonly #children = new Map<string, ChildProcess>();
  readonly #fenced = new Set<string>();
  readonly #settled = new Map<string, ModuleState>();
  #daemon: Socket | null = null;
  /** When the daemon last gave a sign of life, on the shared clock. */
  #lastSign = sharedClock();
  /** It was late at the last look; what waits in the socket has been read since. */
  #late = false;
  /** The daemon said farewell: the last to go puts out the light. */
  #ending = false;

  constructor(private readonly socketPath: string) {}

  /** Listens, and looks at the clock often enough for the shortest T. */
  start(): void {
    createServer((socket) => this.#welcome(socket)).listen(this.socketPath);
    setInterval(() => this.#watch(), 5);
  }

  #welcome(socket: Socket): void {
    this.#daemon?.destroy();
    this.#daemon = socket;
    this.#ending = false;
    this.#sign(sharedClock());
    const reader = new LineReader((object) => this.#handle(object as GuardianRequest));
    socket.on("data", (chunk: Buffer) => reader.push(chunk));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      if (this.#daemon === socket) this.#daemon = null;
    });
    this.#say({
      type: "welcome",
      running: [...this.#children.keys()],
      fenced: [...this.#fenced],
      settled: Object.fromEntries(this.#settled),
    });
    this.#fenced.clear();
  }

  #say(message: GuardianMessage): void {
    this.#daemon?.write(toLine(message));
  }

  #handle(request: GuardianRequest): void {
    switch (request.op) {
      case "alive":
        this.#sign(request.at);
        return;
      case "arm":
        this.#armed.set(request.armament.module, request.armament);
        return;
      case "disarm":
        this.#armed.delete(request.module);
        return;
      case "run":
        this.#run(request.module, request.argv);
        return;
      case "settled":
        if (request.state === null) this.#settled.delete(request.module);
        else this.#settled.set(request.module, request.state);
        return;
      case "fence":
        void this.#fence(request.module).then((detail) =>
          this.#say({ type: "fenced", id: request.id, module: request.module, ok: detail === "", detail }),
        );
        return;
      case "farewell":
        this.#ending = true;
        this.#endWhenIdle();
    }
  }

  /** What is still armed is fenced first, since no daemon says "alive" any more. */
  #endWhenIdle(): void {
    if (!this.#ending || this.#armed.size > 0 || this.#children.size > 0) return;
    rmSync(this.socketPath, { force: true });
    process.exit(0);
  }

  #run(module: string, argv: readonly string[]): void {
    const running = this.#children.get(module);
    if (running?.pid) {
      this.#say({ type: "running", module, pid: running.pid });
      return;
    }
    const [program, ...args] = argv;
    const child = spawn(program!, args, { stdio: ["ignore", "inherit", "inherit"], detached: true });
    this.#children.set(module, child);
    child.on("error", (error) => this.#say({ type: "exited", module, detail: error.message }));
    child.on("exit", (code, signal) => {
      this.#children.delete(module);
      this.#say({ type: "exited", module, detail: signal ? `killed by ${signal}` : `exit status ${code}` });
      this.#endWhenIdle();
    });
    if (child.pid) this.#say({ type: "running", module, pid: child.pid });
  }

  /** A gap between two signs counts, even when both are read at once: the guardian may have been stopped together with its daemon. */
  #sign(at: number): void {
    this.#judge(at - this.#lastSign);
    this.#lastSign = Math.max(this.#lastSign, at);
  }

  /** Looks at the clock. What waits in the socket is read before the daemon is blamed, since the guardian may have been late itself (trap 16). */
  #watch(): void {
    const silent = sharedClock() - this.#lastSign;
    const late = [...this.#armed.values()].some(({ timeoutMs }) => silent >= timeoutMs * FENCE_BEGINS);
    if (late && this.#late) this.#judge(silent);
    this.#late = late;
  }

  /** Fences what is armed and may not be silent for that long, ms. */
  #judge(silent: number): void {
    for (const armament of this.#armed.values()) {
      if (silent < armament.timeoutMs * FENCE_BEGINS) continue;
      console.error(`no sign of the daemon for ${Math.round(silent)} ms: fencing ${armament.module}`);
      const { module } = armament;
      this.#fenced.add(module);
      void this.#fence(module).then((detail) => {
        this.#say({ type: "fenced", id: 0, module, ok: detail === "", detail });
        this.#endWhenIdle();
      });
    }
  }

  /** Silences one module now. Returns "" or what could not be done. */
  async #fence(module: string): Promise<string> {
    const armament = this.#armed.get(module);
    const child = this.#children.get(module);
    this.#armed.delete(module);
    this.#settled.delete(module);
    const failures: string[] = [];
    const attempt = (what: string, act: () => void): void => {
      try {
        act();
      } catch (error) {
        failures.push(`${what}: ${(error as Error).message}`);
      }
    };
    if (armament) {
      for (const address of armament.addresses) attempt(address, () => silence(address));
      attempt("application", () => killAll(armament.group));
    }
    child?.kill("SIGKILL");
    if (armament) await this.#settle(armament, failures);
    return failures.join("; ");
  }

  /** Waits until the kernel has buried the processes, then unmounts what they held. */
  async #settle(armament: Armament, failures: string[]): Promise<void> {
    const { unmountDead } = await import("../filesystem/dead_mounts.ts");
    const deadline = performance.now() + 2000;
    while (members(armament.group).length > 0 && performance.now() < deadline) await Bun.sleep(2);
    const left = members(armament.group);
    if (left.length > 0) failures.push(`processes ${left.join(", ")} survived SIGKILL (state D?)`);
    for (const mount of armament.mounts) {
      try {
        unmountDead(mount);
      } catch (error) {
        failures.push(`${mount}: ${(error as Error).message}`);
      }
    }
  }
}

/** Runs the guardian of the node whose state lies in `varDir`, until it is told farewell. */
export function runGuardian(varDir: string): void {
  const run = join(varDir, "run");
  mkdirSync(run, { recursive: true, mode: 0o700 });
  const socketPath = join(run, "guardian.sock");
  rmSync(socketPath, { force: true });
  process.on("SIGTERM", () => undefined);
  process.on("SIGINT", () => undefined);
  process.on("SIGHUP", () => undefined);
  claimPriority();
  new Guardian(socketPath).start();
}
