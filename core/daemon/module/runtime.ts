/**
 * The life of one module on this node: it opens, begins, goes on with another revision, is told what the daemon hears, and leaves. What it is made of
 * is put together in parts.ts; what is laid down for it is in settings.ts.
 */
import { existsSync } from "node:fs";
import type { Commit } from "../../../modules/history/history.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { ModuleView } from "../../cluster/cluster.ts";
import type { Command, DurableRecord } from "../../failover/types.ts";
import type { ModuleFarm } from "../addresses/farm.ts";
import type { CommandResult, NodeStatus } from "../engine.ts";
import { dissolve, processGroup } from "../guardian/cgroup.ts";
import { FENCE_BEGINS } from "../guardian/protocol.ts";
import type { Journal } from "../journal.ts";
import type { NodeParts } from "../node_parts.ts";
import { replicationOf } from "../replication/config.ts";
import type { ReplicationLink } from "../replication/link.ts";
import { replicationResources } from "../replication/resources.ts";
import { verify } from "../replication/verdict.ts";
import type { ModuleChecks } from "./checks.ts";
import type { ModuleFacts } from "./facts.ts";
import { decisionSettings } from "./failover_config.ts";
import type { ModuleMaintenance } from "./maintenance.ts";
import { ModuleParts } from "./parts.ts";
import type { ModulePeers } from "./peers.ts";
import type { ModuleResources } from "./resources.ts";
import { ModuleSettings } from "./settings.ts";
import type { Supervisor } from "./supervisor.ts";
import type { Hold } from "./word.ts";

/** Who wants to know how a module is. */
export interface RuntimeListener {
  /** Its visible state changed. */
  changed(): void;
  /** One of the other nodes is silent. */
  peerLost(peer: string): void;
}

/** A module of this node. */
export class ModuleRuntime {
  /** Until then the core knows nothing, and nothing is told to the peer: a blank view would look like a lost copy. */
  booted = false;
  readonly #settings: ModuleSettings;
  readonly #parts: ModuleParts;

