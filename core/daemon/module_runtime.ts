/**
 * One module on this node, put together: its definition, failover core, membership, replication process, addresses, journal.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Commit } from "../../modules/history/history.ts";
import type { ModuleDefinition } from "../../modules/load.ts";
import type { ClusterNode } from "../cluster/cluster.ts";
import type { Command, DurableRecord, PeerView } from "../failover/types.ts";
import type { ReplicationCounters } from "../filesystem/control.ts";
import { dissolve, processGroup } from "./cgroup.ts";
import type { CommandResult, NodeStatus } from "./engine.ts";
import { decisionSettings, failoverConfig } from "./failover_config.ts";
import { FENCE_BEGINS } from "./guardian_protocol.ts";
import { rhythmOf, timeoutsOf } from "./heartbeat_timing.ts";
import { Journal } from "./journal.ts";
import { ModuleChecks } from "./module_checks.ts";
import { ModuleExecutor, replicationOf } from "./module_executor.ts";
import type { ModuleFacts } from "./module_facts.ts";
import { ModuleFarm } from "./module_farm.ts";
import { ModuleMaintenance } from "./module_maintenance.ts";
import { ModuleOpening } from "./module_opening.ts";
import { ModulePeers } from "./module_peers.ts";
import { ModuleResources } from "./module_resources.ts";
import { ModuleRight } from "./module_right.ts";
import { ModuleWitness } from "./module_witness.ts";
import { type Hold, ModuleWord } from "./module_word.ts";
import type { NodeParts } from "./node_parts.ts";
import { RecordFile } from "./record.ts";
import type { Replacement } from "./replacement.ts";
import { ReplicationLink } from "./replication_link.ts";
import { ReplicationReports } from "./replication_reports.ts";
import { Supervisor } from "./supervisor.ts";
import { verify } from "./verdict.ts";
import { VirtualAddresses } from "./virtual_addresses.ts";

/** Who wants to know how a module is. */
export interface RuntimeListener {
  /** Its visible state changed. */
  changed(): void;
  /** One of the other nodes is silent. */
  peerLost(peer: string): void;
}

/** A module of this node. */
export class ModuleRuntime {
  readonly link = new ReplicationLink();
  readonly journal: Journal;
  readonly #recordFile: RecordFile;
  readonly #supervisor: Supervisor;
  readonly #executor: ModuleExecutor;
  /** What was found, and what it was before. */
  readonly resources: ModuleResources;
  /** Switches checkers of this node on or off. */
  readonly checks: ModuleChecks;
  /** People work on it. */
  readonly maintenance: ModuleMaintenance;
  readonly #replication: ReplicationReports;
  readonly #word: ModuleWord;
  /** Until then the core knows nothing, and nothing is told to the peer: a blank view would look like a lost copy. */
  booted = false;
  readonly peers: ModulePeers;
  readonly #addresses: VirtualAddresses;
  /** What a farm's own virtual IP needs beside a state; nothing to other modules. */
  readonly farm: ModuleFarm;
  readonly #right: ModuleRight;
  readonly #opening: ModuleOpening;
  readonly #peer: ClusterNode | null;
  /** The nodes that work with the same revision as this one; none where this node is not one of the module's. */
  readonly partners: readonly string[];
  #definition: ModuleDefinition;
  #revision: Commit;
  readonly #witness: ModuleWitness;

