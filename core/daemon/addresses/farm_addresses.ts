/**
 * The virtual addresses of a farm on one node: every node has them, one answers for them, and the filter in the kernel gives each packet to the node
 * that it belongs to (core/farm). This keeps the filter in step with what the nodes say of themselves.
 */
import { BUCKETS, inOrder, type Shares } from "../../farm/assignment.ts";
import type { Filter } from "../../farm/filter.ts";
import { type Gained, GainedBuckets } from "../../farm/gained.ts";
import { movesBetween } from "../../farm/moves.ts";
import { type FilterRule, rulesetOf, withoutRuleset } from "../../farm/ruleset.ts";
import { areSettled, type FarmPlan, type FarmWord, planOf, type Standing, stageOf } from "../../farm/word.ts";
import { macText, parseCidr } from "../../network/address.ts";
import { countConnections } from "../../network/connections.ts";
import { tableOf } from "../../network/deadline.ts";
import { changeMarks, changeRules, changeRulesNow, hasIngressChain } from "../../network/nft.ts";
import type { VirtualAddress, VirtualIp } from "../../network/virtual_ip.ts";
import { filterOf } from "./farm_filter.ts";
import { type FarmReport, reportOf } from "./farm_report.ts";
import { FarmVoice } from "./farm_voice.ts";
import { SilentRival } from "./silent_rival.ts";
import { refuseStrangers } from "./strangers.ts";
import { VirtualAddresses } from "./virtual_addresses.ts";

/** How long a node that is about to stop, or in `mode: invisible` to take no more clients, waits for the others to have taken its clients over, ms. */
const HANDOVER_MS = 500;
const LOOK_MS = 10;
/** How often the filter is looked at although nothing was said, ms. */
const LOOK_AGAIN_MS = 1000;

export type { FarmReport } from "./farm_report.ts";

/** What this node would say of itself. */
type Wish = Pick<FarmWord, "stage" | "why">;

const CLOSED: Wish = { stage: "closed" };

/** What the farm is made of. */
export interface FarmParts {
  module: string;
  /** This node, and the name of its cluster. */
  node: string;
  cluster: string;
  mode: "directed" | "invisible";
  addresses: readonly VirtualAddress[];
  network: VirtualIp;
  timeoutMs: number;
  warn(text: string): void;
  note(text: string): void;
  /** As module.yaml has them now. */
  settings(): { shares: Shares; rules: readonly FilterRule[] };
  /** What the other nodes that take part say; null while it is not known of each whether it lives. */
  words(): ReadonlyMap<string, FarmWord> | null;
  /** Nodes that are not heard, and the MAC addresses that they had when they were and took part. */
  absent(): ReadonlyMap<string, string>;
  /** This node's word has changed. */
  publish(): void;
  /** A new daemon goes on with what the one before had, and took clients for, or not; and has it now. */
  adopted(): { wasOpen: boolean };
  goesOn(): void;
  /** The addresses are taken anew. */
  begins(): void;
  /** Which buckets came to this node, kept over a restart of its daemon; times are those of `performance.now()`. */
  memory: { gained: Gained };
  /** A person has this node drained. */
  isDrained(): boolean;
  /** New clients come from now on, or no more; and they went without a person's word: why. */
  opened(isOpen: boolean): void;
  left(why: string): void;
}

