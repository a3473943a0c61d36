/**
 * The virtual addresses of a farm on one node: every node has them, one answers for them, and the filter in the kernel gives each packet to the node
 * that it belongs to (core/farm). This keeps the filter in step with what the nodes say of themselves.
 */
import { BUCKETS, hashOf, inOrder, type Shares } from "../farm/assignment.ts";
import { type Filter, type FilterRule, rulesetOf, withoutRuleset } from "../farm/ruleset.ts";
import { type FarmPlan, type FarmWord, planOf, type Stage } from "../farm/word.ts";
import { macText, parseCidr } from "../network/address.ts";
import { countConnections } from "../network/connections.ts";
import { tableOf } from "../network/deadline.ts";
import { type Counter, changeRules, changeRulesNow, countersOf, hasIngressChain } from "../network/nft.ts";
import type { VirtualAddress, VirtualIp } from "../network/virtual_ip.ts";
import { VirtualAddresses } from "./virtual_addresses.ts";

/** How long a machine that is not of the farm has to stop answering for an address before it is refused, ms. */
const STRANGER_MS = 2000;
const STRANGER_PROBE_MS = 60;
/** How long a node that is about to stop waits for the others to have taken its clients over, ms. */
const HANDOVER_MS = 500;
const LOOK_MS = 10;
/** How often the filter is looked at although nothing was said, ms. */
const LOOK_AGAIN_MS = 1000;
/** For so long after a bucket came here its flows may be where it was, ms: UDP exchanges (as long as one is remembered), TCP connections. */
const UDP_MOVED_MS = 180_000;
const TCP_MOVED_MS = 86_400_000;

/** What the farm is made of. */
export interface FarmParts {
  module: string;
  /** This node. */
  node: string;
  addresses: readonly VirtualAddress[];
  network: VirtualIp;
  timeoutMs: number;
  warn(text: string): void;
  note(text: string): void;
  /** As module.yaml has them now. */
  settings(): { shares: Shares; rules: readonly FilterRule[] };
  /** What the other nodes that take part say; null while it is not known of each whether it lives. */
  words(): ReadonlyMap<string, FarmWord> | null;
  /** This node's word has changed. */
  publish(): void;
  /** A new daemon goes on with what the one before had open. */
  adopted(): void;
}

/** What `holdfast farm` shows of this node. */
export interface FarmReport {
  device: string;
  stage: Stage;
  /** By node that takes part: its buckets, whether its filter goes by the same assignment, and the packets that this node handed to it. */
  nodes: Record<string, { stage: Stage; buckets: number; agrees: boolean; packets: number }>;
  /** By virtual address, the node that answers for it. */
  answers: Record<string, string | null>;
  rules: readonly FilterRule[];
  /** By bucket, its node. */
  buckets: readonly string[];
  /** TCP connections of this node's clients. */
  connections: number;
  /** Packets that went round since no node that was asked first knew their flow; and those for ports that no rule names. */
  rounds: number;
  refused: number;
}

