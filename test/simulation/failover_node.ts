/** One simulated node: disk, daemon (the real core and membership), hooks, application. */

import { blankRecord, describe, initialState, type State, step, view } from "../../core/failover/step.ts";
import type {
  Command,
  DurableRecord,
  Event,
  FailoverConfig,
  PeerView,
  ReplicationReport,
} from "../../core/failover/types.ts";
import { rightUntil } from "../../core/failover/witness.ts";
import { SimChecks } from "./failover_checks.ts";
import { NodeTime } from "./failover_clock.ts";
import { DataPath } from "./failover_datapath.ts";
import { Effects } from "./failover_effects.ts";
import { Guardian } from "./failover_guardian.ts";
import { Heartbeats } from "./failover_heartbeats.ts";
import { Hooks } from "./failover_hooks.ts";
import { Address, Part, WAKING } from "./failover_machine.ts";
import { commandInWords } from "./failover_words.ts";
import type { World } from "./failover_world.ts";

/** What survives a power cut. */
export interface Disk {
  record: DurableRecord;
  copy: { ops: Set<number>; mixed: boolean; touched: boolean };
}

/** How long after the end of its right a node's address is silent, ms. */
const SILENCED_WITHIN = 60;

type Scope = "daemon" | "process";
type EventBody = Event extends infer E ? (E extends unknown ? Omit<E, "now" | "wall"> : never) : never;

/** A machine of the cluster. */
export class SimNode {
  up = false;
  daemonUp = false;
  disk: Disk = { record: blankRecord(), copy: { ops: new Set(), mixed: false, touched: false } };
  state: State;
  data: DataPath;
  application = false;
  readonly address: Address;
  /** How many times as long its disk takes. */
  slowness = 1;
  readonly time: NodeTime;
  /** When it last stood still as a whole, and until when; since when its daemon had said nothing then. `seen`: its clocks went on. */
  stunned = { from: -1, to: -1, silent: -1, seen: true };
  #daemonStopped = -1;
  /** A person asked for a full copy here. */
  commandedFull = false;
  readonly hooks: Hooks;
  readonly guardian: Guardian;
  writesFail = false;
  readonly heartbeats: Heartbeats;
  readonly checks: SimChecks;
  readonly parts: Record<Scope, Part>;
  #maintenance = { on: false, stamp: -1 };
  #others: readonly PeerView[] | null = null;
  private incarnation = "";
  private commands = 0;
  /** How often everything was killed: what was begun before ends without an effect. */
  fences = 0;
  /** How often a daemon began here: what it asked for is told to no other. */
  life = 0;
  private readonly effects: Effects;
  private armed: { effects: number; then: () => void } | null = null;

  constructor(
    readonly name: string,
    readonly index: 0 | 1,
    readonly config: FailoverConfig,
    private readonly world: World,
  ) {
    this.time = new NodeTime(world.clock, index * 1e6);
    this.address = new Address(this.time);
    this.parts = { daemon: new Part(world.clock, this.time), process: new Part(world.clock, this.time) };
    this.state = initialState(config);
    this.data = new DataPath(this, world);
    this.hooks = new Hooks(this, world);
    this.effects = new Effects(this, world);
    this.guardian = new Guardian(this, world);
    this.checks = new SimChecks(this, world, config.watched);
    this.heartbeats = new Heartbeats(this, index === 0 ? "n2" : "n1", world, view(this.state));
  }

  peer(): SimNode {
    return this.world.nodes[this.index === 0 ? 1 : 0]!;
  }
  node_has(op: number): boolean {
    return this.disk.copy.ops.has(op);
  }
  isFrozen(scope: Scope): boolean {
    return this.parts[scope].isFrozen;
  }
  get isStunned(): boolean {
    return this.stunned.to > this.world.clock.now;
  }
  /** Does anybody who asks this machine get an answer, from the application or from its address? */
  get runs(): boolean {
    return this.up && !this.isStunned && (this.application || this.address.speaks);
  }
  describe(): ReturnType<typeof describe> {
    return describe(this.state);
  }

  /** Runs later, if the same start of that part still lives then. */
  after(scope: Scope, ms: number, run: () => void, first = false): void {
    if (scope === "process" || this.daemonUp) this.parts[scope].after(ms, run, first);
  }

