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
import type { ModuleState } from "../../failover/types.ts";
import { Shelf } from "../../platform/linux/shelf.ts";
import { sharedClock } from "../../platform/shared_clock.ts";
import { silence } from "../addresses/silence.ts";
import { LineReader, toLine } from "../json_lines.ts";
import { claimPriority } from "../priority.ts";
import { killAll, killService, members, serviceMembers } from "./cgroup.ts";
import {
  type Armament,
  FENCE_BEGINS,
  type GuardianMessage,
  type GuardianRequest,
  RIGHT_OVERDUE,
} from "./protocol.ts";
import { GuardianWatchdog } from "./watchdog.ts";

/** The first descriptor behind the standard ones. */
const FIRST_END = 3;
/** So many replacements within so many ms are too many: something in the requests kills whoever takes them over. */
const MOST_REPLACED = 5;
const REPLACED_WITHIN_MS = 2000;

/**
 * Looks at the clock: when something may be late, but not more often than this, ms; and in between, so many in a T and never more seldom than this, ms,
 * since a timer does not count the time that a machine was suspended.
 */
const LOOK_MS_MIN = 5;
const LOOKS_IN_T = 20;
const IDLE_LOOK_MS = 100;

/** A replication process, and what it would leave to the next one. */
interface Replicator {
  process: ChildProcess;
  shelves: readonly Shelf[];
  since: number;
  fenced: boolean;
  /** When its predecessors began, since the last that was started by the daemon. */
  before: readonly number[];
}

/** One running guardian. */
class Guardian {
  readonly #armed = new Map<string, Armament>();
  readonly #children = new Map<string, Replicator>();
  readonly #fenced = new Set<string>();
  /** What is being fenced on its own account. */
  readonly #judged = new Set<Promise<void>>();
  readonly #settled = new Map<string, ModuleState>();
  /** Until when each module may run, where there is an end to it. */
  readonly #rights = new Map<string, number>();
  #daemon: Socket | null = null;
  /** When the daemon last gave a sign of life, on the shared clock. */
  #lastSign = sharedClock();
  /** It was late at the last look; what waits in the socket has been read since. */
  #late = false;
  /** Modules of which something may run that was to be stopped. */
  readonly #unstopped = new Set<string>();
  readonly #watchdog = new GuardianWatchdog((text) => console.error(`the watchdog: ${text}`));
  /** The daemon said farewell: the last to go puts out the light. */
  #ending = false;
  #nextLook: NodeJS.Timeout | undefined;

  constructor(private readonly socketPath: string) {}

  /** Listens, and watches the daemon. */
  start(): void {
    createServer((socket) => this.#welcome(socket)).listen(this.socketPath);
    this.#watchOn();
  }

  #watchOn(): void {
    this.#watch();
    this.#planLook();
  }

