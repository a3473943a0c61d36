/** Two lans between two nodes: loss, repetition, delay, overtaking, one-way and whole partitions. */
import type { Chance } from "./failover_clock.ts";

export const LANS = ["lan", "repl"] as const;
export type LanName = (typeof LANS)[number];

/** The weather between two nodes. Index 0 is the direction away from node 0. */
export class Network {
  /** Directions that carry nothing now, by lan. */
  private readonly blocked: Record<LanName, [boolean, boolean]> = {
    lan: [false, false],
    repl: [false, false],
  };
  loss = 0;
  repeat = 0;
  /** Probability of a datagram that takes a long way. */
  straggler = 0;

  constructor(private readonly chance: Chance) {}

  /** Does this lan carry what `from` sends? */
  isOpen(lan: LanName, from: number): boolean {
    return !this.blocked[lan][from as 0 | 1];
  }
  isRoundTrip(lan: LanName): boolean {
    return !this.blocked[lan][0] && !this.blocked[lan][1];
  }
  set(lan: LanName, from: number, blocked: boolean): void {
    this.blocked[lan][from as 0 | 1] = blocked;
  }
  heal(): void {
    for (const lan of LANS) this.blocked[lan] = [false, false];
    this.loss = 0;
    this.repeat = 0;
    this.straggler = 0;
  }
  /** The delays of the copies of one datagram that arrive; empty when it is lost. */
  datagram(lan: LanName, from: number): number[] {
    if (!this.isOpen(lan, from) || this.chance.is(this.loss)) return [];
    const first = this.delay();
    return this.chance.is(this.repeat) ? [first, this.delay()] : [first];
  }
  private delay(): number {
    return this.chance.is(this.straggler) ? this.chance.between(50, 700) : this.chance.between(0.2, 3);
  }
}