  constructor(
    private readonly node: NodeParts,
    definition: ModuleDefinition,
    readonly facts: ModuleFacts,
    revision: Commit,
    private readonly listener: RuntimeListener,
  ) {
    this.#settings = new ModuleSettings(node.cluster, facts, definition, revision);
    this.#parts = new ModuleParts(node, this.#settings, {
      changed: () => this.#changed(),
      redecide: (settings) => this.#redecide(settings),
      peerLost: (peer) => listener.peerLost(peer),
      isBooted: () => this.booted,
    });
  }

  get link(): ReplicationLink {
    return this.#parts.link;
  }

  get journal(): Journal {
    return this.#parts.journal;
  }

  /** What was found, and what it was before. */
  get resources(): ModuleResources {
    return this.#parts.resources;
  }

  /** Switches checkers of this node on or off. */
  get checks(): ModuleChecks {
    return this.#parts.checks;
  }

  /** People work on it. */
  get maintenance(): ModuleMaintenance {
    return this.#parts.maintenance;
  }

  get peers(): ModulePeers {
    return this.#parts.peers;
  }

  /** What a farm's own virtual IP needs beside a state; nothing to other modules. */
  get farm(): ModuleFarm {
    return this.#parts.farm;
  }

  /** What this node works with. */
  get definition(): ModuleDefinition {
    return this.#settings.definition;
  }

  /** Its revision. */
  get revision(): Commit {
    return this.#settings.revision;
  }

  /** The nodes that this module lives on. */
  get nodes(): readonly string[] {
    return this.#settings.nodes;
  }

  /** Is this node one of them? Where not, the module is only kept, and looked at. */
  get isHere(): boolean {
    return this.#settings.isHere;
  }

  /** The nodes that work with the same revision as this one; none where this node is not one of the module's. */
  get partners(): readonly string[] {
    return this.#settings.partners;
  }

  /** The heartbeat timeout that this node promises by, ms. */
  get timeoutMs(): number {
    return this.#settings.timeoutMs;
  }

  /** Reads what survived, and adopts what still runs or clears it away. Returns whether the module is to start now, as after a boot. */
  async open(): Promise<boolean> {
    const isToStart = await this.#parts.opening.open();
    if (!isToStart || !this.farm.isDrained) return isToStart;
    this.journal.line(
      "event",
      "It is not started by itself, since it was being drained when its daemon ended",
    );
    return false;
  }

  /** Resolves when it is known what survived. */
  get opened(): Promise<void> {
    return this.#parts.opening.done;
  }

  /** Why it cannot be said what this node's copy is worth, or "": nothing runs then. */
  get damage(): string {
    return this.#parts.opening.damage;
  }

  /** Goes on without a record that is damaged. */
  async renounceRecord(): Promise<void> {
    await this.#parts.opening.renounce();
    this.begin(false);
  }

  /** Nothing of it runs: until the core has begun, since nothing was found that did. */
  get isAtRest(): boolean {
    const { opening, supervisor } = this.#parts;
    const { found } = opening;
    return found ? found.adopted === null : supervisor.status().state === "STOP";
  }

  /** Starts the core, and with `start` the module. Until then the peer is told nothing. */
  begin(start: boolean): void {
    const { opening, supervisor, checks } = this.#parts;
    const found = this.isHere ? opening.take() : null;
    if (found === null) return;
    const { record, adopted } = found;
    this.booted = true;
    supervisor.tell({
      type: "boot",
      record,
      start,
      incarnation: this.node.incarnation,
      ...(adopted ? { adopt: adopted } : {}),
    });
    checks.begin();
  }

  /**
   * Goes on with another revision while the module runs; the caller has made sure that nothing in it needs a stop. Until the peer says that it
   * has the revision too, this node promises by the shorter heartbeat timeout of both and is patient by the longer.
   */
  reconfigure(definition: ModuleDefinition, revision: Commit): void {
    this.#settings.replace(definition, revision);
    this.checks.reconfigure();
    this.#redecide(decisionSettings(definition));
    this.retime();
  }

  /** Why the module could not go on with this definition while it runs, or "". */
  refusal({ config }: ModuleDefinition): string {
    const { lans } = config.heartbeat;
    if (lans === undefined || this.#parts.supervisor.status().state === "STOP") return "";
    return this.peers.refusal(lans);
  }

  /** The others work with this node's revision: their timings are ours. Returns true when they were not before. */
  peersAgree(): boolean {
    if (this.facts.formerTimeouts === undefined) return false;
    delete this.facts.formerTimeouts;
    this.retime();
    return true;
  }

  /** What is decided by these settings is decided anew. */
  #redecide(settings: Parameters<Supervisor["reconfigure"]>[0]): void {
    const { supervisor } = this.#parts;
    supervisor.reconfigure(settings);
    if (this.booted) supervisor.tell({ type: "timer", name: "reconfigured" });
    this.#changed();
  }

  /** Goes on with the timings that module.yaml and cluster.yaml give it now. */
  retime(): void {
    const { supervisor, witness, executor, addresses, peers } = this.#parts;
    const { definition, timeoutMs, hearing } = this.#settings;
    supervisor.reconfigure({ witness: witness.config, timeoutMs });
    executor.reconfigure(definition, timeoutMs);
    addresses.timeoutMs = timeoutMs;
    peers.retime(hearing);
  }

  /** What is decided by the witness is decided anew. */
  #witnessChanged(): void {
    const { config } = this.#parts.witness;
    if (config === null) this.resources.forget("splitbrain.witness");
    this.#redecide({ witness: config });
  }

  /** Something that people or the peer can see has changed. */
  #changed(): void {
    this.#parts.right.follow();
    this.node.publish();
    this.listener.changed();
  }

  /** The guardian fenced the module while this daemon was late. */
  fenced(): void {
    this.#late(
      `this node's daemon did not run for ${Math.round(FENCE_BEGINS * this.timeoutMs)} ms: its guardian stopped the module at once`,
    );
  }

  #late(cause: string): void {
    this.journal.line("error", cause);
    this.#parts.supervisor.tell({ type: "fenced", cause });
  }

  /** It is known by now whether the guardian fenced while this daemon did not run. */
  awake(): void {
    this.#parts.supervisor.awake();
  }

  /** Once a beat: the clock of membership. */
  tick(now: number): void {
    const { peers, witness, farm, link, journal, resources } = this.#parts;
    peers.tick(now);
    if (witness.hasChanged()) this.#witnessChanged();
    farm.look();
    if (link.tick(now)) journal.line("error", "the replication process did not run for 5 s: killed");
    if (!this.#settings.heedsOthers) return;
    for (const { name, state, detail } of [
      ...peers.resources(this.#settings.peer === null),
      ...this.#dataResources,
    ])
      resources.note(name, state, detail);
  }

  /** Once a beat: this node may be heard for a while longer, if it still may; the kernel's deadline for the virtual addresses moves on. */
  renew(): void {
    if (this.#parts.right.lapses())
      this.#late("this node's daemon did not renew its right in time: the module is stopped at once");
    this.#parts.addresses.hold();
  }

  /** May clients be sent here, this instant? A daemon that slept past its lease says no until the core has decided anew. */
  get serves(): boolean {
    return this.#parts.right.serves;
  }

  /** The TCP port on which load balancers ask that; null where nobody does. */
  get probePort(): number | null {
    return this.definition.config.probe?.port ?? null;
  }

  /** Why this node's module may not go on with its peer as it is. */
  get hold(): Hold | null {
    return this.#parts.word.hold;
  }

  set hold(hold: Hold | null) {
    this.#parts.word.hold = hold;
  }

  get #dataResources(): ReturnType<typeof replicationResources> {
    if (!this.booted || !replicationOf(this.definition)) return [];
    const { record, isInSync } = this.#parts.supervisor;
    return replicationResources(this.#parts.supervisor.status().state, isInSync, record);
  }

  /** What the peers are told of this module. */
  view(): ModuleView {
    return { ...this.#parts.word.view(), ...this.farm.word };
  }

  status(): NodeStatus {
    const revision = this.revision.slice(0, 12);
    return { ...this.#parts.word.status(), revision, ...this.farm.share(this.node.cluster.node) };
  }

  /** What a peer last said, or UNKNOWN. */
  peerStatus(peer: string): NodeStatus {
    return { ...this.#parts.word.peerStatus(peer), ...this.farm.share(peer) };
  }

  get record(): DurableRecord {
    return this.#parts.supervisor.record;
  }

  /** Where a hook failed, the result says where to read what it printed. */
  async command(command: Command, cause: string): Promise<CommandResult> {
    const { supervisor, executor } = this.#parts;
    if (command.name !== "stop" && command.name !== "forcestop") await this.farm.forgive();
    const { failedHooks } = executor;
    const result = await supervisor.command(command, "human", cause);
    if (result.status !== 1 || executor.failedHooks === failedHooks) return result;
    return { ...result, message: `${result.message}; what it printed: holdfast log ${this.definition.name}` };
  }

  when(settled: () => boolean, timeoutMs: number): Promise<boolean> {
    return this.#parts.supervisor.when(settled, timeoutMs);
  }

  /** Compares both copies while the application runs. */
  async verify(): Promise<CommandResult> {
    const nodes = { primary: this.node.cluster.node, secondary: this.#settings.peer ?? "the secondary" };
    return await verify(this.definition, this.#parts.supervisor.status().state, this.link, nodes);
  }

  /** It was stopped only because the node stops: `boot: auto` starts it again. */
  async rememberRunning(): Promise<void> {
    await this.#parts.record.write({ ...this.record, running: true });
  }

  /** The module leaves this node's memory; what it runs must have been stopped before. */
  async dispose(): Promise<void> {
    const { supervisor, executor, link } = this.#parts;
    const { varDir, guardian } = this.node;
    this.checks.close();
    supervisor.dispose();
    executor.output.stop();
    link.removeAllListeners();
    guardian.disarm(this.definition.name);
    if (link.connected) await link.request({ op: "exit" });
    if (existsSync(varDir)) dissolve(processGroup(varDir, this.definition.name));
  }
}
