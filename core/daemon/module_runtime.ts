/**
 * One module on this node, put together: its definition, failover core, membership, replication process, addresses, journal.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Commit } from "../../modules/history/history.ts";
import type { ModuleDefinition } from "../../modules/load.ts";
import type { StatusOf } from "../checks/probes/module.ts";
import type { Cluster, ClusterNode } from "../cluster/cluster.ts";
import type { Command, DurableRecord, ModuleState, PeerView } from "../failover/types.ts";
import type { ReplicationCounters, VerifyResult } from "../filesystem/control.ts";
import type { VirtualIp } from "../network/virtual_ip.ts";
import { type Adopted, adopt } from "./adoption.ts";
import { dissolve, processGroup } from "./cgroup.ts";
import type { CommandResult, NodeStatus } from "./engine.ts";
import { decisionSettings, failoverConfig } from "./failover_config.ts";
import type { GuardianLink, Welcome } from "./guardian_link.ts";
import { FENCE_BEGINS } from "./guardian_protocol.ts";
import { rhythmOf, timeoutsOf } from "./heartbeat_timing.ts";
import { Journal } from "./journal.ts";
import { Lease } from "./lease.ts";
import { ModuleChecks } from "./module_checks.ts";
import { ModuleExecutor, replicationOf } from "./module_executor.ts";
import type { ModuleFacts } from "./module_facts.ts";
import { ModulePeers } from "./module_peers.ts";
import { ModuleResources } from "./module_resources.ts";
import { type Hold, ModuleWord } from "./module_word.ts";
import type { NodeSecrets } from "./node_secrets.ts";
import { RecordFile } from "./record.ts";
import type { Replacement } from "./replacement.ts";
import { ReplicationLink } from "./replication_link.ts";
import { ReplicationReports } from "./replication_reports.ts";
import { Supervisor } from "./supervisor.ts";
import { verdictOf } from "./verdict.ts";
import { VirtualAddresses } from "./virtual_addresses.ts";

/** What all modules of a node share. */
export interface NodeParts {
  varDir: string;
  cluster: Cluster;
  guardian: GuardianLink;
  /** What the guardian had kept when this daemon came. */
  welcome: Welcome;
  /** This start of the daemon, hex. */
  incarnation: string;
  network: VirtualIp;
  /** Tell the peers soon. */
  publish(): void;
  /** Nodes whose heartbeats are heard now. */
  heard(): ReadonlySet<string>;
  /** How a module is, by node; null where this node has no such module. */
  statusOf: StatusOf;
  secrets: Pick<NodeSecrets, "lack" | "values">;
}

/** Who wants to know how a module is. */
export interface RuntimeListener {
  /** Its visible state changed. */
  changed(): void;
  /** One of the other nodes is silent. */
  peerLost(peer: string): void;
}

/** States in which a node is the one, or one of those, that clients are for. */
const SERVING: ReadonlySet<ModuleState> = new Set(["PRIM", "ALONE", "UP"]);

/** A module of this node. */
export class ModuleRuntime {
  readonly link = new ReplicationLink();
  readonly journal: Journal;
  readonly #recordFile: RecordFile;
  readonly #supervisor: Supervisor;
  readonly #executor: ModuleExecutor;
  readonly #resources: ModuleResources;
  readonly #checks: ModuleChecks;
  readonly #replication: ReplicationReports;
  readonly #word: ModuleWord;
  /** Until then the core knows nothing, and nothing is told to the peer: a blank view would look like a lost copy. */
  booted = false;
  readonly peers: ModulePeers;
  readonly #addresses: VirtualAddresses;
  readonly #lease = new Lease(() => this.#timeouts.promised);
  readonly #peer: ClusterNode | null;
  /** The nodes that work with the same revision as this one; none where this node is not one of the module's. */
  readonly partners: readonly string[];
  #definition: ModuleDefinition;
  #revision: Commit;
  /** The record, as found at the start, until the core has it. */
  #found: { record: DurableRecord; adopted: Adopted | null } | null = null;
  /** Resolves when it is known what survived. */
  readonly opened: Promise<void>;
  readonly #nowOpened: () => void;