  /** Called anew by whatever may bring the moment forward. */
  #planLook(): void {
    const now = sharedClock();
    let pause = IDLE_LOOK_MS;
    for (const armament of this.#armed.values())
      pause = Math.min(pause, armament.timeoutMs / LOOKS_IN_T, this.#lateAt(armament) - now);
    clearTimeout(this.#nextLook);
    this.#nextLook = setTimeout(() => this.#watchOn(), Math.max(LOOK_MS_MIN, pause));
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
      rights: Object.fromEntries(this.#rights),
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
        this.#unstopped.delete(request.armament.module);
        this.#planLook();
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
      case "right":
        if (request.until === null) this.#rights.delete(request.module);
        else this.#rights.set(request.module, request.until);
        this.#planLook();
        return;
      case "fence":
        void this.#fence(request.module).then((detail) =>
          this.#say({ type: "fenced", id: request.id, module: request.module, ok: detail === "", detail }),
        );
        return;
      case "ask":
        void Promise.all(this.#judged).then(() => this.#say({ type: "awake" }));
        return;
      case "watchdog":
        this.#say({ type: "watchdog", ...this.#watchdog.want(request.wish) });
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
    if (this.#unstopped.size === 0) this.#disarm();
    process.exit(0);
  }

  #disarm(): void {
    try {
      this.#watchdog.close();
    } catch (error) {
      console.error(`the watchdog goes on: ${(error as Error).message}`);
    }
  }

  #run(module: string, argv: readonly string[]): void {
    const running = this.#children.get(module)?.process;
    if (running?.pid) {
      this.#say({ type: "running", module, pid: running.pid });
      return;
    }
    this.#spawn(module, argv, [Shelf.make(), Shelf.make()]);
  }

  /** Starts a replication process beside shelves that outlive it: by them, the next one takes over its live mounts. */
  #spawn(
    module: string,
    argv: readonly string[],
    shelves: readonly Shelf[],
    before: readonly number[] = [],
  ): void {
    const [program, ...args] = argv;
    const ends = shelves.flatMap(({ front, back }) => [front, back]);
    // The unit's word for daemon and guardian: this one does give memory back, after a copy (process_memory.ts).
    const { MIMALLOC_PURGE_DELAY: _, ...env } = Bun.env;
    const process = spawn(program!, [...args, "--shelves", ends.map((_, at) => FIRST_END + at).join()], {
      stdio: ["ignore", "inherit", "inherit", ...ends],
      detached: true,
      env,
    });
    const replicator: Replicator = { process, shelves, since: performance.now(), fenced: false, before };
    this.#children.set(module, replicator);
    process.on("error", (error) =>
      this.#say({ type: "exited", module, detail: error.message, replaced: false }),
    );
    process.on("exit", (code, signal) => {
      if (this.#children.get(module) === replicator) this.#children.delete(module);
      const replaced = isReplaceable(replicator, signal);
      const detail = signal ? `killed by ${signal}` : `exit status ${code}`;
      this.#say({ type: "exited", module, detail, replaced });
      if (replaced) {
        console.error(`the replication process of ${module} was ${detail}: another takes over its mounts`);
        this.#spawn(module, argv, shelves, [...before.slice(1 - MOST_REPLACED), replicator.since]);
      } else if (!replicator.fenced) for (const shelf of shelves) shelf.close();
      this.#endWhenIdle();
    });
    if (process.pid) this.#say({ type: "running", module, pid: process.pid });
  }

  /** A gap between two signs counts, even when both are read at once: the guardian may have been stopped together with its daemon. */
  #sign(at: number): void {
    this.#judge(at - this.#lastSign);
    this.#lastSign = Math.max(this.#lastSign, at);
  }

  /** Looks at the clock. What waits in the socket is read before the daemon is blamed, since the guardian may have been late itself (trap 16). */
  #watch(): void {
    const silent = sharedClock() - this.#lastSign;
    const late = [...this.#armed.values()].some(
      (armament) => silent >= armament.timeoutMs * FENCE_BEGINS || this.#isOverdue(armament),
    );
    if (late && this.#late) {
      this.#judge(silent);
      for (const armament of this.#armed.values())
        if (this.#isOverdue(armament)) this.#fenceAlone(armament, "nobody vouches for this node any more");
    }
    this.#late = late;
    // Whoever is late is fenced first: that takes less time than a watchdog grants.
    if (!late && this.#judged.size === 0 && this.#unstopped.size === 0)
      this.#watchdog.look(performance.now());
  }

  /** Its right to run has ended, and its daemon did not stop it. */
  #isOverdue(armament: Armament): boolean {
    return sharedClock() >= this.#overdueAt(armament);
  }

  #overdueAt({ module, timeoutMs }: Armament): number {
    return (this.#rights.get(module) ?? Number.POSITIVE_INFINITY) + timeoutMs * RIGHT_OVERDUE;
  }

  /** When it is late, should no other word come. */
  #lateAt(armament: Armament): number {
    return Math.min(this.#lastSign + armament.timeoutMs * FENCE_BEGINS, this.#overdueAt(armament));
  }

  /** Fences what is armed and may not be silent for that long, ms. */
  #judge(silent: number): void {
    for (const armament of this.#armed.values()) {
      if (silent < armament.timeoutMs * FENCE_BEGINS) continue;
      this.#fenceAlone(armament, `no sign of the daemon for ${Math.round(silent)} ms`);
    }
  }

  #fenceAlone({ module }: Armament, cause: string): void {
    console.error(`${cause}: fencing ${module}`);
    this.#fenced.add(module);
    const judged = this.#fence(module).then((detail) => {
      this.#say({ type: "fenced", id: 0, module, ok: detail === "", detail });
      this.#judged.delete(judged);
      this.#endWhenIdle();
    });
    this.#judged.add(judged);
  }

  /** Silences one module now. Returns "" or what could not be done. */
  async #fence(module: string): Promise<string> {
    const armament = this.#armed.get(module);
    const child = this.#children.get(module);
    this.#armed.delete(module);
    this.#settled.delete(module);
    this.#rights.delete(module);
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
      for (const permit of armament.services.permits) attempt(permit, () => rmSync(permit, { force: true }));
      for (const cgroup of armament.services.cgroups) attempt(cgroup, () => killService(cgroup));
      attempt("application", () => killAll(armament.group));
    }
    if (child && !child.fenced) {
      child.fenced = true;
      // The mounts die with the last who holds them.
      for (const shelf of child.shelves) shelf.close();
      child.process.kill("SIGKILL");
    }
    if (armament) await this.#settle(armament, failures);
    return failures.join("; ");
  }

  /** Waits until the kernel has buried the processes, then unmounts what they held. */
  async #settle(armament: Armament, failures: string[]): Promise<void> {
    const { unmountDead } = await import("../../filesystem/mounts/dead_mounts.ts");
    const deadline = performance.now() + 2000;
    const living = (): number[] => [
      ...members(armament.group),
      ...armament.services.cgroups.flatMap(serviceMembers),
    ];
    while (living().length > 0 && performance.now() < deadline) {
      await Bun.sleep(2);
      // What is born while the others are being killed is not among them. A unit's own last commands are left alone: they start nothing.
      if (armament.group.path === null) killAgain(armament.group);
    }
    const left = living();
    if (left.length > 0) failures.push(`processes ${left.join(", ")} survived SIGKILL (state D?)`);
    // A mount that is left is dead: nothing is written through it.
    if (failures.length > 0) this.#unstopped.add(armament.module);
    for (const mount of armament.mounts) {
      try {
        unmountDead(mount);
      } catch (error) {
        failures.push(`${mount}: ${(error as Error).message}`);
      }
    }
  }
}

function killAgain(group: Armament["group"]): void {
  try {
    killAll(group);
  } catch {
    // The first attempt has told why.
  }
}

/** A replication process that died of itself, and left live mounts, is replaced; one that dies again and again is not. */
function isReplaceable({ fenced, shelves, before }: Replicator, signal: string | null): boolean {
  const now = performance.now();
  if (fenced || signal === null) return false;
  if (before.length >= MOST_REPLACED && now - before[0]! < REPLACED_WITHIN_MS) return false;
  return shelves[0]?.isEmpty === false;
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
