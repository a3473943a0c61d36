/**
 * What SECOND's copy counts as, from one connection to the next: its generations, whether it is to be copied anew, and whether what it
 * holds of its own may be overwritten.
 */
import type { Generations } from "../../failover/types.ts";
import { rejoin } from "../../replication/generations.ts";
import { noGenerations } from "../host.ts";
import { type FollowerHello, type SourceHello, wireGenerations } from "../stream/hello.ts";

/** See the top of the file. */
export class CopyStanding {
  #generations: Generations;
  /** Somebody asked for a full copy, and it has not begun yet. */
  #full: boolean;
  /** The source answered with a full copy. */
  #isFull = false;
  readonly #sacrifice: boolean;
  /** What this node wrote alone is kept aside. */
  #saved = false;
  #source: Generations;

  constructor(generations: Generations, full: boolean, sacrifice: boolean) {
    this.#generations = generations;
    this.#source = generations;
    this.#full = full;
    this.#sacrifice = sacrifice;
  }

  /** The source's generations, as it said last. */
  get source(): Generations {
    return this.#source;
  }

  /** What a connection begins with. */
  hello(): Pick<FollowerHello, "generations" | "full" | "sacrifice"> {
    return {
      generations: wireGenerations(this.#generations),
      full: this.#full,
      sacrifice: this.#sacrifice,
    };
  }

  /** The source said what it is, and what it makes of this copy. */
  answered({ generations, mode }: SourceHello): void {
    this.#source = generations;
    this.#isFull = mode === "full";
  }

  /** Before this copy is overwritten: `save` keeps aside what this node wrote alone, once. It throws when that cannot be kept. */
  giveWay({ relation }: SourceHello, save: () => void): void {
    // Of a full copy that was asked for, the source does not look at what both had in common.
    const isApart = relation === "split-brain" || this.#full;
    if (!this.#sacrifice || !isApart || this.#saved) return;
    save();
    this.#saved = true;
  }

  /** The daemon let this copy be changed. Durably worth nothing now: that tells by itself what is to be copied, and an interrupted full copy may go on. */
  begin(): void {
    if (this.#isFull) this.#generations = noGenerations;
    this.#full &&= !this.#isFull;
  }

  /** What the source says at the end of the copy. */
  ends({ generations }: SourceHello): void {
    this.#source = generations;
  }

  /** Equal and durable on both disks: the past is the source's from here on. */
  rejoin(): void {
    this.#generations = rejoin(this.#source);
  }

  /** Nothing is left to be copied. */
  inSync(): void {
    this.#full = false;
  }
}