  constructor(
    private readonly parts: NodeParts,
    definition: ModuleDefinition,
    readonly facts: ModuleFacts,
    revision: Commit,
    private readonly listener: RuntimeListener,
  ) {
    this.#definition = definition;
    this.#revision = revision;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened = promise;
    this.#nowOpened = resolve;
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
    this.#addresses = new VirtualAddresses(name, config.virtualIps, parts.network, promised, (text) =>
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
      check: (scope) => this.#checks.look(scope),
    });
    this.#supervisor = new Supervisor(
      failoverConfig(definition, cluster.node, this.peer),
      parts.incarnation,
      this.#executor,
      this.journal,
      () => parts.guardian.isAwake(),
    );
    this.peers = this.#watchPeers(others);
    this.#resources = new ModuleResources(this.journal, (resource, state, detail) => {
      this.#supervisor.tell({ type: "resource", name: resource, state, detail });
      parts.publish();
    });
    this.#checks = new ModuleChecks({
      varDir,
      cluster,
      facts,
      journal: this.journal,
      resources: this.#resources,
      definition: () => this.#definition,
      statusOf: parts.statusOf,
      state: () => this.#supervisor.status().state,
      secrets: () => this.#executor.output.secrets(),
    });
    this.#replication = this.#reports();
    this.#word = new ModuleWord({
      supervisor: this.#supervisor,
      resources: this.#resources,
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
    this.#supervisor.reconfigure(decisionSettings(definition.config));
    this.#checks.reconfigure();
    // What is decided by these settings is decided anew.
    if (this.booted) this.#supervisor.tell({ type: "timer", name: "reconfigured" });
    this.#retime();
  }

  get #timeouts(): ReturnType<typeof timeoutsOf> {
    return timeoutsOf(this.#definition, this.parts.cluster, this.facts);
  }

  #retime(): void {
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
    const { state } = this.#supervisor.status();
    const lans = config.heartbeat.lans;
    const heard = Object.keys(this.peers.hears());
    if (
      state === "STOP" ||
      lans === undefined ||
      heard.length === 0 ||
      lans.some((lan) => heard.includes(lan))
    )
      return "";
    return `heartbeat.lans: ${this.partners.join(", ")} would be taken for dead, heard on ${heard.join(", ")} only`;
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
      onView: (_peer, view) => {
        if (this.#peer) this.#supervisor.tell({ type: "peer", view });
      },
      onLost: (peer, cause) => {
        this.#note("warning", cause);
        if (this.#peer) this.#supervisor.tell({ type: "peerLost", cause });
        this.listener.peerLost(peer);
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
    const record = await this.#recordFile.read();
    this.#executor.output.follow();
    // Services that run, of a module that did not, are nobody's earlier life.
    if (record.running) await this.#lookAtServices();
    const adopted = await this.#adopt(record);
    if (!adopted) await this.#clearAway();
    // What the guardian had kept is of one life only: this module may be loaded anew.
    delete this.parts.welcome.settled[this.definition.name];
    const setting = this.facts.boot ?? this.definition.config.boot;
    if (!adopted) await this.#executor.lookAtCopy();
    this.#found = { record, adopted };
    this.#nowOpened();
    return adopted === null && (setting === "always" || (setting === "auto" && record.running));
  }

  /** A systemd that does not answer is no reason not to look at what runs: the start says it again. */
  async #lookAtServices(): Promise<void> {
    try {
      await this.#executor.lookAtServices();
    } catch (error) {
      this.journal.line("warning", `services: ${(error as Error).message}`);
    }
  }

  /** Nothing of it runs: until the core has begun, since nothing was found that did. */
  get isAtRest(): boolean {
    return this.#found ? this.#found.adopted === null : this.#supervisor.status().state === "STOP";
  }

  /** Starts the core, and with `start` the module. Until then the peer is told nothing. */
  begin(start: boolean): void {
    if (this.#found === null || !this.isHere) return;
    const { record, adopted } = this.#found;
    this.#found = null;
    this.booted = true;
    this.#supervisor.tell({
      type: "boot",
      record,
      start,
      incarnation: this.parts.incarnation,
      ...(adopted ? { adopt: adopted } : {}),
    });
    this.#checks.begin();
  }

  /** What still runs goes on; null: nothing of it can be used. */
  async #adopt({ generations }: DurableRecord): Promise<Adopted | null> {
    const replicates = replicationOf(this.definition) !== null;
    const warn = (text: string) => this.journal.line("warning", text);
    const found = await adopt(
      this.parts.welcome,
      replicates,
      { ...this.#replacement(), generations: () => generations },
      warn,
    );
    if (found === null) return null;
    const { state, inSync, tookOver } = found;
    // Whether the peer can be asked must be known first.
    if (tookOver) this.peers.onceContactKnown(() => this.#replication.streamEnded());
    this.journal.line("event", `The daemon is back: ${state} goes on, nothing was restarted`);
    if (state !== "SECOND") {
      this.#executor.arm();
      void this.#addresses.adopt();
    }
    return { state, inSync };
  }

  /** Nothing of an earlier life may run beside the new one. */
  async #clearAway(): Promise<void> {
    this.#executor.arm();
    const { ok, detail } = await this.parts.guardian.fence(this.definition.name);
    if (!ok) this.journal.line("warning", `what was left of an earlier run: ${detail}`);
    this.#addresses.down();
  }

  /** Something that people or the peer can see has changed. */
  #changed(): void {
    const { state, readiness } = this.#supervisor.status();
    const { guardian } = this.parts;
    this.#lease.follow(SERVING.has(state));
    guardian.settled(this.definition.name, readiness === "Ready" ? state : null);
    // At rest there is nothing that a late daemon could endanger.
    if (readiness === "NotReady" && (state === "STOP" || state === "WAIT"))
      guardian.disarm(this.definition.name);
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
    if (this.link.tick(now))
      this.journal.line("error", "the replication process did not run for 5 s: killed");
    if (!this.#heedsOthers) return;
    for (const { name, state, detail } of this.peers.resources(this.#peer === null))
      this.#resources.note(name, state, detail);
  }

  /** What the peers are told of this module. */
  view(): PeerView {
    return this.#word.view();
  }

  /** Once a beat: this node may be heard for a while longer, if it still may; the kernel's deadline for the virtual addresses moves on. */
  renew(): void {
    this.#lease.renew();
    this.#addresses.hold();
  }

  /** May clients be sent here, this instant? A daemon that slept past its lease says no until the core has decided anew. */
  get serves(): boolean {
    const { state, readiness } = this.#supervisor.status();
    return readiness === "Ready" && SERVING.has(state) && this.#lease.isHeld;
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
    return { ...this.#word.status(), revision: this.#revision.slice(0, 12) };
  }

  /** What a peer last said, or UNKNOWN. */
  peerStatus(peer: string): NodeStatus {
    return this.#word.peerStatus(peer);
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

  /** Switches checkers of this node on or off. */
  get checks(): ModuleChecks {
    return this.#checks;
  }

  /** What was found, and what it was before. */
  get resources(): ModuleResources {
    return this.#resources;
  }

  when(settled: () => boolean, timeoutMs: number): Promise<boolean> {
    return this.#supervisor.when(settled, timeoutMs);
  }

  /** Compares both copies while the application runs. */
  async verify(): Promise<CommandResult> {
    const { name, config } = this.definition;
    const kind = config.kind === "mirror" ? "" : ` is a ${config.kind}: it`;
    if (!replicationOf(this.definition)) return { status: 2, message: `${name}${kind} replicates nothing` };
    const { state } = this.#supervisor.status();
    if (state !== "PRIM")
      return { status: 1, message: `${name} is ${state} here: verify runs on PRIM, with SECOND connected` };
    const { ok, detail, result } = await this.link.request({ op: "verify" });
    if (!ok) return { status: 1, message: detail };
    const nodes = { primary: this.parts.cluster.node, secondary: this.#peer?.name ?? "the secondary" };
    return verdictOf(name, result as VerifyResult, nodes);
  }

  /** It was stopped only because the node stops: `boot: auto` starts it again. */
  async rememberRunning(): Promise<void> {
    await this.#recordFile.write({ ...this.#supervisor.record, running: true });
  }

  /** The module leaves this node's memory; what it runs must have been stopped before. */
  async dispose(): Promise<void> {
    this.#checks.close();
    this.#supervisor.dispose();
    this.#executor.output.stop();
    this.link.removeAllListeners();
    this.parts.guardian.disarm(this.definition.name);
    if (this.link.connected) await this.link.request({ op: "exit" });
    if (existsSync(this.parts.varDir)) dissolve(processGroup(this.parts.varDir, this.definition.name));
  }
}
