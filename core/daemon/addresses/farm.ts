/**
 * What a farm with a virtual IP of its own is beside a module without roles: when its node may take clients, what it tells the others, and what
 * people see of it. A module of another kind, or behind a load balancer of one's own, has nothing of this.
 */
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { ModuleConfig } from "../../../modules/schema.ts";
import { formatDuration } from "../../../modules/units.ts";
import { checksOf } from "../../checks/module_checks.ts";
import type { Cluster, ModuleView } from "../../cluster/cluster.ts";
import { inOrder, type Shares } from "../../farm/assignment.ts";
import { type HeardNode, rivalOf } from "../../farm/rivals.ts";
import type { FarmWord, Standing } from "../../farm/word.ts";
import { parseCidr, sameNetwork } from "../../network/address.ts";
import type { CommandResult } from "../engine.ts";
import type { Journal } from "../journal.ts";
import type { ModuleFacts } from "../module/facts.ts";
import type { NodeParts } from "../node_parts.ts";
import { FarmAddresses } from "./farm_addresses.ts";
import { FarmMemory } from "./farm_memory.ts";
import { type FarmReport, reportText } from "./farm_report.ts";

/** What it works with. */
export interface ModuleFarmParts {
  node: NodeParts;
  module: string;
  journal: Journal;
  /** Each as it is at that moment. */
  definition(): ModuleDefinition;
  nodes(): readonly string[];
  facts: ModuleFacts;
  /** What the others say that are heard on this lan, and whether one says that it hears this node there. */
  views(lan: string | undefined): ReadonlyMap<string, ModuleView> | null;
  hearsUs(peer: string, lan: string): boolean;
  /** By resource, its state. */
  resources(): Readonly<Record<string, string>>;
  /** Is the application started, and may it be heard? */
  serves(): boolean;
  /** As a person would. */
  stop(cause: string): Promise<unknown>;
}

type FarmConfig = Extract<ModuleConfig, { kind: "farm" }>;

/** The part of a farm's settings that shares its clients out; null where something outside does. */
function balancingOf(config: ModuleConfig): NonNullable<FarmConfig["loadBalancing"]> | null {
  if (config.kind !== "farm" || config.loadBalancing === undefined) return null;
  return config.loadBalancing.mode === "external" ? null : config.loadBalancing;
}

/** See the top of the file. */
export class ModuleFarm {
  #addresses: FarmAddresses | null = null;
  /** How it was when the daemon before this one died, while not all checkers have looked since; null: they have. */
  #adopted: Standing | null = null;
  readonly #memory: FarmMemory;
  /** Where the clients are; undefined where that is no lan of the cluster. */
  #lan: string | undefined;
  /** Since when there is another node for whose sake this one should not serve, ms; null: there is none. */
  #rivalSince: number | null = null;
  /** The others that were heard last, and their starts. */
  #company: ReadonlyMap<string, string> = new Map();
  #isAlone = false;
  /** Why it is open though a checker is down, for people; "" where it is not. */
  stillOpen = "";

  constructor(private readonly parts: ModuleFarmParts) {
    this.#memory = new FarmMemory(parts.node.varDir, parts.facts, parts.journal);
  }