/** See the top of the file. */
export class FarmAddresses extends VirtualAddresses {
  readonly #table: string;
  readonly #voice: FarmVoice;
  /** The addresses are here and the filter with them. */
  #isHere = false;
  #wanted = CLOSED;
  #isDraining = false;
  #isAdopted = false;
  /** Of `mode: invisible`; and the node that it found, or null. */
  readonly #silentRival: SilentRival | null;
  #rival: string | null = null;
  #word: FarmWord | null = null;
  #plan: FarmPlan = planOf({ nodes: [], weights: {}, priority: [] }, new Map());
  /** The last text that the kernel took, and what it was made from. */
  #text = "";
  #filter: Filter | null = null;
  readonly #gained: GainedBuckets;
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
    this.#gained = new GainedBuckets((gained) => (parts.memory.gained = gained));
    this.#voice = new FarmVoice({ ...parts, maySpeak: this.maySpeak });
    this.#silentRival =
      this.virtualMac === undefined ? null : new SilentRival(parts.addresses[0]!, parts.network);
  }

  /** Of the addresses, in `mode: invisible` only. */
  get virtualMac(): string | undefined {
    return this.#voice.virtualMac;
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
    if (this.#word === null)
      for (const address of this.addresses)
        await refuseStrangers(address, this.network, (mac) => this.#isOurs(mac));
    if (!mayTake()) throw new Error("the virtual IP was given up while it was being taken");
    await this.#changing;
    this.#isAdopted = this.#word !== null;
    if (this.#isAdopted) this.#gained.restore(this.parts.memory.gained, performance.now());
    else {
      this.#gained.clear();
      this.parts.begins();
    }
    this.#isDraining = this.parts.isDrained();
    // What the kernel has from a daemon that died works on until the peers are known.
    if (!this.#isAdopted) await this.#apply(CLOSED, new Map(), true);
    for (const address of this.addresses) this.network.place(address);
    this.#isHere = true;
  }

  /**
   * The others hear no other word than that of the daemon before, or they would take this node's flows for nobody's. Why it took no clients, if it did
   * not, is not known yet: it goes on taking none while another does.
   */
  override async adopt(): Promise<void> {
    const { wasOpen } = this.parts.adopted();
    try {
      const link = this.network.linkOf(this.addresses[0]!);
      this.#word = { stage: wasOpen ? "open" : "unwell", mac: macText(link.mac), number: "" };
    } catch (error) {
      this.warn(`virtual IP: ${(error as Error).message}`);
    }
    await super.adopt();
    if (this.#isHere) this.parts.goesOn();
  }

  #isOurs(mac: string): boolean {
    const words = this.parts.words();
    return mac === this.virtualMac || [...(words?.values() ?? [])].some((word) => word.mac === mac);
  }

  override down(): ReturnType<VirtualAddresses["down"]> {
    this.#isHere = false;
    this.#wanted = CLOSED;
    this.#known = "";
    this.#filter = null;
    this.#gained.clear();
    this.#voice.hush();
    const outcome = super.down();
    if (this.#word !== null) {
      this.parts.opened(false);
      this.#word = null;
      this.parts.publish();
    }
    try {
      this.#voice.ignore();
      changeRulesNow(withoutRuleset(this.#table));
      // What was on its way to the kernel arrives after that.
      void this.#changing
        ?.then(() => this.#isHere || changeRulesNow(withoutRuleset(this.#table)))
        .catch((error: unknown) => this.warn(`the farm's filter stays: ${(error as Error).message}`));
      return outcome;
    } catch (error) {
      return { ok: false, detail: [outcome.detail, (error as Error).message].filter(Boolean).join("; ") };
    }
  }

  /** Looked at often: how is this node's application, why is it held though it is well, and what do the others say? */
  look(standing: Standing, held: string | null): void {
    if (!this.#isHere) return;
    const { absent } = this.parts;
    this.#rival = this.#silentRival?.look(absent(), this.#plan.serving, this.timeoutMs) ?? null;
    const silent = `${this.#rival} serves on this network, though no heartbeat of it comes: look for a firewall that keeps them back`;
    this.#wanted = stageOf(standing, this.#isDraining, this.#rival === null ? held : silent);
    this.#step();
  }

  /** It takes clients although a checker says that it should not: no other node is better off. */
  get servesUnwell(): boolean {
    return this.#word?.stage === "unwell" && this.#plan.serving.includes(this.parts.node);
  }

  /** Lets the kernel have what follows from the words, where they have changed; and looks now and then whether it still has it. */
  #step(): void {
    const now = performance.now();
    if (this.#changing !== null || now - this.#refusedAt < this.timeoutMs) return;
    const words = this.parts.words();
    if (words === null || !this.#isHere) return;
    const { absent, settings } = this.parts;
    const known = JSON.stringify([this.#wanted, [...words], [...absent()], settings()]);
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
    if (trouble !== this.#trouble) this.warn(`this node serves no client of the virtual IP: ${trouble}`);
    this.#trouble = trouble;
    if (this.#word !== null) this.#tell({ ...this.#word, stage: "closed", why: trouble });
  }

  get #isInPlace(): boolean {
    if (this.#text === "" || hasIngressChain(this.#table, "ingress")) return true;
    this.warn(
      "the farm's filter is gone: a firewall was loaded anew, or the interface was made anew; it is put back",
    );
    return false;
  }

  async #apply(wanted: Wish, others: ReadonlyMap<string, FarmWord>, anew: boolean): Promise<void> {
    const { node, settings } = this.parts;
    const { shares } = settings();
    const { stage } = wanted;
    const words = new Map<string, Pick<FarmWord, "stage">>([...others, [node, { stage }]]);
    if (this.#rival !== null) words.set(this.#rival, { stage: "open" });
    const plan = planOf(shares, words);
    const link = this.network.linkOf(this.addresses[0]!);
    if (!link.running) throw new Error(`interface ${link.name} has no carrier`);
    // An interface that was down has lost its IPv6 addresses. What a guardian took away is not put back: by then this node serves nobody.
    if (this.#isHere && stage !== "closed") for (const address of this.addresses) this.network.place(address);
    const mac = macText(link.mac);
    const open = [...others].flatMap(([name, said]) => (said.stage === "open" ? [name] : []));
    const word: FarmWord = { ...wanted, mac, number: plan.number, hears: inOrder(open) };
    const isFirst = this.#plan.serving.length === 0 && !this.#isAdopted;
    const before = isFirst ? planOf(shares, others) : this.#plan;
    this.#gained.note(node, before.assignment, plan.assignment, performance.now());
    const filter = filterOf({
      ...this.parts,
      table: this.#table,
      virtualMac: this.virtualMac,
      device: link.name,
      settled: areSettled(others, plan.number),
      timeoutMs: this.timeoutMs,
      settings: settings(),
      word,
      others,
      absent: this.parts.absent(),
      plan,
      gained: this.#gained,
    });
    const text = rulesetOf(filter, false);
    // Who leaves says so first, who comes says so last: packets that arrive meanwhile find somebody who knows what to do with them.
    // The others know by the number from when on that is so.
    if (this.#word?.stage === "open" && stage !== "open") {
      this.#tell({ ...word, number: this.#word.number });
      if (this.#rival === null) await this.#takenOver(plan.number);
    }
    const former = this.#plan;
    if (!anew) this.#moveAtOnce(filter, plan, others);
    if (text !== this.#text || anew) await changeRules(anew ? rulesetOf(filter, true) : text);
    this.#text = text;
    this.#filter = filter;
    if (plan.number !== former.number) this.#noteShares(plan);
    this.#plan = plan;
    // The addresses may have been given up meanwhile, and the MAC address with them.
    if (!this.#isHere) return;
    this.#voice.hear();
    this.#tell(word);
    this.#voice.proclaim(plan, others);
  }

  /** The clients of a node that is gone do not wait for the whole ruleset. */
  #moveAtOnce(filter: Filter, plan: FarmPlan, others: ReadonlyMap<string, FarmWord>): void {
    const moves = this.#filter === null ? null : movesBetween(this.#filter, filter);
    if (moves === null) return;
    try {
      changeMarks(this.#table, moves);
    } catch {
      // The kernel has something else than it was given: it is given all of it now.
      return;
    }
    this.#plan = plan;
    this.#voice.proclaim(plan, others);
  }

  /** In `mode: invisible` nobody hands on what comes for this node when it no longer takes it, and others do not yet: it goes on until they do. */
  async #takenOver(number: string): Promise<void> {
    const end = performance.now() + HANDOVER_MS;
    while (
      this.virtualMac !== undefined &&
      this.#isHere &&
      !areSettled(this.parts.words(), number) &&
      performance.now() < end
    )
      await Bun.sleep(LOOK_MS);
  }

  #tell(word: FarmWord): void {
    if (Bun.deepEquals(word, this.#word)) return;
    if (this.#word?.stage === "open" && (word.stage === "closed" || word.stage === "unwell"))
      this.parts.left(this.#trouble || "it could not serve");
    this.parts.opened(word.stage === "open");
    this.#word = word;
    this.parts.publish();
  }

  #noteShares({ assignment, serving }: FarmPlan): void {
    const share = (node: string): number => assignment.filter((owner) => owner === node).length;
    const shares = serving.map((node) => `${node} ${share(node)}/${BUCKETS}`).join(", ");
    this.parts.note(`Farm load: ${shares || "no node serves"}`);
  }

  override async close(): Promise<void> {
    if (this.#word === null || this.#word.stage === "closed") return;
    this.#wanted = CLOSED;
    const end = performance.now() + HANDOVER_MS;
    do {
      this.#step();
      await (this.#changing ?? Bun.sleep(LOOK_MS));
    } while (!this.#isHandedOver && performance.now() < end);
  }

  /** All others go by the assignment that this node goes by. */
  get #isHandedOver(): boolean {
    const words = this.parts.words();
    if (words === null || this.#word?.stage !== this.#wanted.stage) return false;
    return this.#changing === null && areSettled(words, this.#word?.number);
  }

  /**
   * From now on no new clients, until the addresses are taken anew. Resolves with the number of connections that are left after `timeoutMs`, or 0; with null
   * when it was taken back.
   */
  async drain(timeoutMs: number, standing: () => Standing): Promise<number | null> {
    const end = performance.now() + timeoutMs;
    this.#isDraining = true;
    for (;;) {
      this.look(standing(), null);
      const left = this.connections;
      if ((left === 0 && this.#isHandedOver) || performance.now() > end || !this.#isHere) return left;
      await Bun.sleep(Math.min(100, timeoutMs));
      if (!this.#isDraining) return null;
    }
  }

  /** New clients again. */
  undrain(): void {
    this.#isDraining = false;
  }

  /** TCP connections with clients that this node has now. */
  get connections(): number {
    return this.addresses.reduce((sum, { address }) => sum + countConnections(parseCidr(address)), 0);
  }

  /** How many buckets a node has, as far as this node knows; null where it takes no part itself. */
  bucketsOf(node: string): number | null {
    if (!this.#isHere) return null;
    if (this.#trouble !== "" && node === this.parts.node) return 0;
    return this.#plan.assignment.filter((owner) => owner === node).length;
  }

  /** For people; null while this node takes no part. Throws when the kernel refuses to tell. */
  report(): FarmReport | null {
    const word = this.#word;
    if (!this.#isHere || word === null) return null;
    const { node, settings } = this.parts;
    return reportOf({
      node,
      device: this.network.linkOf(this.addresses[0]!).name,
      table: this.#table,
      virtualMac: this.virtualMac ?? null,
      addresses: this.list,
      settings: settings(),
      words: new Map([...(this.parts.words() ?? []), [node, word] as const]),
      plan: this.#plan,
      connections: this.connections,
    });
  }
}
