/**
 * Leases over a store that has none: who may take the lease of a module is judged from what was seen of its record, and when, on this node's own clock.
 *
 * A lease runs from when its holder asked for it, so from before the record was written, so from before anybody saw it. Whoever has seen the record unchanged
 * for the length of the lease, and for what two clocks may drift apart, knows that it is over; whoever then writes with compare-and-swap is the only one.
 * A record that is not there, or that went back in time, says nothing about who may hold a lease that it forgot: it too is watched for one.
 *
 * Pure: `now` is ms of a clock that never goes back and counts a suspended machine.
 */
import type { StoredRecord } from "./stored_record.ts";

/** How far a clock may be off the true pace: the bound under which two nodes never run at once. */
export const CLOCK_DRIFT = 0.05;
/** A lease of L on one clock has ended on another after L times this. */
export const PATIENCE = (1 + CLOCK_DRIFT) / (1 - CLOCK_DRIFT);

/** What a store answered: the record (null: there is none), and what compare-and-swap needs to name it. */
export interface Cell<Tag = string> {
  record: StoredRecord | null;
  /** Null where there is no record. */
  tag: Tag | null;
  /** The store itself says that the holder's lease has ended: etcd does. */
  isLapsed: boolean;
}

/** May the lease be taken now? `waitMs`: for how long at least nothing will change that; `why` is for people. */
export type Verdict = { may: true } | { may: false; holder: string | null; waitMs: number; why: string };

/** What this node knows of one module's record. */
export class LeaseWatch {
  #seen: StoredRecord | null = null;
  /** The newest that was seen, also when it is there no more. */
  #newest: StoredRecord | null = null;
  #isKnown = false;
  /** When what is seen now was first seen. */
  #since = 0;
  /** The record is missing, or went back in time: what it says, and what the store says of it, is no reason to take the lease. */
  #isForgetful = false;
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
    if (this.#isKnown && record?.write === this.#seen?.write) return;
    if (record === null) this.#isForgetful = true;
    // One that is written after it was missing was written by somebody who had watched, or held the lease.
    else this.#isForgetful = this.#seen !== null && record.count < this.#seen.count;
    this.#seen = record;
    if (record !== null && !this.#isForgetful) this.#newest = record;
    this.#isKnown = true;
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
    return this.#isForgetful && this.holds(now) ? this.#newest : record;
  }

  /** May this node take the lease, or change the record, when the store says `cell`, which `sees` was told of? */
  judge(cell: Pick<Cell, "record" | "isLapsed">, now: number): Verdict {
    if (this.holds(now)) return { may: true };
    const { record } = cell;
    const lease = Math.max(record?.leaseMs ?? 0, this.#isForgetful ? this.#longest : 0);
    const waitMs = lease * PATIENCE - (now - this.#since);
    if (waitMs <= 0) return { may: true };
    const holder = record?.holder ?? null;
    if (this.#isForgetful) {
      const what = record === null ? "has no record of it, and may have had one" : "went back in time";
      return {
        may: false,
        holder,
        waitMs,
        why: `the witness ${what}: it grants nothing for the length of a lease`,
      };
    }
    if (holder === null || holder === this.node || cell.isLapsed) return { may: true };
    return { may: false, holder, waitMs, why: `${holder} holds the lease, or held it until just now` };
  }
}
