/** The witness of a simulated cluster, and its road from and to each node: a third machine with a clock, troubles and a memory of its own. */
import type { Effect, WitnessAnswer, WitnessWord } from "../../core/failover/types.ts";
import { type Chance, NodeTime } from "./failover_clock.ts";
import { TIMEOUT } from "./failover_heartbeats.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** The lease that nodes ask for, ms. */
export const LEASE = TIMEOUT;
/** After so long a client gives an answer up, ms: the shortest and the longest that there is. */
const PATIENCE = [200, 800] as const;
/** A lease that is given back may take so long to get there, ms. */
const LONG_UNDER_WAY = 5000;
/** Where there is no record. */
const ABSENT: WitnessWord = { sole: null, generation: null, version: "absent" };

type Request = Extract<Effect, { do: "askLease" | "recordSole" | "readWitness" }>;
/** A node's request for a lease: what is to come after its answer. */
interface Asking {
  isOver: boolean;
  after: (() => void)[];
}

/** See the top of the file. */
export class SimWitness {
  readonly time: NodeTime;
  /** By version, whom it was ever recorded for. */
  readonly soles = new Map<string, string | null>();
  word: WitnessWord = ABSENT;
  isUp = true;
  frozenUntil = 0;
  /** Probability of a message that takes a long way, and of one that comes twice. */
  slow = 0;
  repeat = 0;
  /** How much longer each answer takes, ms. */
  late = 0;
  /** Of each node: what it sends here is lost; what is answered is lost. */
  readonly cut: [{ there: boolean; back: boolean }, { there: boolean; back: boolean }] = [
    { there: false, back: false },
    { there: false, back: false },
  ];
  /** It has a number, so that one that is given back is not taken for a later one. */
  #lease: { holder: string; until: number; number: number } | null = null;
  #leases = 0;
  /** The lease that each daemon was last told of, and its last request for one. */
  readonly #told = new Map<SimNode, { life: number; number: number }>();
  readonly #asking = new Map<SimNode, Asking>();
  /** It lost its leases: nothing is granted before. */
  #nothingBefore = Number.NEGATIVE_INFINITY;
  #versions = 0;
  #life = 0;
  readonly #patience: number;
  /** Some refuse to change the record while another node holds the lease: nobody depends on it. */
  readonly #looksAtLeases: boolean;

  constructor(
    private readonly world: World,
    private readonly chance: Chance,
    readonly records: boolean,
  ) {
    this.time = new NodeTime(world.clock, 5e6);
    this.#patience = chance.between(...PATIENCE);
    this.#looksAtLeases = chance.is(0.5);
  }

  /** Everything is well again. */
  heal(): void {
    this.isUp = true;
    this.frozenUntil = 0;
    this.slow = 0;
    this.repeat = 0;
    this.late = 0;
    for (const road of this.cut) Object.assign(road, { there: false, back: false });
  }

  /** It stops, and begins anew. Its leases are forgotten; with `all`, what it had recorded too. */
  restart(ms: number, all: boolean): void {
    const { clock } = this.world;
    this.#life++;
    this.isUp = false;
    this.#lease = null;
    if (all) this.word = ABSENT;
    clock.after(ms, () => {
      this.isUp = true;
      if (!this.world.isBroken("a witness that lost its memory grants at once"))
        this.#nothingBefore = this.time.now + LEASE;
    });
  }

  /** It stands still: what comes waits, and is answered when it goes on. */
  freeze(ms: number, withClock: boolean): void {
    this.frozenUntil = this.world.clock.now + ms;
    if (withClock) this.time.standStill(this.frozenUntil);
  }

  /** A node asks; it is told of the answer, or that there was none. */
  ask(node: SimNode, request: Request): void {
    const { chance } = this;
    const sentAt = node.time.now;
    const { life } = node;
    const asking: Asking = { isOver: false, after: [] };
    if (request.do === "askLease") this.#asking.set(node, asking);
    const tell = (answer: WitnessAnswer, number = 0) => {
      if (asking.isOver || node.life !== life) return;
      asking.isOver = true;
      if (answer.kind === "granted") this.#told.set(node, { life, number });
      for (const next of asking.after) next();
      const late = this.world.isBroken("counts a lease from when it was granted");
      const counted = answer.kind === "granted" && late ? { ...answer, sentAt: node.time.now } : answer;
      node.feed({ type: "witness", effect: request.id, answer: this.world.distort(node, request, counted) });
    };
    node.after("daemon", this.#patience, () => tell({ kind: "unknown", why: "no answer in time" }));
    const copies = chance.is(this.repeat) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++)
      this.#carry(node, "there", () => {
        const answer = this.#answer(node.name, request, sentAt);
        const number = this.#leases;
        this.#carry(node, "back", () => node.after("daemon", 0, () => tell(answer, number)));
      });
  }

  /** A node gives back the lease that it knows of, once its last request for one is answered. It waits for no answer, and its word may be long under way. */
  giveBack(node: SimNode): void {
    const { chance } = this;
    const { life } = node;
    const give = () => {
      const told = this.#told.get(node);
      if (node.life !== life || told?.life !== life) return;
      this.#told.delete(node);
      const takes = chance.is(0.1) ? chance.between(0, LONG_UNDER_WAY) : 0;
      this.world.clock.after(takes, () =>
        this.#carry(node, "there", () => {
          if (this.#lease?.number === told.number) this.#lease = null;
        }),
      );
    };
    const asking = this.#asking.get(node);
    if (asking === undefined || asking.isOver) give();
    else asking.after.push(give);
  }

  #carry(node: SimNode, way: "there" | "back", run: () => void): void {
    const { clock } = this.world;
    const life = this.#life;
    const arrive = () => {
      if (this.cut[node.index][way] || !node.up) return;
      if (way === "back") run();
      else if (!this.isUp || life !== this.#life) return;
      else if (this.frozenUntil > clock.now) clock.at(this.frozenUntil + this.chance.between(0, 2), arrive);
      else run();
    };
    const takes = this.chance.is(this.slow) ? this.chance.between(20, 900) : this.chance.between(0.3, 3);
    clock.after(way === "back" ? this.late + takes : takes, arrive);
  }

  #answer(node: string, request: Request, sentAt: number): WitnessAnswer {
    if (!this.records) return { kind: "granted", sentAt };
    const { now } = this.time;
    const holder = this.#lease !== null && this.#lease.until > now ? this.#lease.holder : null;
    const isOthers = holder !== null && holder !== node;
    switch (request.do) {
      case "askLease":
        if (isOthers) return { kind: "refused", why: `${holder} has the lease`, word: this.word };
        if (now < this.#nothingBefore) return { kind: "refused", why: "it began anew", word: this.word };
        this.#lease = { holder: node, until: now + LEASE, number: ++this.#leases };
        return { kind: "granted", sentAt, word: this.word };
      case "recordSole": {
        const isHeldBack = this.#looksAtLeases && isOthers;
        if (isHeldBack || this.word.version !== request.expected) return { kind: "changed", word: this.word };
        const { sole, generation } = request;
        this.word = { sole, generation, version: `v${++this.#versions}` };
        this.soles.set(this.word.version, sole);
        this.world.tell(
          `the witness records ${sole === null ? "that both are together" : `${sole} as the sole one`}`,
        );
        return { kind: "recorded", word: this.word };
      }
      case "readWitness":
        return { kind: "record", word: this.word };
    }
  }
}
