/** One schedule: two nodes, a network, a random administrator, and fate. */
import { isServing } from "../../core/failover/state.ts";
import type { State } from "../../core/failover/step.ts";
import type { Effect, Event, FailoverConfig, WitnessAnswer } from "../../core/failover/types.ts";
import { Check } from "./failover_check.ts";
import { Chance, Clock } from "./failover_clock.ts";
import type { Session } from "./failover_datapath.ts";
import { TIMEOUT } from "./failover_heartbeats.ts";
import { Network } from "./failover_network.ts";
import { SimNode } from "./failover_node.ts";
import { LEASE, SimWitness } from "./failover_witness.ts";

/** Rules about the witness that are broken on purpose. */
export const WITNESS_MUTANTS = [
  "does not ask the witness",
  "takes an unclear compare-and-swap for done",
  "takes the witness's version for its own",
  "takes over without a lease",
  "counts a lease from when it was granted",
  "counts a promise from when it was heard",
  "does not stop when nobody vouches for it",
  "the guardian knows of no lease",
  "a witness that lost its memory grants at once",
  "gives its lease back before the application has stopped",
] as const;

/** Guarantees that are broken on purpose, to show that each is caught. */
export const MUTANTS = [
  "goes alone before it is durable",
  "forgets that it is outdated",
  "does not wait for the peer's outdatedIn",
  "promotes a copy that is outdated",
  "changes the target before inconsistent is durable",
  "counts as whole before it is",
  "does not keep the loser's writes",
  "starts cold whatever its role",
  "acknowledges without the peer's word",
  "does not seal the old primary's stream",
  "the guardian does not fence",
  "takes over before the other must have stopped",
  "has a clock that drifts more than it may",
  "takes a failed fence for done",
  ...WITNESS_MUTANTS,
] as const;
/** One of them. */
export type Mutant = (typeof MUTANTS)[number];

/** How one run is set up. */
export interface Settings {
  seed: number;
  config?: Partial<FailoverConfig>;
  /** Where there is one: whether it records. */
  witness?: "records" | "pings";
  mutant?: Mutant;
  /** Keep the story in words. */
  story?: boolean;
  coverage?: Map<string, number>;
}

/** The simulated world. */
export class World {
  readonly clock = new Clock();
  readonly chance: Chance;
  readonly network: Network;
  readonly witness: SimWitness;
  readonly check: Check;
  readonly nodes: readonly [SimNode, SimNode];
  readonly story: string[] = [];
  private operations = 0;
  readonly #gaveBack = new Set<SimNode>();
  private readonly settings: Settings;

  constructor(settings: Settings) {
    this.settings = settings;
    this.chance = new Chance(settings.seed);
    this.network = new Network(this.chance, this.clock);
    this.check = new Check(this);
    this.witness = new SimWitness(this, new Chance(settings.seed * 17 + 9), settings.witness === "records");
    const records = settings.witness === "records";
    const isAsked = settings.witness !== undefined && !this.isBroken("does not ask the witness");
    const witness = isAsked ? { records, leaseMs: LEASE } : null;
    const config = (node: string, peer: string): FailoverConfig => ({
      kind: "mirror",
      module: "db",
      node,
      // Nodes of a farm, and of a light module, have no peer: see `hear` of a node.
      peer: this.isMirror ? peer : null,
      failover: "automatic",
      failback: null,
      onIsolation: "continue",
      maxLoop: { count: 3, intervalMs: 86_400_000 },
      timeoutMs: TIMEOUT,
      replicated: true,
      virtualIp: true,
      witness,
      ...settings.config,
    });
    this.nodes = [
      new SimNode("n1", 0, config("n1", "n2"), this),
      new SimNode("n2", 1, config("n2", "n1"), this),
    ];
    if (this.isBroken("has a clock that drifts more than it may"))
      for (const [index, node] of this.nodes.entries()) node.time.setRate(index === 0 ? 0.6 : 1.4);
  }

  /** Is this what was broken on purpose? */
  isBroken(mutant: Mutant): boolean {
    return this.settings.mutant === mutant;
  }

  get isMirror(): boolean {
    return (this.settings.config?.kind ?? "mirror") === "mirror";
  }
  get isReplicated(): boolean {
    return this.isMirror && this.settings.config?.replicated !== false;
  }
  /** Does a third party record who may go on? Then no partition is an excuse. */
  get isWitnessed(): boolean {
    return this.isMirror && this.settings.witness === "records";
  }
  /** Does each node cut the other's power before it begins without it? Then no partition is an excuse either. */
  get cutsPower(): boolean {
    return this.isMirror && this.settings.config?.fences === true;
  }
  get waitsInIsolation(): boolean {
    return this.settings.config?.onIsolation === "wait";
  }

  /** Is the story written down? */
  get telling(): boolean {
    return this.settings.story === true;
  }

  tell(text: string): void {
    if (this.telling) this.story.push(`${(this.clock.now / 1000).toFixed(3).padStart(8)}  ${text}`);
  }

  newOperation(): number {
    this.operations += 1;
    return this.operations;
  }

  cover(state: State, event: Event): void {
    const { coverage } = this.settings;
    if (coverage === undefined) return;
    const pair = pairOf(state.state, eventOf(event));
    coverage.set(pair, (coverage.get(pair) ?? 0) + 1);
  }

