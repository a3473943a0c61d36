/**
 * What is laid down for a module on this node: the definition and the revision that work here, the nodes that it lives on, its timings. Another
 * definition may come while the module runs, so whoever needs one of these asks here, at that moment.
 */
import type { Commit } from "../../../modules/history/history.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { Cluster, ClusterNode } from "../../cluster/cluster.ts";
import type { ModuleFacts } from "./facts.ts";
import { rhythmOf, timeoutsOf } from "./heartbeat_timing.ts";

/** See the top of the file. */
export class ModuleSettings {
  /** The other nodes of the module; which they are does not change without a stop. */
  readonly others: readonly ClusterNode[];
  /** The names of those that work with the same revision as this one; none where this node is not one of the module's. */
  readonly partners: readonly string[];
  /** The other node of a mirror. */
  readonly peer: string | null;
  #definition: ModuleDefinition;
  #revision: Commit;

  constructor(
    private readonly cluster: Cluster,
    readonly facts: ModuleFacts,
    definition: ModuleDefinition,
    revision: Commit,
  ) {
    this.#definition = definition;
    this.#revision = revision;
    this.others = cluster.peers.filter(({ name }) => this.nodes.includes(name));
    this.partners = this.isHere ? this.others.map(({ name }) => name) : [];
    this.peer = definition.config.kind === "mirror" ? (this.partners[0] ?? null) : null;
  }

  /** What this node works with. */
  get definition(): ModuleDefinition {
    return this.#definition;
  }

  /** Its revision. */
  get revision(): Commit {
    return this.#revision;
  }

  /** Another revision works here from now on. */
  replace(definition: ModuleDefinition, revision: Commit): void {
    this.#definition = definition;
    this.#revision = revision;
  }

  /** The nodes that the module lives on. */
  get nodes(): readonly string[] {
    return this.#definition.config.nodes ?? Object.keys(this.cluster.nodes);
  }

  /** Is this node one of them? Where not, the module is only kept, and looked at. */
  get isHere(): boolean {
    return this.nodes.includes(this.cluster.node);
  }

  /** What becomes of the others matters here: not to a module that knows no others, nor to a node that only looks on. */
  get heedsOthers(): boolean {
    return this.isHere && this.#definition.config.kind !== "light";
  }

  /** The heartbeat timeout that this node promises by, ms. */
  get timeoutMs(): number {
    return timeoutsOf(this.#definition, this.cluster, this.facts).promised;
  }

  /** When its peers are heard, and after how long without a word they are taken for dead, ms. */
  get hearing(): { interval: number; lans: readonly string[]; timeout: number } {
    const { patient } = timeoutsOf(this.#definition, this.cluster, this.facts);
    return { ...rhythmOf(this.#definition, this.cluster), timeout: patient };
  }
}