  boot(): void {
    if (this.up) return;
    this.world.tell(`${this.name} boots`);
    this.up = true;
    this.parts.process.frozenUntil = 0;
    this.stunned = { from: -1, to: -1, silent: -1, seen: true };
    this.time.goOn();
    this.parts.process.beginAnew();
    this.data.reset();
    this.application = false;
    this.address.set(false);
    this.startDaemon(null);
    this.poll();
  }

  private startDaemon(adopt: State | null): void {
    this.parts.daemon.beginAnew();
    this.life++;
    this.daemonUp = true;
    this.parts.daemon.frozenUntil = 0;
    this.address.adopt();
    this.incarnation = `${this.name}${this.world.clock.now.toFixed(0)}`;
    this.heartbeats.reset(this.incarnation);
    this.checks.reset();
    this.effects.beginAnew();
    this.#others = null;
    this.state = initialState(this.#settings);
    const adopted = adopt?.state;
    this.feed({
      type: "boot",
      record: this.disk.record,
      start: this.disk.record.running,
      incarnation: this.incarnation,
      ...(adopted === "ALONE" || adopted === "PRIM" || adopted === "SECOND"
        ? { adopt: { state: adopted, inSync: this.data.inSync, ...this.rightLeft() } }
        : {}),
    });
    if (adopt !== null) this.data.reportAgain();
    this.heartbeats.begin();
  }

  private rightLeft(): { until?: number } {
    const { until } = this.guardian;
    return until === null ? {} : { until };
  }

  /** What the other node says of itself; null: it is lost. As the daemon, a farm's core is only told how the others are. */
  hear(view: PeerView | null, cause = ""): void {
    const { kind } = this.config;
    if (kind === "mirror") this.feed(view === null ? { type: "peerLost", cause } : { type: "peer", view });
    if (kind !== "farm") return;
    this.#others = view === null ? [] : [view];
    this.state = { ...this.state, config: this.#settings };
    this.feed({ type: "timer", name: "others" });
  }

  /** Of two words of people the later counts. */
  maintain(word: { on: boolean; stamp: number }): void {
    if (word.stamp <= this.#maintenance.stamp) return;
    this.#maintenance = word;
    this.state = { ...this.state, config: this.#settings };
    this.after("daemon", 0, () => this.feed({ type: "timer", name: "reconfigured" }));
  }

  get #settings(): FailoverConfig {
    return { ...this.config, maintenance: this.#maintenance.on, others: this.#others };
  }

  /** Power cut: what was not on disk is gone; a record being written may have made it. */
  crash(): void {
    if (!this.up) return;
    this.world.tell(`${this.name} loses power`);
    this.effects.losePower();
    this.up = false;
    this.daemonUp = false;
    this.fences++;
    this.guardian.beginAnew();
    this.application = false;
    this.address.set(false);
    this.parts.daemon.beginAnew();
    this.parts.process.beginAnew();
    this.data.reset();
  }

  /** Loses power when it has begun that many more effects: between any two of them. */
  crashAfter(effects: number, then: () => void): void {
    this.armed = { effects, then };
  }

  disarm(): void {
    this.armed = null;
  }

  /** Was this effect the last before the power goes? */
  private isLast(): boolean {
    if (this.armed === null || --this.armed.effects > 0) return false;
    const { then } = this.armed;
    this.armed = null;
    this.crash();
    then();
    return true;
  }

  /** kill -9 of the daemon: back in time it adopts what runs, else the guardian fences first. */
  killDaemon(adopts: boolean): void {
    if (!this.up || !this.daemonUp) return;
    this.world.tell(`the daemon of ${this.name} is killed`);
    const settled = this.state.main.waiting === null && this.state.data.waiting === null && this.state.booted;
    const { state } = this.state;
    const runs = state === "ALONE" || state === "PRIM" || state === "SECOND";
    const isWhole = !runs || !this.config.replicated || this.data.role !== "idle";
    const stopped = this.isFrozen("daemon");
    const backIn = this.world.chance.between(50, 400);
    const inTime = adopts && !stopped && backIn < this.guardian.left;
    const adopt = settled && isWhole && inTime ? this.state : null;
    this.parts.daemon.beginAnew();
    this.daemonUp = false;
    this.guardian.daemonDied(adopt === null ? null : backIn, stopped, () => {
      if (adopt === null) this.fenceNow();
      this.startDaemon(adopt);
    });
  }

  /** The whole machine stands still. Its clocks go on (`seen`), or a hypervisor stops them too. */
  stun(ms: number, seen: boolean): void {
    const { clock } = this.world;
    const { now } = clock;
    this.world.tell(
      `${this.name} stands still for ${ms.toFixed(0)} ms${seen ? "" : ", and its clocks with it"}`,
    );
    const to = now + ms;
    this.stunned = this.isStunned
      ? { ...this.stunned, to: Math.max(this.stunned.to, to), seen: this.stunned.seen && seen }
      : { from: now, to, silent: this.isFrozen("daemon") ? this.#daemonStopped : now, seen };
    if (!seen) this.time.standStill(to);
    this.parts.process.freeze(to);
    this.freezeDaemon(to);
    if (!seen) return;
    clock.at(to + WAKING / 2, () => {
      if (this.up && !this.isStunned) this.world.check.wakes(this);
    });
  }

  /** SIGSTOP of the daemon: past its deadline the guardian fences, and the same daemon, when it wakes, hears of it. */
  stopDaemon(ms: number): void {
    if (!this.up || !this.daemonUp) return;
    this.world.tell(`the daemon of ${this.name} is stopped for ${ms.toFixed(0)} ms`);
    this.freezeDaemon(this.world.clock.now + ms);
  }

  private freezeDaemon(until: number): void {
    const isFirst = !this.isFrozen("daemon");
    if (isFirst) this.#daemonStopped = this.world.clock.now;
    this.parts.daemon.freeze(until);
    if (!isFirst || !this.up || !this.daemonUp) return;
    this.guardian.watchStopped();
  }

  /** The replication process is killed, and with its mount the application is gone. */
  killProcess(): void {
    this.world.tell(`the replication process of ${this.name} dies`);
    const ran = this.data.role !== "idle";
    this.data.reset();
    this.application = false;
    if (ran) this.report({ kind: "died", detail: "killed by signal 9" });
  }

  /** The disk fails one call. */
  failDisk(detail: string): void {
    if (this.data.role === "idle") return;
    this.world.tell(`the disk of ${this.name} fails once: ${detail}`);
    this.disk.copy.touched = true;
    this.report({ kind: "diskFailed", detail });
  }

  /** Kills everything, as the guardian does. */
  fenceNow(): void {
    if (this.world.isBroken("the guardian does not fence")) return;
    this.fences++;
    this.application = false;
    this.address.set(false);
    this.parts.process.beginAnew();
    this.data.reset();
    this.poll();
  }

  private poll(): void {
    this.after("process", 90, () => {
      this.data.poll();
      this.poll();
    });
  }

  /** Takes an event in, through the real core. */
  feed(body: EventBody): void {
    const event = { ...body, now: this.time.now, wall: this.time.wall } as Event;
    const before = this.world.delude(this.state, event);
    const { state, effects, why } = step(before, event);
    this.state = state;
    this.world.cover(before, event);
    if (why !== "") this.world.tell(`${this.name} ${state.state}: ${why}`);
    if (before.state !== state.state) this.world.tell(`${this.name} is ${state.state} now`);
    this.heartbeats.say(view(state));
    const until = rightUntil(state);
    this.guardian.mayRun(until);
    this.address.until = this.guardian.until === null ? null : this.guardian.until + SILENCED_WITHIN;
    for (const effect of effects) {
      this.effects.carryOut(effect);
      if (this.isLast()) return;
    }
  }

  command(command: Command, cause: string, by: "human" | "rule" = "human"): void {
    if (!this.up || !this.daemonUp || this.isFrozen("daemon")) return;
    this.world.tell(`${this.name}: ${by} says ${commandInWords(command)}`);
    // What is refused, or changes nothing where it waits or follows already, takes nothing back.
    if (command.name === "second") this.commandedFull = command.full;
    else if (!["start", "swap", "restart"].includes(command.name)) this.commandedFull = false;
    const isUnasked = this.state.contact !== "heard" && !this.world.isWitnessed;
    if (command.name === "prim" && (command.force || isUnasked)) this.world.check.forced = true;
    this.commands++;
    this.feed({ type: "command", command, by, cause, id: `${this.name}${this.commands}` });
  }

  report(report: ReplicationReport): void {
    this.after("daemon", 0.5, () => this.feed({ type: "replication", report }));
  }

  /** The effect with this number is done, in so many ms. */
  done(id: number, ms: number, ok = true, detail = ""): void {
    this.after("daemon", ms, () => this.feed({ type: "done", effect: id, ok, detail }));
  }
}
