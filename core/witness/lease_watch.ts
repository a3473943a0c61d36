/**
 * Leases over a store that has none: who may take the lease of a module is judged from what was seen of its record, and when, on this node's own clock.
 *
 * A lease runs from when its holder asked for it, so from before the record was written, so from before anybody saw it. Whoever has seen the record unchanged
 * for the length of the lease, and for what two clocks may drift apart, knows that it is over; whoever then writes with compare-and-swap is the only one.
 * A record that is not there, or that went back in time, says nothing about who may hold a lease that it forgot: it too is watched for one. So is one that this
 * node sees for the first time, unless the store itself keeps account of leases: what it says may be a late write on top of something forgotten.
 *
 * Pure: `now` is ms of a clock that never goes back and counts a suspended machine.
 */
import type { StoredRecord } from "./stored_record.ts";

/** How far a clock may be off the true pace: the bound under which two nodes never run at once. */
export const CLOCK_DRIFT = 0.05;
/** A lease of L on one clock has ended on another after L times this. */
export const PATIENCE = (1 + CLOCK_DRIFT) / (1 - CLOCK_DRIFT);

/** Share of a lease within which no store is written, loses all its memory, and answers again. */
const CLOSELY = 1 / 3;

/** What a store answered: the record (null: there is none), and what compare-and-swap needs to name it. */
export interface Cell<Tag = string> {
  record: StoredRecord | null;
  /** Null where there is no record. */
  tag: Tag | null;
  /** The store itself says that nobody holds a lease: etcd does. */
  isLapsed: boolean;
}

/** May the lease be taken now? `waitMs`: for how long at least nothing will change that; `why` is for people. */
export type Verdict = { may: true } | { may: false; holder: string | null; waitMs: number; why: string };

/**
 * How what is seen came after what was seen before. `continued`: written on top of it, by somebody who knew it. `new`: seen for the first time, or where there
 * was none. `broken`: it is missing, or went back in time.
 */
type Descent = "continued" | "new" | "broken";

/** What this node knows of one module's record. */
export class LeaseWatch {
  /** Undefined: nothing was seen yet. */
  #seen: StoredRecord | null | undefined = undefined;
  /** The newest that was seen, also when it is there no more. */
  #newest: StoredRecord | null = null;
  #descent: Descent = "new";
  /** When what is seen now was first seen. */
  #since = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #heldUntil = Number.NEGATIVE_INFINITY;
  #longest: number;

  /** `leaseMs`: a lease of this cluster, until one is asked for. */
  constructor(
    private readonly node: string,
    leaseMs: number,
  ) {
    this.#longest = leaseMs;
  }

  /** The record as the store told it; `now` is when the answer came. */
  sees(record: StoredRecord | null, now: number): void {
    const isSame = this.#seen !== undefined && record?.write === this.#seen?.write;
    const gap = now - this.#lookedAt;
    this.#lookedAt = now;
    // Two absences look alike, and a record may have come and gone between them: what was not looked at closely does not count.
    if (isSame && (record !== null || gap <= this.#longest * CLOSELY)) return;
    if (record === null || (this.#newest !== null && record.count < this.#newest.count))
      this.#descent = "broken";
    else {
      this.#descent = this.#seen ? "continued" : "new";
      this.#newest = record;
    }
    this.#seen = record;
    this.#since = now;
  }

  /** This node wrote the record, on top of what it had seen. */
  wrote(record: StoredRecord, now: number): void {
    this.#seen = this.#newest = record;
    this.#descent = "continued";
    this.#since = now;
  }

  /** This node was granted a lease that lasts until then. */
  granted(until: number, leaseMs: number): void {
    this.#heldUntil = until;
    this.#longest = leaseMs;
  }

  /** This node holds no lease any more. */
  lost(): void {
    this.#heldUntil = Number.NEGATIVE_INFINITY;
  }

  /** Does this node hold a lease now, by its own clock? Then nobody else can, whatever the store remembers. */
  holds(now: number): boolean {
    return now < this.#heldUntil;
  }

  /**
   * The record to go on from: what the store has, but where it forgot and this node holds the lease, what it had. Nobody else can have changed it: that takes
   * the lease too.
   */
  carried(record: StoredRecord | null, now: number): StoredRecord | null {
    return this.#descent === "broken" && this.holds(now) ? this.#newest : record;
  }

  /** May this node take the lease, or change the record, when the store says `cell`, which `sees` was told of? */
  judge(cell: Pick<Cell, "record" | "isLapsed">, now: number): Verdict {
    if (this.holds(now)) return { may: true };
    const { record, isLapsed } = cell;
    const holder = record?.holder ?? null;
    const isKnown = this.#descent === "continued";
    const lease = Math.max(record?.leaseMs ?? 0, isKnown ? 0 : this.#longest);
    const waitMs = lease * PATIENCE - (now - this.#since);
    if (waitMs <= 0) return { may: true };
    const refused = (why: string): Verdict => ({ may: false, holder, waitMs, why });
    if (this.#descent === "broken") {
      const what = record === null ? "has no record of it, and may have had one" : "went back in time";
      return refused(`the witness ${what}: it grants nothing for the length of a lease`);
    }
    if (isLapsed || (isKnown && (holder === null || holder === this.node))) return { may: true };
    return refused(
      holder === null || holder === this.node
        ? "this node has not watched its record for the length of a lease yet"
        : `${holder} holds the lease, or held it until just now`,
    );
  }
}