  /** TCP: in order, waits out a cut, as long as the receiver keeps the connection. */
  carry(session: Session, from: "source" | "target", run: () => void): void {
    const direction = from === "source" ? 0 : 1;
    const sender = session[from];
    const receiver = from === "source" ? session.target : session.source;
    const queue = session.deliver[direction];
    const at = Math.max((queue.at(-1)?.at ?? 0) + 0.001, this.clock.now + this.chance.between(0.1, 2));
    queue.push({ at, run });
    const attempt = () => {
      if (receiver.session !== session) return;
      // What was sent before it waits in front of it, and goes first.
      const isDue = () => queue.length > 0 && queue[0]!.at <= this.clock.now && receiver.session === session;
      const isOpen = this.network.isOpen("repl", sender.node.index) && !receiver.node.isFrozen("process");
      if (isOpen) while (isDue()) queue.shift()!.run();
      else if (isDue()) this.clock.after(25, attempt);
    };
    this.clock.at(at, attempt);
  }

  /** Lets a mutant change an effect on its way to the node. */
  sabotage(node: SimNode, effect: Effect): Effect {
    const { mutant } = this.settings;
    if (mutant === undefined) return effect;
    if (effect.do === "follow" && mutant === "does not keep the loser's writes")
      return { ...effect, full: effect.sacrifice || effect.full, sacrifice: false };
    if (mutant === "gives its lease back before the application has stopped")
      return this.#giveBackEarly(node, effect);
    if (effect.do !== "persist") return effect;
    const { record } = effect;
    if (
      mutant === "goes alone before it is durable" &&
      record.role === "ALONE" &&
      node.state.state === "PRIM"
    )
      node.data.goAlone(record.generations);
    if (mutant === "forgets that it is outdated" && record.consistency === "outdated")
      return { ...effect, record: { ...record, consistency: "uptodate" } };
    if (
      mutant === "changes the target before inconsistent is durable" &&
      record.consistency === "inconsistent"
    )
      return { ...effect, record: node.disk.record };
    if (
      mutant === "counts as whole before it is" &&
      record.consistency === "inconsistent" &&
      node.state.durable.consistency === "inconsistent"
    )
      return { ...effect, record: { ...record, consistency: "uptodate" } };
    if (mutant === "starts cold whatever its role" && record.role === "SECOND")
      return { ...effect, record: { ...record, role: "ALONE" } };
    return effect;
  }

  /** From the stop hook on the node has no lease, and asks for none; its core does not know. */
  #giveBackEarly(node: SimNode, effect: Effect): Effect {
    if (effect.do === "hook" && effect.hook === "stop_prim") {
      this.witness.giveBack(node);
      this.#gaveBack.add(node);
    }
    if (!isServing(node.state.state)) this.#gaveBack.delete(node);
    return effect.do === "askLease" && this.#gaveBack.has(node) ? { id: effect.id, do: "publish" } : effect;
  }

  /** Lets a mutant change what a node hears of the witness. */
  distort(node: SimNode, request: Effect, answer: WitnessAnswer): WitnessAnswer {
    if (!this.isBroken("takes an unclear compare-and-swap for done")) return answer;
    if (request.do !== "recordSole" || answer.kind !== "unknown") return answer;
    const { sole, generation } = request;
    return { kind: "recorded", word: { sole, generation, version: `guessed by ${node.name}` } };
  }

  /** Lets a mutant change what a node believes before it takes an event in. */
  delude(state: State, event: Event): State {
    const { mutant } = this.settings;
    if (
      mutant === "does not wait for the peer's outdatedIn" &&
      state.peer !== null &&
      state.outdating !== null
    )
      return { ...state, peer: { ...state.peer, outdatedIn: state.outdating } };
    if (
      mutant === "promotes a copy that is outdated" &&
      event.type === "peerLost" &&
      state.state === "SECOND"
    )
      return {
        ...state,
        forbidden: null,
        peer: null,
        durable: { ...state.durable, consistency: "uptodate" },
      };
    const { witness } = state;
    if (mutant === "takes over without a lease" && !isServing(state.state))
      return { ...state, witness: { ...witness, lease: event.now + LEASE } };
    if (mutant === "does not stop when nobody vouches for it")
      return { ...state, witness: { ...witness, peerLease: event.now + LEASE } };
    if (mutant === "takes the witness's version for its own" && witness.word !== null)
      return { ...state, record: { ...state.record, witness: witness.word.version } };
    return state;
  }
}

/** As coverage.ts names it. */
function eventOf(event: Event): string {
  switch (event.type) {
    case "done":
      return event.ok ? "done ok" : "done failed";
    case "witness":
      return `witness ${event.answer.kind}`;
    case "command":
      return `command ${event.command.name}`;
    case "replication":
      return `replication ${event.report.kind}`;
    default:
      return event.type;
  }
}

/** By state and event, the name of the pair: made once, since it is looked up at every event. */
const pairs = new Map<string, Map<string, string>>();

function pairOf(state: string, event: string): string {
  const known = pairs.get(state) ?? new Map<string, string>();
  pairs.set(state, known);
  const pair = known.get(event) ?? `${state} < ${event}`;
  known.set(event, pair);
  return pair;
}
