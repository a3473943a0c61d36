/** The guardian of a simulated node: fences when the daemon gives no sign. */
import { TIMEOUT } from "./failover_heartbeats.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** When it fences a daemon that gives no sign, as parts of the heartbeat timeout (docs/architecture.md, "One clock for fencing"). */
const FENCE = 0.72 * TIMEOUT;

/** How long after the end of a right it fences what the daemon has not, ms. */
const LATEST_FENCE = 0.03 * TIMEOUT;

/** See the top of the file. */
export class Guardian {
  readonly #node: SimNode;
  readonly #world: World;
  #killed = 0;
  /** The last sign of a daemon that is stopped, by its node's clock. */
  #lastSign = 0;
  /** When the right to run what runs ends, by its node's clock; null: it has no end. */
  until: number | null = null;
  #looksAt: number | null = null;

  constructor(node: SimNode, world: World) {
    this.#node = node;
    this.#world = world;
  }

  /** The daemon or the machine begins anew: what was to come does not. */
  beginAnew(): void {
    this.#killed++;
    this.#looksAt = null;
  }

  /** How long what runs may go on without another word of the daemon, ms. */
  get left(): number {
    return this.until === null ? Number.POSITIVE_INFINITY : Math.max(0, this.until - this.#node.time.now);
  }

  /** The daemon says until when it has the right to run what it runs. */
  mayRun(until: number | null): void {
    if (this.#world.isBroken("the guardian knows of no lease")) return;
    this.until = until;
    if (until !== null && this.#looksAt === null) this.#watchRight(until);
  }

  #watchRight(at: number): void {
    this.#looksAt = at;
    const grace = LATEST_FENCE - this.#node.time.now + at;
    this.#afterUnlessKilled(Math.max(0.01, grace), () => {
      this.#looksAt = null;
      if (this.until === null) return;
      if (this.#node.time.now >= this.until) this.fence();
      else this.#watchRight(this.until);
    });
  }

  /** The daemon is dead: `then` comes in so many ms when it is back in time, else when it is late. `stopped`: it gave no sign before. */
  daemonDied(backIn: number | null, stopped: boolean, then: () => void): void {
    this.beginAnew();
    const late = Math.min(FENCE - (stopped ? this.#node.time.now - this.#lastSign : 0), this.left);
    this.#afterUnlessKilled(backIn ?? late, then);
  }

  /** The daemon stands still: this was its last sign. */
  watchStopped(): void {
    this.#lastSign = this.#node.time.now;
    this.#watchDaemon(FENCE);
  }

  /** What the guardian does later, by its own clock, unless the daemon or the machine begins anew first. */
  #afterUnlessKilled(ms: number, run: () => void): void {
    const node = this.#node;
    const kill = this.#killed;
    const attempt = () => {
      if (!node.up || kill !== this.#killed) return;
      if (node.isStunned) this.#world.clock.at(node.stunned.to, attempt);
      else run();
    };
    this.#world.clock.after(node.time.inTruth(ms), attempt);
  }

  /** The guardian looks at the gap between two signs of the daemon, even when it stood still together with it. */
  #watchDaemon(ms: number): void {
    const node = this.#node;
    const sign = this.#lastSign;
    this.#afterUnlessKilled(ms, () => {
      if (sign !== this.#lastSign || node.parts.daemon.frozenUntil < this.#world.clock.now) return;
      const left = sign + FENCE - node.time.now;
      if (left > 0.001) this.#watchDaemon(left);
      else this.fence();
    });
  }

  /** The guardian fences on its own: it takes the daemon for late, or it is. */
  fence(): void {
    const node = this.#node;
    if (!node.up || !node.daemonUp) return;
    this.#world.tell(`the guardian of ${node.name} fences`);
    const ran = node.data.role !== "idle";
    node.fenceNow();
    // A daemon that wakes asks its guardian before it acts on whatever else waited.
    const wait = node.parts.daemon.frozenUntil >= this.#world.clock.now ? 0 : 0.5;
    node.after("daemon", wait, () => node.feed({ type: "fenced", cause: "the daemon was late" }), true);
    if (ran) node.report({ kind: "died", detail: "killed by signal 9" });
  }
}
