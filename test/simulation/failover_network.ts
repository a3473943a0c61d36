/** Two lans between two nodes: loss, repetition, delay, overtaking, one-way and whole partitions. */
import type { Chance, Clock } from "./failover_clock.ts";

export const LANS = ["lan", "repl"] as const;
/** A datagram that takes longer is a straggler, ms. */
const LATE = 50;
export type LanName = (typeof LANS)[number];

interface Sent {
  good: number;
  isLosing: boolean;
}

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
  /** How much longer everything takes that a node sends, ms. */
  readonly lag: [number, number] = [0, 0];

  /** Of what each node sends: when the last went that arrives soon, and whether a later one was lost, or late. */
  private readonly sent: [Sent, Sent] = [
    { good: 0, isLosing: false },
    { good: 0, isLosing: false },
  ];
  /** As the receiver knows it while the last is under way, which arrives at this time. */
  private readonly heard: [Sent & { until: number }, Sent & { until: number }] = [
    { good: 0, isLosing: false, until: 0 },
    { good: 0, isLosing: false, until: 0 },
  ];

  constructor(
    private readonly chance: Chance,
    private readonly clock: Clock,
  ) {}

  /** For how long nothing that a node sent has arrived soon, ms, where the network is to blame: the longer of the two directions. */
  silence(): number {
    const isCut = (from: 0 | 1) => LANS.every((lan) => this.blocked[lan][from]);
    const { now } = this.clock;
    const of = (from: 0 | 1) => {
      const { good, isLosing } = now < this.heard[from].until ? this.heard[from] : this.sent[from];
      return isLosing || isCut(from) ? now - good : 0;
    };
    return Math.max(of(0), of(1));
  }

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
    this.lag.fill(0);
  }
  /** The delays of the copies of one datagram that arrive; empty when it is lost. */
  datagram(lan: LanName, from: 0 | 1): number[] {
    const lost = !this.isOpen(lan, from) || this.chance.is(this.loss);
    const first = lost ? 0 : this.lag[from] + this.delay();
    const { now } = this.clock;
    const isLosing = lost || first >= LATE;
    if (!isLosing && now >= this.heard[from].until)
      this.heard[from] = { ...this.sent[from], until: now + first };
    this.sent[from] = { good: isLosing ? this.sent[from].good : now, isLosing };
    if (lost) return [];
    return this.chance.is(this.repeat) ? [first, this.lag[from] + this.delay()] : [first];
  }
  private delay(): number {
    return this.chance.is(this.straggler) ? this.chance.between(50, 700) : this.chance.between(0.2, 3);
  }
}