/** See the top of the file. */
export class FarmAddresses extends VirtualAddresses {
  readonly #table: string;
  /** The addresses are here and the filter with them. */
  #isHere = false;
  #wanted: Stage = "closed";
  #isDraining = false;
  #word: FarmWord | null = null;
  #plan: FarmPlan = planOf({ nodes: [], weights: {}, priority: [] }, new Map());
  /** The last text that the kernel took. */
  #text = "";
  #answers: string[] = [];
  /** By bucket that came to this node: from which, and when, ms. */
  readonly #gained = new Map<number, { former: string; at: number }>();
  #changing: Promise<void> | null = null;
  /** All that the last text was made of, and when that was last looked at, ms. */
  #known = "";
  #lookedAt = Number.NEGATIVE_INFINITY;
  /** Why this node cannot serve, or "". */
  #trouble = "";
  /** When the kernel last refused, so that it is not asked all the time, ms. */
  #refusedAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly parts: FarmParts) {
    super(parts.module, parts.addresses, parts.network, parts.timeoutMs, parts.warn);
    this.#table = `${tableOf(parts.module)}_farm`;
  }

  /** What the peers are told; null: this node takes no part. */
  get word(): FarmWord | null {
    return this.#word;
  }

  protected override async take(mayTake: () => boolean): Promise<void> {
    const [link, ...others] = this.addresses.map((address) => this.network.linkOf(address));
    const elsewhere = others.find(({ index }) => index !== link!.index);
    if (elsewhere)
      throw new Error(
        `the virtual IPs of a farm are on one interface, not on ${link!.name} and ${elsewhere.name}`,
      );
    if (this.#word === null) for (const address of this.addresses) await this.#refuseStrangers(address);
    if (!mayTake()) throw new Error("the virtual IP was given up while it was being taken");
    await this.#changing;
    this.#isDraining = false;
    // What the kernel has from a daemon that died works on until the peers are known.
    if (this.#word === null) await this.#apply("closed", new Map(), true);
    for (const address of this.addresses) this.network.place(address);
    this.#isHere = true;
  }

  /** The others hear no other word than that of the daemon before, or they would take this node's flows for nobody's. */
  override async adopt(): Promise<void> {
    this.parts.adopted();
    try {
      const link = this.network.linkOf(this.addresses[0]!);
      this.#word = { stage: "open", mac: macText(link.mac), number: "" };
    } catch (error) {
      this.warn(`virtual IP: ${(error as Error).message}`);
    }
    await super.adopt();
  }

  async #refuseStrangers(address: VirtualAddress): Promise<void> {
    const end = performance.now() + STRANGER_MS;
    for (;;) {
      const mac = await this.network.answererOf(address, STRANGER_PROBE_MS);
      const words = this.parts.words();
      if (mac === null || [...(words?.values() ?? [])].some((word) => word.mac === mac)) return;
      if (performance.now() > end)
        throw new Error(
          `${address.address} is in use: ${mac}, which is no node of this farm, answers for it; stop that machine's use of it`,
        );
      await Bun.sleep(LOOK_MS);
    }
  }

  override down(): ReturnType<VirtualAddresses["down"]> {
    this.#isHere = false;
    this.#wanted = "closed";
    this.#known = "";
    this.#gained.clear();
    this.#answers = [];
    for (const address of this.addresses) this.network.hush(address);
    const outcome = super.down();
    if (this.#word !== null) {
      this.#word = null;
      this.parts.publish();
    }
    try {
      changeRulesNow(withoutRuleset(this.#table));
      // What was on its way to the kernel arrives after that.
      void this.#changing?.then(() => this.#isHere || changeRulesNow(withoutRuleset(this.#table)));
      return outcome;
    } catch (error) {
      return { ok: false, detail: [outcome.detail, (error as Error).message].filter(Boolean).join("; ") };
    }
  }

  /** Looked at often: may this node take new clients, and what do the others say? */
  look(serves: boolean): void {
    if (!this.#isHere) return;
    this.#wanted = serves ? (this.#isDraining ? "draining" : "open") : "closed";
    this.#step();
  }

  /** Lets the kernel have what follows from the words, where they have changed; and looks now and then whether it still has it. */
  #step(): void {
    const now = performance.now();
    if (this.#changing !== null || now - this.#refusedAt < this.timeoutMs) return;
    const words = this.parts.words();
    if (words === null || !this.#isHere) return;
    const known = JSON.stringify([this.#wanted, [...words], this.parts.settings()]);
    const isDue = now - this.#lookedAt > LOOK_AGAIN_MS;
    if (known === this.#known && !isDue) return;
    this.#lookedAt = now;
    this.#changing = this.#apply(this.#wanted, words, isDue && !this.#isInPlace)
      .then(() => {
        this.#known = known;
        this.#trouble = "";
      })
      .catch((error: unknown) => this.#suffer((error as Error).message))
      .finally(() => (this.#changing = null));
  }

  /** Who cannot do as the others expect says so: they go on without it. */
  #suffer(trouble: string): void {
    this.#refusedAt = performance.now();
    this.#known = "";
    if (this.#word !== null) this.#tell({ ...this.#word, stage: "closed" });
    if (trouble !== this.#trouble) this.warn(`this node serves no client of the virtual IP: ${trouble}`);
    this.#trouble = trouble;
  }

  get #isInPlace(): boolean {
    if (this.#text === "" || hasIngressChain(this.#table, "ingress")) return true;
    this.warn(
      "the farm's filter is gone: a firewall was loaded anew, or the interface was made anew; it is put back",
    );
    return false;
  }

  async #apply(stage: Stage, others: ReadonlyMap<string, FarmWord>, anew: boolean): Promise<void> {
    const { node, settings } = this.parts;
    const { shares } = settings();
    const plan = planOf(shares, new Map<string, Pick<FarmWord, "stage">>([...others, [node, { stage }]]));
    const link = this.network.linkOf(this.addresses[0]!);
    if (!link.running) throw new Error(`interface ${link.name} has no carrier`);
    // An interface that was down has lost its IPv6 addresses. What a guardian took away is not put back: by then this node serves nobody.
    if (this.#isHere && stage !== "closed") for (const address of this.addresses) this.network.place(address);
    const mac = macText(link.mac);
    const word: FarmWord = { stage, mac, number: plan.number };
    this.#noteGained(plan);
    const filter = this.#filterFor(plan, others, link.name, mac);
    const text = rulesetOf(filter, false);
    // Who leaves says so first, who comes says so last: packets that arrive meanwhile find somebody who knows what to do with them.
    if (this.#word?.stage === "open" && stage !== "open") this.#tell(word);
    if (text !== this.#text || anew) await changeRules(anew ? rulesetOf(filter, true) : text);
    this.#text = text;
    if (plan.number !== this.#plan.number) this.#noteShares(plan);
    this.#plan = plan;
    if (!this.#isHere) return;
    this.#tell(word);
    this.#proclaim(others);
  }

  #tell(word: FarmWord): void {
    if (Bun.deepEquals(word, this.#word)) return;
    this.#word = word;
    this.parts.publish();
  }

  #noteShares({ assignment, serving }: FarmPlan): void {
    const share = (node: string): number => assignment.filter((owner) => owner === node).length;
    const shares = serving.map((node) => `${node} ${share(node)}/${BUCKETS}`).join(", ");
    this.parts.note(`Farm load: ${shares || "no node serves"}`);
  }

  #filterFor(plan: FarmPlan, others: ReadonlyMap<string, FarmWord>, device: string, mac: string): Filter {
    const { module, node, settings } = this.parts;
    const { shares, rules } = settings();
    const order = inOrder(shares.nodes);
    const list = this.list;
    return {
      table: this.#table,
      device,
      mac,
      addresses: this.addresses.map((address) => {
        const { host, version } = parseCidr(address.address);
        return {
          host,
          version,
          own: this.network.besides(address, list),
          answers: plan.answers(host) === node,
        };
      }),
      rules,
      seed: hashOf(module) || 1,
      me: order.indexOf(node),
      nodes: order.length,
      peers: [...others].map(([name, word]) => ({ number: order.indexOf(name), mac: word.mac })),
      owners: plan.assignment.map((owner) => order.indexOf(owner)),
      former: this.#formerOf(others, order),
    };
  }

  /** Notes which buckets come to this node from another, whose flows may stay there. */
  #noteGained(plan: FarmPlan): void {
    const { node } = this.parts;
    const before = this.#plan.assignment;
    for (const [bucket, owner] of plan.assignment.entries()) {
      const former = before[bucket];
      if (owner !== node) this.#gained.delete(bucket);
      else if (former !== undefined && former !== node)
        this.#gained.set(bucket, { former, at: performance.now() });
    }
  }

  /** Of what was gained, what may still be at a node that takes part. */
  #formerOf(others: ReadonlyMap<string, FarmWord>, order: readonly string[]): Filter["former"] {
    const now = performance.now();
    return new Map(
      [...this.#gained].flatMap(([bucket, { former, at }]) =>
        others.has(former) && now - at < TCP_MOVED_MS
          ? [[bucket, { number: order.indexOf(former), udp: now - at < UDP_MOVED_MS }] as const]
          : [],
      ),
    );
  }

  /** The one that answers says so when it becomes it, and again whenever others came: they may have said it meanwhile. */
  #proclaim(others: ReadonlyMap<string, FarmWord>): void {
    const own = this.addresses.filter(({ address }) => this.#plan.answers(address) === this.parts.node);
    const said = own.map(({ address }) => `${address} ${inOrder([...others.keys()]).join()}`);
    for (const address of this.addresses) if (!own.includes(address)) this.network.hush(address);
    for (const [at, address] of own.entries()) {
      if (this.#answers.includes(said[at]!)) continue;
      try {
        this.network.proclaim(address);
      } catch (error) {
        this.warn(`${address.address} could not be announced: ${(error as Error).message}`);
      }
    }
    this.#answers = said;
  }

  override async close(): Promise<void> {
    if (this.#word === null || this.#word.stage === "closed") return;
    this.#wanted = "closed";
    const end = performance.now() + HANDOVER_MS;
    do {
      this.#step();
      await (this.#changing ?? Bun.sleep(LOOK_MS));
    } while (!this.#isHandedOver && performance.now() < end);
  }

  /** All others go by the assignment that this node goes by. */
  get #isHandedOver(): boolean {
    const words = this.parts.words();
    if (words === null || this.#word?.stage !== this.#wanted) return false;
    return [...words.values()].every(({ number }) => number === this.#word?.number);
  }

  /** From now on no new clients, until the addresses are taken anew. Resolves with the number of connections that are left after `timeoutMs`, or 0. */
  async drain(timeoutMs: number, serves: () => boolean): Promise<number> {
    const end = performance.now() + timeoutMs;
    this.#isDraining = true;
    for (;;) {
      this.look(serves());
      const left = this.connections;
      if ((left === 0 && this.#isHandedOver) || performance.now() > end || !this.#isHere) return left;
      await Bun.sleep(Math.min(100, timeoutMs));
    }
  }

  /** TCP connections with clients that this node has now. */
  get connections(): number {
    return this.addresses.reduce((sum, { address }) => sum + countConnections(parseCidr(address)), 0);
  }

  /** How many buckets a node has, as far as this node knows; null where it takes no part itself. */
  bucketsOf(node: string): number | null {
    if (!this.#isHere) return null;
    return this.#plan.assignment.filter((owner) => owner === node).length;
  }

  /** For people; null while this node takes no part. Throws when nft fails. */
  async report(): Promise<FarmReport | null> {
    const word = this.#word;
    if (!this.#isHere || word === null) return null;
    const { node, settings } = this.parts;
    const { shares, rules } = settings();
    const order = inOrder(shares.nodes);
    const counters = await countersOf("netdev", this.#table);
    const packets = (name: string): number => (counters[name] satisfies Counter | undefined)?.packets ?? 0;
    const words = new Map([...(this.parts.words() ?? []), [node, word] as const]);
    return {
      device: this.network.linkOf(this.addresses[0]!).name,
      stage: word.stage,
      nodes: Object.fromEntries(
        order.flatMap((name) => {
          const said = words.get(name);
          if (!said) return [];
          const counted = packets(name === node ? "own" : `to_${order.indexOf(name)}`);
          const agrees = said.number === word.number;
          return [
            [name, { stage: said.stage, buckets: this.bucketsOf(name) ?? 0, agrees, packets: counted }],
          ];
        }),
      ),
      answers: Object.fromEntries(this.list.map((address) => [address, this.#plan.answers(address)])),
      rules,
      buckets: this.#plan.assignment,
      connections: this.connections,
      rounds: packets("rounds"),
      refused: packets("refused"),
    };
  }
}
