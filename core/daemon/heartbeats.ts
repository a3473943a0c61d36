/**
 * The beat of the node: the guardian learns that the daemon lives, the kernel's deadline for the virtual addresses is moved on, and the peers
 * hear everything. Ours are the shorter deadlines: both have passed before a peer that heard the last beat loses its patience.
 */
import { type Beat, type Cluster, HeartbeatSockets, type SignOfLife } from "../cluster/cluster.ts";
import type { GuardianLink } from "./guardian/link.ts";
import { Lateness } from "./lateness.ts";
import type { ModuleRuntime } from "./module/runtime.ts";
import type { Revisions } from "./revisions/revisions.ts";
import type { NodeSecrets } from "./secrets/node_secrets.ts";
import { WallClock } from "./wall_clock.ts";

const TICK_MS_MIN = 10;
/** Changes are told at once, but not more often than this, ms. */
const PUBLISH_SPACING_MS = 5;
/** Share of the heartbeat timeout that this daemon may be late without a word about it. */
const LATE = 0.3;

/** Sends and receives the heartbeats of all modules. */
export class Heartbeats {
  readonly #sockets: HeartbeatSockets;
  #timers: ReturnType<typeof setInterval>[] = [];
  #lateness: Lateness;
  /** Whether it was set. */
  readonly wallClock = new WallClock();
  /** What had no room in the last beat. */
  #lacks = "";
  #publishing = false;
  #leaving = false;

  constructor(
    private readonly cluster: Cluster,
    private readonly guardian: GuardianLink,
    private readonly modules: ReadonlyMap<string, ModuleRuntime>,
    /** What this node works with, and who is told what the others do. */
    private readonly holdings: () => {
      revisions: Pick<Revisions, "own" | "onBeat">;
      secrets: Pick<NodeSecrets, "digest" | "onBeat">;
      unusable(): string[];
    } | null,
  ) {
    this.#lateness = new Lateness(this.#timeoutMs * LATE);
    this.#sockets = new HeartbeatSockets(cluster, {
      onSign: (sign) => this.#onSign(sign),
      onBeat: (from, _incarnation, beat) => this.#onBeat(from, beat),
    });
  }

  /** This start of the daemon, hex. */
  get incarnation(): string {
    return this.#sockets.incarnation;
  }

  /** Why a lan has no socket, and what was dropped: for `cluster state`. */
  get health(): { troubles: Record<string, string>; counters: HeartbeatSockets["counters"] } {
    return { troubles: Object.fromEntries(this.#sockets.troubles), counters: this.#sockets.counters };
  }

  /** Opens the sockets and begins to beat. */
  async open(): Promise<void> {
    await this.#sockets.open();
    this.#beat();
  }

  /** Goes on with the timings that the cluster has now. As long as others may go by shorter ones, so does this node. */
  retime(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#lateness = new Lateness(this.#timeoutMs * LATE);
    this.#beat();
    this.#send();
  }

  get #timeoutMs(): number {
    const { heartbeat, formerTimeouts } = this.cluster;
    return Math.min(heartbeat.timeoutMs, formerTimeouts?.least ?? heartbeat.timeoutMs);
  }

  #beat(): void {
    const interval = Math.min(this.cluster.heartbeat.intervalMs, this.#timeoutMs / 10);
    this.#timers = [
      setInterval(() => this.#send(), interval),
      // Silence is noticed soon after it has lasted long enough, whenever the next beat is due.
      setInterval(() => this.#tick(), Math.max(TICK_MS_MIN, this.#timeoutMs / 50)),
    ];
  }

  /** Tells the peers soon: a change should not wait for the next beat. */
  publish(): void {
    if (this.#publishing) return;
    this.#publishing = true;
    setTimeout(() => {
      this.#publishing = false;
      this.#send();
    }, PUBLISH_SPACING_MS);
  }

  /** Says goodbye, a few times, and stops. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#leaving = true;
    for (let i = 0; i < 3; i++) {
      this.#send();
      await Bun.sleep(5);
    }
    this.#sockets.close();
  }

  /** The guardian's patience may start a little after the peer's: it is that much shorter. */
  #tick(): void {
    const now = performance.now();
    this.guardian.alive();
    const words = [this.#lateness.tick(now), this.wallClock.tick()].filter((word) => word !== null);
    for (const runtime of this.modules.values()) {
      for (const word of words) runtime.journal.line("warning", word);
      runtime.tick(now);
    }
  }

  /** By lan, the peers heard there within the cluster's timeout: for `cluster state`. */
  heardOnEachLan(): Readonly<Record<string, readonly string[]>> {
    return this.#sockets.hears(this.cluster.heartbeat.timeoutMs);
  }

  /** The nodes that are heard on any lan. */
  heard(): ReadonlySet<string> {
    return new Set(Object.values(this.heardOnEachLan()).flat());
  }

  /** By lan, the peers that a module hears there. */
  hears(): Record<string, string[]> {
    const hears: Record<string, string[]> = {};
    for (const runtime of this.modules.values()) {
      for (const [lan, nodes] of Object.entries(runtime.peers.hears())) {
        hears[lan] = [...new Set([...(hears[lan] ?? []), ...nodes])];
      }
    }
    return hears;
  }

  #send(): void {
    this.guardian.alive();
    // Neither a claim nor an address is renewed before it is known whether they are still this node's.
    if (!this.guardian.isAwake()) return;
    for (const runtime of this.modules.values()) runtime.renew();
    const views: Record<string, Beat["views"][string]> = {};
    for (const [name, runtime] of this.modules) if (runtime.booted) views[name] = runtime.view();
    const own = this.holdings();
    const held = own === null ? {} : { secrets: own.secrets.digest() };
    const revisions = own?.revisions.own() ?? {};
    const unusable = own?.unusable() ?? [];
    const beat = { hears: this.hears(), leaving: this.#leaving, views, unusable, revisions, ...held };
    const lacks = this.#sockets.send(beat);
    if (lacks !== this.#lacks && lacks !== "")
      console.error(`holdfast: heartbeats are too large, and are sent without ${lacks}`);
    this.#lacks = lacks;
    this.#lateness.mark();
  }

  #onSign(sign: SignOfLife): void {
    for (const runtime of this.modules.values()) runtime.peers.onSign(sign);
  }

  #onBeat(from: string, beat: Beat): void {
    const own = this.holdings();
    // Before a module may start: what it is to have is on its way then.
    own?.secrets.onBeat(from, beat.secrets);
    own?.revisions.onBeat(from, beat.revisions ?? {});
    for (const [name, runtime] of this.modules) {
      const isUnusable = beat.unusable?.includes(name) ?? false;
      runtime.peers.onBeat(from, beat, isUnusable ? "unusable" : (beat.views[name] ?? null));
    }
  }
}
