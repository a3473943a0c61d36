/** What a simulated machine is made of: parts that can be frozen, and an address with the kernel's deadline. */
import type { Clock, NodeTime } from "./failover_clock.ts";
import { TIMEOUT } from "./failover_heartbeats.ts";

/** A part that wakes takes in what waited so long after, ms; what its guardian did comes before. */
export const WAKING = 0.01;
/** When the kernel silences an address of which no daemon says that it may speak on (docs/architecture.md, "One clock for fencing"), ms. */
const SPEAKS_FOR = 0.8 * TIMEOUT;

/** The daemon, or the replication process with what it serves: it may begin anew, and it may be frozen. */
export class Part {
  /** Until when, in true time. */
  frozenUntil = 0;
  private epoch = 0;
  private waiting: { epoch: number; run: () => void }[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly time: NodeTime,
  ) {}

  get isFrozen(): boolean {
    return this.frozenUntil > this.clock.now;
  }

  /** Ends what lived; what was to happen to it does not. */
  beginAnew(): void {
    this.epoch++;
    this.waiting = [];
  }

  freeze(until: number): void {
    this.frozenUntil = Math.max(this.frozenUntil, until);
  }

  /** Runs later, if the same start still lives then; frozen, it catches up in order when it thaws, with what is `first` first. */
  after(ms: number, run: () => void, first: boolean): void {
    const { epoch } = this;
    this.clock.after(this.time.inTruth(ms), () => {
      if (epoch !== this.epoch) return;
      if (!this.isFrozen && this.waiting.length === 0) {
        run();
        return;
      }
      if (this.waiting.length === 0) this.wakeLater();
      if (first) this.waiting.unshift({ epoch, run });
      else this.waiting.push({ epoch, run });
    });
  }

  /** Takes in what has just come: at once, or frozen, when it thaws. */
  take(run: () => void): void {
    if (this.isFrozen || this.waiting.length > 0) this.after(0, run, false);
    else run();
  }

  private wakeLater(): void {
    const { epoch } = this;
    this.clock.at(this.frozenUntil + WAKING, () => {
      if (epoch !== this.epoch) return;
      if (this.isFrozen) this.wakeLater();
      else for (const { run } of this.waiting.splice(0)) if (epoch === this.epoch) run();
    });
  }
}

/** The virtual IP on one machine. */
export class Address {
  private isUp = false;
  /** When a daemon last said that it may speak, by the machine's clock; null: it came too late, and says so no more. */
  private heldAt: number | null = null;

  /** When the right to it ends, by the machine's clock: the kernel is told of no later deadline. Null: it has no end. */
  until: number | null = null;

  constructor(private readonly time: NodeTime) {}

  /** Does it answer? The kernel counts, whoever is stopped. */
  get speaks(): boolean {
    if (this.until !== null && this.time.now > this.until) return false;
    return this.isUp && this.heldAt !== null && this.time.now <= this.heldAt + SPEAKS_FOR;
  }

  /** `since`: when the daemon began to take it. */
  set(up: boolean, since = this.time.now): void {
    this.isUp = up;
    this.heldAt = up ? since : null;
  }

  /** Has the deadline passed that began then? Who took so long takes it no more. */
  isOver(since: number): boolean {
    return this.time.now > since + SPEAKS_FOR;
  }

  /** A new daemon goes on with what is here. */
  adopt(): void {
    this.set(this.isUp);
  }

  /** Once a beat: it may speak on, unless the daemon slept through the deadline. */
  hold(): void {
    if (this.heldAt === null) return;
    this.heldAt = this.time.now > this.heldAt + SPEAKS_FOR ? null : this.time.now;
  }
}