  constructor(
    private readonly parts: NodeParts,
    definition: ModuleDefinition,
    readonly facts: ModuleFacts,
    revision: Commit,
    private readonly listener: RuntimeListener,
  ) {
    this.#definition = definition;
    this.#revision = revision;
    const { varDir, cluster, guardian, secrets } = parts;
    const { config, name } = definition;
    const logDir = join(varDir, "log", name);
    mkdirSync(logDir, { recursive: true, mode: 0o700 });
    this.journal = new Journal(logDir, cluster.node);
    this.#recordFile = new RecordFile(join(varDir, "state", name));
    const others = cluster.peers.filter(({ name: node }) => this.nodes.includes(node));
    this.partners = this.isHere ? others.map(({ name: node }) => node) : [];
    this.#peer = this.isHere && config.kind === "mirror" ? (others[0] ?? null) : null;
    const { promised } = this.#timeouts;
    this.#witness = new ModuleWitness({
      module: name,
      peer: this.peer,
      cluster,
      desk: parts.witness,
      timeoutMs: () => this.#timeouts.promised,
      note: (state, detail) => this.resources.note("witness", state, detail),
    });
    this.farm = new ModuleFarm({
      node: parts,
      module: name,
      journal: this.journal,
      definition: () => this.#definition,
      nodes: () => this.nodes,
      views: (lan) => this.peers.views(lan),
      resources: () => this.resources.states,
      serves: () => this.serves,
    });
    this.#addresses =
      this.farm.addresses(promised) ??
      new VirtualAddresses(name, config.virtualIps, parts.network, promised, (text) =>
        this.journal.line("warning", text),
      );
    this.#executor = new ModuleExecutor({
      varDir,
      cluster,
      peers: others,
      definition,
      number: facts.number,
      timeoutMs: promised,
      group: processGroup(varDir, name),
      guardian,
      link: this.link,
      addresses: this.#addresses,
      record: this.#recordFile,
      journal: this.journal,
      secrets,
      tellCopy: (word) => this.#supervisor.tell({ type: "copy", word }),
      publish: () => this.#changed(),
      ask: (question) => this.#witness.ask(question),
      check: (scope) => this.checks.look(scope),
      rest: (resource, isResting) => this.checks.rest(resource, isResting),
    });
    this.#supervisor = new Supervisor(
      {
        ...failoverConfig(definition, cluster.node, this.peer),
        maintenance: facts.maintenance?.on ?? false,
        witness: this.#witness.config,
      },
      parts.incarnation,
      this.#executor,
      this.journal,
      () => guardian.isAwake(),
    );
    this.maintenance = new ModuleMaintenance({
      varDir,
      facts,
      journal: this.journal,
      changed: (maintenance) => this.#redecide({ maintenance }),
    });
    this.#right = new ModuleRight(name, this.#supervisor, guardian, () => this.#timeouts.promised);
    this.peers = this.#watchPeers(others);
    this.resources = new ModuleResources(this.journal, (resource, state, detail) => {
      this.#supervisor.tell({ type: "resource", name: resource, state, detail });
      parts.publish();
    });
    this.checks = new ModuleChecks({
      varDir,
      cluster,
      facts,
      journal: this.journal,
      resources: this.resources,
      definition: () => this.#definition,
      statusOf: parts.statusOf,
      state: () => this.#supervisor.status().state,
      secrets: () => this.#executor.output.secrets(),
    });
    this.#replication = this.#reports();
    this.#opening = new ModuleOpening({
      facts,
      welcome: parts.welcome,
      guardian,
      record: this.#recordFile,
      executor: this.#executor,
      addresses: this.#addresses,
      peers: this.peers,
      replication: this.#replication,
      journal: this.journal,
      definition: () => this.#definition,
      replacement: () => this.#replacement(),
    });
    this.#word = new ModuleWord({
      supervisor: this.#supervisor,
      maintenance: this.maintenance,
      resources: this.resources,
      replication: this.#replication,
      peers: this.peers,
      peer: this.peer,
      isMirror: config.kind === "mirror",
      replicates: () => replicationOf(this.definition) !== null,
      lack: () => secrets.lack(name, this.definition.config.secrets),
    });
  }

  #reports(): ReplicationReports {
    return new ReplicationReports(this.link, this.journal, {
      state: () => this.#supervisor.status().state,
      onReport: (report) => this.#supervisor.tell({ type: "replication", report }),
      onStream: (ageMs) => this.peers.onStream(ageMs),
      replacement: () => this.#replacement(),
      generations: () => this.#supervisor.record.generations,
    });
  }

  /** What this node works with. */
  get definition(): ModuleDefinition {
    return this.#definition;
  }

  /** Its revision. */
  get revision(): Commit {
    return this.#revision;
  }

  /** The other node of a mirror. */
  get peer(): string | null {
    return this.#peer?.name ?? null;
  }

  /**
   * Goes on with another revision while the module runs; the caller has made sure that nothing in it needs a stop. Until the peer says that it
   * has the revision too, this node promises by the shorter heartbeat timeout of both and is patient by the longer.
   */
  reconfigure(definition: ModuleDefinition, revision: Commit): void {
    this.#definition = definition;
    this.#revision = revision;
    this.checks.reconfigure();
    this.#redecide(decisionSettings(definition));
    this.#retime();
  }

  /** What is decided by these settings is decided anew. */
  #redecide(settings: Parameters<Supervisor["reconfigure"]>[0]): void {
    this.#supervisor.reconfigure(settings);
    if (this.booted) this.#supervisor.tell({ type: "timer", name: "reconfigured" });
    this.#changed();
  }

  get #timeouts(): ReturnType<typeof timeoutsOf> {
    return timeoutsOf(this.#definition, this.parts.cluster, this.facts);
  }

  /** The heartbeat timeout that this node promises by, ms. */
  get timeoutMs(): number {
    return this.#timeouts.promised;
  }

  /** What is decided by the witness is decided anew. */
  #witnessChanged(): void {
    if (this.#witness.config === null) this.resources.forget("witness");
    this.#redecide({ witness: this.#witness.config });
  }

  #retime(): void {
    this.#supervisor.reconfigure({ witness: this.#witness.config });
    const { promised, patient } = this.#timeouts;
    this.#executor.reconfigure(this.#definition, promised);
    this.#addresses.timeoutMs = promised;
    this.peers.retime({ ...rhythmOf(this.#definition, this.parts.cluster), timeout: patient });
  }

  /** The others work with this node's revision: their timings are ours. Returns true when they were not before. */
  peersAgree(): boolean {
    if (this.facts.formerTimeouts === undefined) return false;
    delete this.facts.formerTimeouts;
    this.#retime();
    return true;
  }

  /** Why the module could not go on with this definition while it runs, or "". */
  refusal({ config }: ModuleDefinition): string {
    const { lans } = config.heartbeat;
    if (lans === undefined || this.#supervisor.status().state === "STOP") return "";
    return this.peers.refusal(lans);
  }

  /** The nodes that this module lives on. */
  get nodes(): readonly string[] {
    return this.definition.config.nodes ?? Object.keys(this.parts.cluster.nodes);
  }

  /** Is this node one of them? Where not, the module is only kept, and looked at. */
  get isHere(): boolean {
    return this.nodes.includes(this.parts.cluster.node);
  }

  #watchPeers(nodes: readonly ClusterNode[]): ModulePeers {
    const { cluster, incarnation } = this.parts;
    const timing = { ...rhythmOf(this.#definition, cluster), timeout: this.#timeouts.patient };
    return new ModulePeers(nodes, cluster, incarnation, timing, {
      onView: (peer, view) => {
        this.maintenance.hear(view.maintenance, peer);
        if (this.#peer) this.#supervisor.tell({ type: "peer", view });
      },
      onLost: (peer, cause) => {
        this.#note("warning", cause);
        if (this.#peer) this.#supervisor.tell({ type: "peerLost", cause });
        this.listener.peerLost(peer);
      },
      onPromise: (_peer, since) => {
        if (this.#witness.config !== null && this.booted) this.#supervisor.tell({ type: "promised", since });
      },
      onLan: (text) => this.#note("info", text),
    });
  }

  /** What becomes of the others matters here: not to a module that knows no others, nor to a node that only looks on. */
  get #heedsOthers(): boolean {
    return this.isHere && this.#definition.config.kind !== "light";
  }

  #note(level: "warning" | "info", text: string): void {
    if (this.#heedsOthers) this.journal.line(level, text);
  }

  #replacement(): Omit<Replacement, "generations"> {
    const { link, parts, definition } = this;
    const configure = () => this.#executor.configure();
    return { module: definition.name, link, guardian: parts.guardian, configure };
  }

  /** Reads what survived, and adopts what still runs or clears it away. Returns whether the module is to start now, as after a boot. */
  async open(): Promise<boolean> {
    return await this.#opening.open();
  }

  /** Resolves when it is known what survived. */
  get opened(): Promise<void> {
    return this.#opening.done;
  }

  /** Nothing of it runs: until the core has begun, since nothing was found that did. */
  get isAtRest(): boolean {
    const { found } = this.#opening;
    return found ? found.adopted === null : this.#supervisor.status().state === "STOP";
  }

  /** Starts the core, and with `start` the module. Until then the peer is told nothing. */
  begin(start: boolean): void {
    const found = this.isHere ? this.#opening.take() : null;
    if (found === null) return;
    const { record, adopted } = found;
    this.booted = true;
    this.#supervisor.tell({
      type: "boot",
      record,
      start,
      incarnation: this.parts.incarnation,
      ...(adopted ? { adopt: adopted } : {}),
    });
    this.checks.begin();
  }

  /** Something that people or the peer can see has changed. */
  #changed(): void {
    this.#right.follow();
    this.parts.publish();
    this.listener.changed();
  }

  /** The guardian fenced the module while this daemon was late. */
  fenced(): void {
    const cause = `this node's daemon did not run for ${Math.round(FENCE_BEGINS * this.#timeouts.promised)} ms: its guardian stopped the module at once`;
    this.journal.line("error", cause);
    this.#supervisor.tell({ type: "fenced", cause });
  }

  /** It is known by now whether the guardian fenced while this daemon did not run. */
  awake(): void {
    this.#supervisor.awake();
  }

  /** Once a beat: the clock of membership. */
  tick(now: number): void {
    this.peers.tick(now);
    if (this.#witness.hasChanged()) this.#witnessChanged();
    this.farm.look();
    if (this.link.tick(now))
      this.journal.line("error", "the replication process did not run for 5 s: killed");
    if (!this.#heedsOthers) return;
    for (const { name, state, detail } of this.peers.resources(this.#peer === null))
      this.resources.note(name, state, detail);
  }

  /** What the peers are told of this module. */
  view(): PeerView {
    return { ...this.#word.view(), ...this.farm.word };
  }

  /** Once a beat: this node may be heard for a while longer, if it still may; the kernel's deadline for the virtual addresses moves on. */
  renew(): void {
    this.#right.renew();
    this.#addresses.hold();
  }

  /** May clients be sent here, this instant? A daemon that slept past its lease says no until the core has decided anew. */
  get serves(): boolean {
    return this.#right.serves;
  }

  /** The TCP port on which load balancers ask that; null where nobody does. */
  get probePort(): number | null {
    return this.definition.config.probe?.port ?? null;
  }

  /** Why this node's module may not go on with its peer as it is. */
  get hold(): Hold | null {
    return this.#word.hold;
  }

  set hold(hold: Hold | null) {
    this.#word.hold = hold;
  }

  status(): NodeStatus {
    const revision = this.#revision.slice(0, 12);
    return { ...this.#word.status(), revision, ...this.farm.share(this.parts.cluster.node) };
  }

  /** What a peer last said, or UNKNOWN. */
  peerStatus(peer: string): NodeStatus {
    return { ...this.#word.peerStatus(peer), ...this.farm.share(peer) };
  }

  get record(): DurableRecord {
    return this.#supervisor.record;
  }

  get counters(): ReplicationCounters | null {
    return this.#replication.counters;
  }

  async command(command: Command, cause: string): Promise<CommandResult> {
    return await this.#supervisor.command(command, "human", cause);
  }

  when(settled: () => boolean, timeoutMs: number): Promise<boolean> {
    return this.#supervisor.when(settled, timeoutMs);
  }

  /** Compares both copies while the application runs. */
  async verify(): Promise<CommandResult> {
    const nodes = { primary: this.parts.cluster.node, secondary: this.#peer?.name ?? "the secondary" };
    return await verify(this.definition, this.#supervisor.status().state, this.link, nodes);
  }

  /** It was stopped only because the node stops: `boot: auto` starts it again. */
  async rememberRunning(): Promise<void> {
    await this.#recordFile.write({ ...this.#supervisor.record, running: true });
  }

  /** The module leaves this node's memory; what it runs must have been stopped before. */
  async dispose(): Promise<void> {
    this.checks.close();
    this.#supervisor.dispose();
    this.#executor.output.stop();
    this.link.removeAllListeners();
    this.parts.guardian.disarm(this.definition.name);
    if (this.link.connected) await this.link.request({ op: "exit" });
    if (existsSync(this.parts.varDir)) dissolve(processGroup(this.parts.varDir, this.definition.name));
  }
}
