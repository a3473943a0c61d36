/**
 * One module on this node, put together: its definition, failover core, membership, replication process, addresses, journal.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { followOutput, stopFollowing } from "../../hooks/output.ts";
import type { Commit } from "../../modules/history/history.ts";
import type { ModuleDefinition } from "../../modules/load.ts";
import type { StatusOf } from "../checks/probes/module.ts";
import type { Cluster, ClusterNode } from "../cluster/cluster.ts";
import type { Command, DurableRecord, PeerView } from "../failover/types.ts";
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
import { ModuleChecks } from "./module_checks.ts";
import { ModuleExecutor, replicationOf } from "./module_executor.ts";
import type { ModuleFacts } from "./module_facts.ts";
import { ModulePeers } from "./module_peers.ts";
import { ModuleResources } from "./module_resources.ts";
import { type Hold, ModuleWord } from "./module_word.ts";
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
}

/** Who wants to know how a module is. */
export interface RuntimeListener {
  /** Its visible state changed. */
  changed(): void;
  /** The peer is silent. */
  peerLost(): void;
}

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
  readonly #peer: ClusterNode | null;
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
    const { varDir, cluster, guardian } = parts;
    const { config, name } = definition;
    const logDir = join(varDir, "log", name);
    mkdirSync(logDir, { recursive: true, mode: 0o700 });
    this.journal = new Journal(logDir, cluster.node);
    this.#recordFile = new RecordFile(join(varDir, "state", name));
    this.#peer =
      cluster.peers.find((peer) => config.kind === "mirror" && this.nodes.includes(peer.name)) ?? null;
    const { promised } = this.#timeouts;
    this.#addresses = new VirtualAddresses(name, config.virtualIps, parts.network, promised, (text) =>
      this.journal.line("warning", text),
    );
    this.#executor = new ModuleExecutor({
      varDir,
      cluster,
      peer: this.#peer,
      definition,
      number: facts.number,
      timeoutMs: promised,
      group: processGroup(varDir, name),
      guardian,
      link: this.link,
      addresses: this.#addresses,
      record: this.#recordFile,
      journal: this.journal,
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
    this.peers = this.#watchPeers();
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
    });
    this.#replication = this.#reports();
    this.#word = new ModuleWord({
      supervisor: this.#supervisor,
      resources: this.#resources,
      replication: this.#replication,
      peers: this.peers,
      peer: this.peer,
      replicates: () => replicationOf(this.definition) !== null,
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

  /** The peer is known to be silent. */
  get peerIsLost(): boolean {
    return this.#peer === null || this.peers.isLost(this.#peer.name);
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

  /** The peer works with this node's revision: its timings are ours. Returns true when they were not before. */
  peerAgrees(): boolean {
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
    return `heartbeat.lans: ${this.peer} is heard on ${heard.join(", ")} only, and would be taken for dead`;
  }

  /** The nodes that this module lives on. */
  get nodes(): readonly string[] {
    return this.definition.config.nodes ?? Object.keys(this.parts.cluster.nodes);
  }

  #watchPeers(): ModulePeers {
    const { cluster, incarnation } = this.parts;
    const timing = { ...rhythmOf(this.#definition, cluster), timeout: this.#timeouts.patient };
    const nodes = this.#peer ? [this.#peer] : [];
    return new ModulePeers(nodes, cluster, incarnation, timing, this.journal, {
      onView: (_peer, view) => this.#supervisor.tell({ type: "peer", view }),
      onLost: (_peer, cause) => {
        this.#supervisor.tell({ type: "peerLost", cause });
        this.listener.peerLost();
      },
    });
  }

  #replacement(): Omit<Replacement, "generations"> {
    const { link, parts, definition } = this;
    const configure = () => this.#executor.configure();
    return { module: definition.name, link, guardian: parts.guardian, configure };
  }

  /** Reads what survived, and adopts what still runs or clears it away. Returns whether the module is to start now, as after a boot. */
  async open(): Promise<boolean> {
    const record = await this.#recordFile.read();
    followOutput(this.#executor.scriptLog, (line) => this.journal.line("script", line));
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

  /** Nothing of it runs: until the core has begun, since nothing was found that did. */
  get isAtRest(): boolean {
    return this.#found ? this.#found.adopted === null : this.#supervisor.status().state === "STOP";
  }

  /** Starts the core, and with `start` the module. Until then the peer is told nothing. */
  begin(start: boolean): void {
    if (this.#found === null) return;
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
    for (const { name, state, detail } of this.peers.resources()) this.#resources.note(name, state, detail);
  }

  /** What the peers are told of this module. */
  view(): PeerView {
    return this.#word.view();
  }

  /** Moves the kernel's deadline for the virtual addresses on, while they are ours. */
  holdAddresses(): void {
    this.#addresses.hold();
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
    const { name } = this.definition;
    if (!replicationOf(this.definition)) return { status: 2, message: `${name} replicates nothing` };
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
    stopFollowing(this.#executor.scriptLog);
    this.link.removeAllListeners();
    this.parts.guardian.disarm(this.definition.name);
    if (this.link.connected) await this.link.request({ op: "exit" });
    if (existsSync(this.parts.varDir)) dissolve(processGroup(this.parts.varDir, this.definition.name));
  }
}
