/**
 * What a farm with a virtual IP of its own is beside a module without roles: when its node may take clients, what it tells the others, and what
 * people see of it. A module of another kind, or behind a load balancer of one's own, has nothing of this.
 */
import type { ModuleDefinition } from "../../modules/load.ts";
import type { ModuleConfig } from "../../modules/schema.ts";
import { formatDuration } from "../../modules/units.ts";
import { checksOf } from "../checks/module_checks.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { PeerView } from "../failover/types.ts";
import { BUCKETS, type Shares } from "../farm/assignment.ts";
import type { FarmWord } from "../farm/word.ts";
import { parseCidr, sameNetwork } from "../network/address.ts";
import type { CommandResult } from "./engine.ts";
import { FarmAddresses, type FarmReport } from "./farm_addresses.ts";
import type { Journal } from "./journal.ts";
import type { NodeParts } from "./node_parts.ts";

/** What it works with. */
export interface ModuleFarmParts {
  node: NodeParts;
  module: string;
  journal: Journal;
  /** Each as it is at that moment. */
  definition(): ModuleDefinition;
  nodes(): readonly string[];
  /** What the others say that are heard on this lan. */
  views(lan: string | undefined): ReadonlyMap<string, PeerView> | null;
  /** By resource, its state. */
  resources(): Readonly<Record<string, string>>;
  /** Is the application started, and may it be heard? */
  serves(): boolean;
}

type FarmConfig = Extract<ModuleConfig, { kind: "farm" }>;

/** The part of a farm's settings that shares its clients out; null where something outside does. */
export function balancingOf(config: ModuleConfig): NonNullable<FarmConfig["loadBalancing"]> | null {
  if (config.kind !== "farm" || config.loadBalancing === undefined) return null;
  return config.loadBalancing.mode === "external" ? null : config.loadBalancing;
}

/** See the top of the file. */
export class ModuleFarm {
  #addresses: FarmAddresses | null = null;
  /** It was open when the daemon before this one died, and no checker has looked since. */
  #isAdopted = false;

  constructor(private readonly parts: ModuleFarmParts) {}

  /** The farm's virtual addresses; null for a module that has none of this kind. `timeoutMs` is the heartbeat timeout. */
  addresses(timeoutMs: number): FarmAddresses | null {
    const { node, module, journal, definition, views } = this.parts;
    const { config } = definition();
    if (balancingOf(config) === null) return null;
    const lan = lanOf(node.cluster, config.virtualIps[0]!.address);
    this.#addresses = new FarmAddresses({
      module,
      node: node.cluster.node,
      addresses: config.virtualIps,
      network: node.network,
      timeoutMs,
      warn: (text) => journal.line("warning", text),
      note: (text) => journal.line("event", text),
      settings: () => this.#settings,
      words: () => wordsOf(views(lan)),
      publish: () => node.publish(),
      adopted: () => {
        this.#isAdopted = true;
      },
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
    this.#addresses?.look(this.#mayServe);
  }

  /** The application is up, and everything that looks at it has found it so: for one that a new daemon found open, nothing has found otherwise. */
  get #mayServe(): boolean {
    const { definition, resources, serves } = this.parts;
    if (!serves()) return false;
    const states = resources();
    const found = checksOf(definition().config).flatMap(({ resource, when }) =>
      when === "second" ? [] : [states[resource] ?? "init"],
    );
    if (!found.includes("init")) this.#isAdopted = false;
    return !found.includes("down") && (this.#isAdopted || !found.includes("init"));
  }

  /** For the peers. */
  get word(): { farm?: FarmWord } {
    const word = this.#addresses?.word;
    return word ? { farm: word } : {};
  }

  /** For `status`. */
  share(node: string): { buckets?: number } {
    const buckets = this.#addresses?.bucketsOf(node) ?? null;
    return buckets === null ? {} : { buckets };
  }

  get #refusal(): CommandResult | null {
    if (this.#addresses !== null) return null;
    const { module, definition } = this.parts;
    const { kind } = definition().config;
    const why =
      kind === "farm" ? "has no virtual IP of its own: its load balancer decides" : `is a ${kind}, no farm`;
    return { status: 2, message: `${module} ${why}` };
  }

  /** `holdfast farm`. */
  async report(): Promise<CommandResult> {
    const refused = this.#refusal;
    if (refused !== null) return refused;
    const { module, node } = this.parts;
    const report = await this.#addresses!.report();
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
    const left = await this.#addresses!.drain(timeoutMs, () => this.#mayServe);
    const message =
      left === 0
        ? "every connection has ended"
        : `${left} connections were still there after ${formatDuration(timeoutMs)}`;
    return { status: 0, message };
  }
}

/** The lan that clients come by: a node that is not heard there cannot serve them. Undefined where the address is in no lan's network. */
function lanOf({ nodes, node }: Cluster, address: string): string | undefined {
  const virtual = parseCidr(address);
  const own = Object.entries(nodes[node]!.addresses);
  return own.find(([, { bind }]) => sameNetwork(parseCidr(bind).bytes, virtual.bytes, virtual.prefix))?.[0];
}

function wordsOf(views: ReadonlyMap<string, PeerView> | null): ReadonlyMap<string, FarmWord> | null {
  if (views === null) return null;
  return new Map([...views].flatMap(([peer, { farm }]) => (farm ? [[peer, farm] as const] : [])));
}

function reportText(module: string, here: string, report: FarmReport): string {
  const { nodes, answers, rules, connections, rounds, refused } = report;
  const lines = Object.entries(nodes).map(([node, { stage, buckets, agrees, packets }]) => {
    const share = `${buckets}/${BUCKETS} (${Math.round((100 * buckets) / BUCKETS)} %)`;
    const counted =
      node === here ? `${packets} packets taken here` : `${packets} packets handed to it by ${here}`;
    return `  ${node}  ${stage}  ${share}  ${counted}${agrees ? "" : "  (goes by another assignment at the moment)"}`;
  });
  return [
    `${module} on ${here}: ${connections} TCP connections`,
    ...lines,
    ...Object.entries(answers).map(([address, node]) => `  ${address} is answered by ${node ?? "no node"}`),
    ...rules.map(({ protocol, ports, affinity }) => `  ${protocol} ${ports.join(", ")}: by ${affinity}`),
    `  ${rounds} packets went round, ${refused} were for ports that no rule names`,
  ].join("\n");
}