  /** The farm's virtual addresses; null for a module that has none of this kind. `timeoutMs` is the heartbeat timeout. */
  addresses(timeoutMs: number): FarmAddresses | null {
    const { node, module, journal, definition, views } = this.parts;
    const { config } = definition();
    const mode = balancingOf(config)?.mode;
    if (mode === undefined || mode === "external") return null;
    const lan = lanOf(node.cluster, config.virtualIps[0]!.address);
    this.#lan = lan;
    this.#addresses = new FarmAddresses({
      module,
      node: node.cluster.node,
      cluster: node.cluster.name,
      mode,
      addresses: config.virtualIps,
      network: node.network,
      timeoutMs,
      warn: (text) => journal.line("warning", text),
      note: (text) => journal.line("event", text),
      settings: () => this.#settings,
      words: () => wordsOf(views(lan)),
      absent: () => this.#absent(views(lan)),
      publish: () => node.publish(),
      adopted: () => {
        const wasOpen = this.#memory.isOpen;
        this.#adopted = wasOpen ? "well" : "unwell";
        return { wasOpen };
      },
      goesOn: () => void this.#drainOn(),
      begins: () => this.#memory.begin(),
      memory: this.#memory,
      isDrained: () => this.#memory.drainedFor !== null,
      opened: (isOpen) => {
        this.#memory.isOpen = isOpen;
      },
      left: (why) => this.#memory.left(why),
    });
    return this.#addresses;
  }

  get #settings(): { shares: Shares; rules: FarmReport["rules"] } {
    const { definition, nodes } = this.parts;
    const { weights = {}, priority = [], rules = [] } = balancingOf(definition().config) ?? {};
    return { shares: { nodes: nodes(), weights, priority }, rules };
  }

  /** Once a beat. */
  look(): void {
    if (this.#addresses === null) return;
    const views = this.parts.views(this.#lan);
    if (views !== null) this.#noteCompany(views);
    this.#memory.macs = Object.fromEntries([
      ...Object.entries(this.#memory.macs).filter(([peer]) => views?.has(peer) !== true),
      ...[...(views ?? [])].flatMap(([peer, { farm }]) => (farm ? [[peer, farm.mac]] : [])),
    ]);
    this.#addresses.look(this.#standing, this.#rival(views ?? new Map()) ?? this.#memory.heldUntil);
    this.#shout();
  }

  /** A person acts: what was remembered against this node is forgotten, and a drain is over. */
  async forgive(): Promise<void> {
    this.#addresses?.undrain();
    if (this.#addresses !== null) await this.#memory.forget();
  }

  /** It takes no new clients for a reason that ends when a person starts it. */
  get isKeptBack(): boolean {
    return this.isDrained || this.#memory.heldUntil !== null;
  }

  /** A person has it drained, so that nothing starts it again by itself. */
  get isDrained(): boolean {
    return this.#memory.drainedFor !== null;
  }

  /** See core/farm/rivals.ts. One that serves waits for a heartbeat timeout: who died is told of for a while. */
  #rival(views: ReadonlyMap<string, ModuleView>): string | null {
    const [{ node, hearsUs }, lan] = [this.parts, this.#lan];
    if (lan === undefined) return null;
    const { word, timeoutMs } = this.#addresses!;
    const isOpen = word?.stage === "open";
    const heard = [...views].flatMap(([peer, { farm }]): [string, HeardNode][] =>
      farm ? [[peer, { ...farm, hearsUs: hearsUs(peer, lan) }]] : [],
    );
    const rival = rivalOf(node.cluster.node, isOpen, new Map(heard));
    const now = performance.now();
    this.#rivalSince = rival === null ? null : (this.#rivalSince ?? now);
    if (rival === null || (isOpen && now - this.#rivalSince! < timeoutMs)) return null;
    return `${rival} serves, and it and this node do not hear each other on ${lan}`;
  }

  /** Those that are not heard may have connections all the same: where each was. */
  #absent(views: ReadonlyMap<string, ModuleView> | null): ReadonlyMap<string, string> {
    const nodes = this.parts.nodes();
    const macs = Object.entries(this.#memory.macs);
    return new Map(macs.filter(([node]) => nodes.includes(node) && views?.has(node) !== true));
  }

  /** Whoever hears none of the others, and then the same ones again, was cut off: it was not they who went. */
  #noteCompany(views: ReadonlyMap<string, ModuleView>): void {
    const { node, nodes } = this.parts;
    if (views.size === 0) {
      this.#isAlone = this.#company.size > 0 && this.#addresses?.word?.stage === "open";
      return;
    }
    const isBack = [...views].some(([peer, { incarnation }]) => this.#company.get(peer) === incarnation);
    const isOfTwo = nodes().length === 2;
    if (this.#isAlone && isBack && !(isOfTwo && inOrder(nodes())[0] === node.cluster.node))
      this.#memory.left("it was cut off from the others");
    this.#isAlone = false;
    this.#company = new Map([...views].map(([peer, { incarnation }]) => [peer, incarnation]));
  }

  /** By checker that looks while the application runs, what it found. */
  get #found(): [string, string][] {
    const { definition, resources } = this.parts;
    const states = resources();
    return checksOf(definition().config).flatMap(({ resource, when }) =>
      when === "second" ? [] : [[resource, states[resource] ?? "init"]],
    );
  }

  /** Well: everything that looks at the application has found it so. One that a new daemon goes on with is as it was until then. */
  get #standing(): Standing {
    if (!this.parts.serves()) return "away";
    const found = this.#found.map(([, state]) => state);
    if (!found.includes("init")) this.#adopted = null;
    if (found.includes("down")) return "unwell";
    return found.includes("init") ? (this.#adopted ?? "away") : "well";
  }

  /** A farm that checkers would close on every node at once stays open, and that is said aloud. */
  #shout(): void {
    const { module, node, journal } = this.parts;
    const isHeld = this.#addresses?.servesUnwell === true;
    const down = this.#found.flatMap(([resource, state]) => (state === "down" ? [resource] : []));
    const text = isHeld
      ? `NOT closed to clients, though ${down.join(", ")} is down: no node of ${module} is better off`
      : "";
    if (text === this.stillOpen) return;
    this.stillOpen = text;
    if (text !== "") journal.line("warning", text);
    node.publish();
  }

  /** Is this a MAC address with which the farm's addresses may be told by another node, be it one that is not heard? */
  isOurs(mac: string): boolean {
    if (this.#addresses === null) return false;
    return mac === this.#addresses.virtualMac || Object.values(this.#memory.macs).includes(mac);
  }

  /** For the peers. */
  get word(): { farm?: FarmWord } {
    const word = this.#addresses?.word;
    return word ? { farm: word } : {};
  }

  /** For `status`. */
  share(node: string): { buckets?: number; held?: string } {
    const buckets = this.#addresses?.bucketsOf(node) ?? null;
    if (buckets === null) return {};
    const isOwn = node === this.parts.node.cluster.node;
    // Whose interface is down tells it on another lan.
    const why = (isOwn ? this.#addresses?.word : this.parts.views(undefined)?.get(node)?.farm)?.why;
    return why === undefined ? { buckets } : { buckets, held: why };
  }

  get #refusal(): CommandResult | null {
    if (this.#addresses !== null) return null;
    const { module, definition } = this.parts;
    const { kind } = definition().config;
    const why =
      kind === "farm"
        ? "has no virtual IP of its own: its load balancer decides"
        : `is a module of kind ${kind}, no farm`;
    return { status: 2, message: `${module} ${why}` };
  }

  /** `holdfast farm`. */
  report(): CommandResult {
    const refused = this.#refusal;
    if (refused !== null) return refused;
    const { module, node } = this.parts;
    const report = this.#addresses!.report();
    if (report === null)
      return { status: 1, message: `${module} does not run on ${node.cluster.node}: it hands out nothing` };
    return { status: 0, message: reportText(module, node.cluster.node, report), data: report };
  }

  /** Waits until this node has no client any more, or for `timeoutMs`. */
  async drain(timeoutMs: number): Promise<CommandResult> {
    const refused = this.#refusal;
    if (refused !== null) return refused;
    const { module, node } = this.parts;
    if (this.#addresses!.word === null)
      return {
        status: 1,
        message: `${module} does not run on ${node.cluster.node}: nothing is to be drained`,
      };
    await this.#memory.drain(timeoutMs);
    const left = await this.#addresses!.drain(timeoutMs, () => this.#standing);
    if (left === null)
      return { status: 1, message: `${module} is drained no longer on ${node.cluster.node}: it was started` };
    const message =
      left === 0
        ? "every connection has ended"
        : `${left} connections were still there after ${formatDuration(timeoutMs)}`;
    return { status: 0, message };
  }

  /** Goes on with a drain that the daemon before this one had begun. */
  async #drainOn(): Promise<void> {
    const left = this.#memory.drainedFor;
    if (left === null) return;
    const { journal, stop } = this.parts;
    try {
      journal.line("event", `The drain goes on, for ${Math.ceil(left / 1000)} s at most`);
      if ((await this.#addresses!.drain(left, () => this.#standing)) === null) return;
      await stop("the drain has ended");
      await this.forgive();
    } catch (error) {
      journal.line("error", `the drain did not end: ${(error as Error).message}`);
    }
  }
}

/** The lan that clients come by: a node that is not heard there cannot serve them. Undefined where the address is in no lan's network. */
function lanOf({ nodes, node }: Cluster, address: string): string | undefined {
  const virtual = parseCidr(address);
  const own = Object.entries(nodes[node]!.addresses);
  return own.find(([, { bind }]) => sameNetwork(parseCidr(bind).bytes, virtual.bytes, virtual.prefix))?.[0];
}

function wordsOf(views: ReadonlyMap<string, ModuleView> | null): ReadonlyMap<string, FarmWord> | null {
  if (views === null) return null;
  return new Map([...views].flatMap(([peer, { farm }]) => (farm ? [[peer, farm] as const] : [])));
}
