/**
 * The daemon's end of the guardian: finds it running or starts it, and says every few milliseconds "I am alive".
 */
import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { ModuleState } from "../../failover/types.ts";
import { selfCommand } from "../../platform/self.ts";
import { sharedClock } from "../../platform/shared_clock.ts";
import { LineReader, toLine } from "../json_lines.ts";
import type { Armament, GuardianMessage, GuardianRequest } from "./protocol.ts";
import type { WatchdogState, WatchdogWish } from "./watchdog.ts";

/** What a guardian tells a new daemon. */
export type Welcome = Extract<GuardianMessage, { type: "welcome" }>;

/** A daemon that did not run for so long, ms, asks what happened meanwhile: well below any time after which the guardian fences. */
const DOZE = 100;
/** A guardian that does not answer in this time, ms, is not waited for: it is silent itself. */
const LONGEST_ASK = 1000;

/** Emits `exited` (module, replaced) when a replication process ends, `fenced` (module) when the guardian fenced on its own, `lost` when the guardian itself does, and `awake` when, after
 * this daemon did not run for a while, all that the guardian did meanwhile has been heard. */
export class GuardianLink extends EventEmitter<{
  exited: [string, boolean];
  fenced: [string];
  lost: [];
  awake: [];
}> {
  #socket: Socket | null = null;
  #nextFence = 1;
  readonly #fences = new Map<number, (result: { ok: boolean; detail: string }) => void>();
  readonly #runs = new Map<string, (pid: number) => void>();
  readonly #armed = new Map<string, Armament>();
  readonly #rights = new Map<string, number | null>();
  #watchdog: { wish: WatchdogWish | null; told: (state: WatchdogState) => void } | null = null;
  #welcome: ((message: Welcome) => void) | null = null;
  readonly #running = new Set<string>();
  #ranAt = performance.now();
  #asked = false;

  constructor(private readonly varDir: string) {
    super();
  }

  /** Connects, starting a guardian where none answers. Returns what ran and what was fenced before we came. */
  async open(): Promise<Welcome> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#connect();
      } catch (error) {
        if (attempt === 0) this.#start();
        if (attempt > 200)
          throw new Error(`the guardian does not start: ${(error as Error).message}; see ${this.#logFile()}`);
        await Bun.sleep(25);
      }
    }
  }

  #logFile(): string {
    return join(this.varDir, "log", "guardian.log");
  }

  #start(): void {
    const [program, ...args] = selfCommand("__guardian", "--var", this.varDir);
    const log = openSync(this.#logFile(), "a", 0o600);
    spawn(program!, args, { detached: true, stdio: ["ignore", log, log] }).unref();
  }

  async #connect(): Promise<Welcome> {
    const socket = connect(join(this.varDir, "run", "guardian.sock"));
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    this.#socket = socket;
    const welcome = new Promise<Welcome>((resolve) => (this.#welcome = resolve));
    const reader = new LineReader((object) => this.#handle(object as GuardianMessage));
    socket.on("data", (chunk: Buffer) => reader.push(chunk));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#socket = null;
      this.#awake();
      this.emit("lost");
    });
    for (const armament of this.#armed.values()) this.#say({ op: "arm", armament });
    for (const [module, until] of this.#rights) this.#say({ op: "right", module, until });
    if (this.#watchdog !== null) this.#say({ op: "watchdog", wish: this.#watchdog.wish });
    return await welcome;
  }

  #say(request: GuardianRequest): void {
    this.#socket?.write(toLine(request));
  }

  #handle(message: GuardianMessage): void {
    switch (message.type) {
      case "welcome":
        for (const module of message.running) this.#running.add(module);
        this.#welcome?.(message);
        return;
      case "running":
        this.#running.add(message.module);
        this.#runs.get(message.module)?.(message.pid);
        this.#runs.delete(message.module);
        return;
      case "exited":
        if (!message.replaced) this.#running.delete(message.module);
        this.emit("exited", message.module, message.replaced);
        return;
      case "fenced":
        if (message.id === 0) this.emit("fenced", message.module);
        this.#fences.get(message.id)?.(message);
        this.#fences.delete(message.id);
        return;
      case "watchdog":
        this.#watchdog?.told(message);
        return;
      case "awake":
        this.#awake();
    }
  }

  /**
   * May this daemon act on what it knows? Not while it has just woken up after a while and the guardian, which may have fenced meanwhile, has not
   * been heard: what waited in the other sockets is from before.
   */
  isAwake(): boolean {
    const now = performance.now();
    if (now - this.#ranAt > DOZE && !this.#asked && this.#socket !== null) {
      this.#asked = true;
      this.#say({ op: "ask" });
      setTimeout(() => this.#awake(), LONGEST_ASK).unref();
    }
    this.#ranAt = now;
    return !this.#asked;
  }

  #awake(): void {
    if (!this.#asked) return;
    this.#asked = false;
    this.emit("awake");
  }

  /** A sign of life. */
  alive(): void {
    this.isAwake();
    this.#say({ op: "alive", at: sharedClock() });
  }

  /** From now on a late daemon costs this module its role. */
  arm(armament: Armament): void {
    this.#armed.set(armament.module, armament);
    this.#say({ op: "arm", armament });
  }

  /** Until when a module may run what it runs, on the shared clock; null: there is no end to it. */
  mayRun(module: string, until: number | null): void {
    this.#rights.set(module, until);
    this.#say({ op: "right", module, until });
  }

  /** Does a late daemon cost this module its role? */
  isArmed(module: string): boolean {
    return this.#armed.has(module);
  }

  disarm(module: string): void {
    if (this.#armed.delete(module)) this.#say({ op: "disarm", module });
  }

  /** Does the module have a replication process, or will it have another at once? */
  runs(module: string): boolean {
    return this.#running.has(module);
  }

  /** Starts the replication process of a module, or finds it running. Returns its process id. */
  run(module: string, argv: readonly string[]): Promise<number> {
    return new Promise((resolve) => {
      this.#runs.set(module, resolve);
      this.#say({ op: "run", module, argv });
    });
  }

  /** Tells what a daemon that comes after this one may adopt. */
  settled(module: string, state: ModuleState | null): void {
    this.#say({ op: "settled", module, state });
  }

  /** Silences a module without hooks. */
  fence(module: string): Promise<{ ok: boolean; detail: string }> {
    return new Promise((resolve) => {
      const id = this.#nextFence++;
      this.#fences.set(id, resolve);
      this.#say({ op: "fence", module, id });
    });
  }

  /** Which hardware watchdog guards this machine from now on, whichever guardian runs; null: none. `told`: what came of it, each time. */
  guard(wish: WatchdogWish | null, told: (state: WatchdogState) => void): void {
    this.#watchdog = { wish, told };
    this.#say({ op: "watchdog", wish });
  }

  /** The daemon stops for good: the guardian ends when nothing is armed. */
  farewell(): void {
    this.#say({ op: "farewell" });
  }
}
