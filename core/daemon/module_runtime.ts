/**
 * One module on this node, put together: its definition, failover core, membership, replication process, addresses, journal.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Commit } from "../../modules/history/history.ts";
import type { ModuleDefinition } from "../../modules/load.ts";
import type { ModuleConfig } from "../../modules/schema.ts";
import type { Cluster, ClusterNode } from "../cluster/cluster.ts";
import type { Command, DurableRecord, FailoverConfig, PeerView } from "../failover/types.ts";
import type { ReintegrationProgress, ReplicationCounters, VerifyResult } from "../filesystem/control.ts";
import type { VirtualIp } from "../network/virtual_ip.ts";
import { type Adopted, adopt } from "./adoption.ts";
import { dissolve, processGroup } from "./cgroup.ts";
import type { CommandResult, NodeStatus } from "./engine.ts";
import type { GuardianLink, Welcome } from "./guardian_link.ts";
import { FENCE_BEGINS } from "./guardian_protocol.ts";
import { Journal } from "./journal.ts";
import { ModuleExecutor, replicationOf } from "./module_executor.ts";
import type { ModuleFacts } from "./module_facts.ts";
import type { NodeSecrets } from "./node_secrets.ts";
import { PeerWatch, silentStatus } from "./peer_watch.ts";
import { RecordFile } from "./record.ts";
import { type Replacement, replaceProcess } from "./replacement.ts";
import { ReplicationLink } from "./replication_link.ts";
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
  secrets: Pick<NodeSecrets, "lack" | "values">;
}

/** Why a module is kept from working with its peer, for people. */
export interface Hold {
  reason: string;
  remedy?: string;
}

/** Who wants to know how a module is. */
export interface RuntimeListener {
  /** Its visible state changed. */
  changed(): void;
  /** The peer is silent. */
  peerLost(): void;
}

/** Settings that the failover core looks up when it decides. */
function decisionSettings(config: ModuleConfig): Pick<FailoverConfig, "failover" | "failback" | "maxLoop"> {
  const mirror = config.kind === "mirror" ? config : null;
  return {
    failover: mirror?.failover ?? "automatic",
    failback: mirror?.failback ?? null,
    maxLoop: { count: config.maxLoop.count, intervalMs: config.maxLoop.interval },
  };
}

/** A module's heartbeat timeout, ms. */
export function timeoutOf({ config }: ModuleDefinition, cluster: Cluster): number {
  return config.heartbeat.timeout ?? cluster.heartbeat.timeoutMs;
}

/** A module of this node. */
export class ModuleRuntime {
  readonly link = new ReplicationLink();
  readonly journal: Journal;
  readonly #recordFile: RecordFile;
  readonly #supervisor: Supervisor;
  readonly #executor: ModuleExecutor;
  /** Until then the core knows nothing, and nothing is told to the peer: a blank view would look like a lost copy. */
  booted = false;
  /** Null for a module without a peer. */
  readonly watch: PeerWatch | null;
  readonly #addresses: VirtualAddresses;
  readonly #peer: ClusterNode | null;
  #reintegration: ReintegrationProgress | null = null;
  #counters: ReplicationCounters | null = null;
  #countedAt = 0;
  #replacing = false;
  /** What waits until it is known whether the peer lives. */
  #onContact: (() => void) | null = null;
  #resources: Record<string, { state: string; since: string; detail?: string }> = {};
  #definition: ModuleDefinition;
  #revision: Commit;
  /** Why this node's module may not go on with its peer as it is; shown in its status. */
  hold: Hold | null = null;
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
    this.#peer =
      cluster.peers.find((peer) => config.kind === "mirror" && this.nodes.includes(peer.name)) ?? null;
    const { promised } = this.#timeouts();
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
      secrets,
      tellCopy: (word) => this.#supervisor.tell({ type: "copy", word }),
      publish: () => this.#changed(),
    });
    this.#supervisor = new Supervisor(
      {
        module: name,
        kind: config.kind,
        node: cluster.node,
        peer: this.#peer?.name ?? null,
        onIsolation: config.kind === "mirror" ? config.onIsolation : "continue",
        ...decisionSettings(config),
        replicated: replicationOf(definition) !== null,
        virtualIp: config.virtualIps.length > 0,
      },
      parts.incarnation,
      this.#executor,
      this.journal,
      () => parts.guardian.isAwake(),
    );
    this.watch = this.#peer ? this.#watch(this.#peer) : null;
    this.#listen();
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
    return this.watch?.isLost ?? true;
  }

  /**
   * Goes on with another revision while the module runs; the caller has made sure that nothing in it needs a stop. Until the peer says that it
   * has the revision too, this node promises by the shorter heartbeat timeout of both and is patient by the longer.
   */
  reconfigure(definition: ModuleDefinition, revision: Commit): void {
    this.#definition = definition;
    this.#revision = revision;
    this.#supervisor.reconfigure(decisionSettings(definition.config));
    this.#retime();
  }

  /** Heartbeat timeouts, ms: by which this node falls silent, and after which it takes its peer for dead. */
  #timeouts(): { promised: number; patient: number } {
    const own = timeoutOf(this.#definition, this.parts.cluster);
    const { least, most } = this.facts.formerTimeouts ?? { least: own, most: own };
    return { promised: Math.min(own, least), patient: Math.max(own, most) };
  }

  #retime(): void {
    const { promised, patient } = this.#timeouts();
    this.#executor.reconfigure(this.#definition, promised);
    this.#addresses.timeoutMs = promised;
    this.watch?.retime({ ...this.#heartbeat, timeout: patient });
  }

  get #heartbeat(): { interval: number; lans: readonly string[] } {
    const { interval, lans } = this.#definition.config.heartbeat;
    const { cluster } = this.parts;
    return { interval: interval ?? cluster.heartbeat.intervalMs, lans: lans ?? cluster.lans };
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
    const heard = Object.keys(this.watch?.hears() ?? {});
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

  #watch(peer: ClusterNode): PeerWatch {
    const { cluster, incarnation } = this.parts;
    const config = {
      node: cluster.node,
      incarnation,
      peer: peer.name,
      ...this.#heartbeat,
      timeout: this.#timeouts().patient,
    };
    return new PeerWatch(config, {
      onView: (view) => {
        this.#supervisor.tell({ type: "peer", view });
        this.#contactKnown();
      },
      onLost: (cause) => {
        this.journal.line("warning", cause);
        this.#supervisor.tell({ type: "peerLost", cause });
        this.#contactKnown();
        this.listener.peerLost();
      },
      onLan: (text) => this.journal.line("info", text),
    });
  }

  #contactKnown(): void {
    const waiting = this.#onContact;
    this.#onContact = null;
    waiting?.();
  }

  #listen(): void {
    const { link, journal } = this;
    link.on("report", (report) => this.#supervisor.tell({ type: "replication", report }));
    link.on("log", ({ level, text }) => journal.line(level, text));
    link.on("progress", ({ reintegration, counters }) => {
      const now = performance.now();
      // What came since the last report may have come just after it.
      if (counters.bytesReceived > (this.#counters?.bytesReceived ?? counters.bytesReceived))
        this.watch?.onStream(now - this.#countedAt);
      this.#reintegration = reintegration;
      this.#counters = counters;
      this.#countedAt = now;
    });
    link.on("finished", ({ bytes, files, durationMs, full }) => {
      const seconds = (durationMs / 1000).toFixed(1);
      journal.line(
        "event",
        `Reintegration ended (${full ? "full" : "incremental"}): ${files} files, ${bytes} bytes, ${seconds} s`,
      );
    });
    link.on("lost", (asked) => this.#processLost(asked));
  }

  /** The replication process is gone. Under a live mount another takes its place; else the core decides. */
  #processLost(asked: boolean): void {
    const { state } = this.#supervisor.status();
    if (asked || this.#replacing || (state !== "PRIM" && state !== "ALONE")) {
      this.#processDied("the replication process is gone");
      return;
    }
    this.#replacing = true;
    this.link.holdUntil(this.#replace());
  }

  async #replace(): Promise<void> {
    const problem = await replaceProcess(this.#replacement());
    this.#replacing = false;
    if (problem !== "") {
      this.#processDied(`it could not be replaced: ${problem}`);
      return;
    }
    this.journal.line("warning", "The replication process died: another took over its live mounts");
    this.#streamEnded();
  }

  #processDied(detail: string): void {
    this.#supervisor.tell({ type: "replication", report: { kind: "died", detail } });
  }

  /** A new process begins without a peer: the core must go on alone, durably, before anything is acknowledged. */
  #streamEnded(): void {
    const cause = "the replication process was replaced";
    this.#supervisor.tell({ type: "replication", report: { kind: "peerGone", cause, held: true } });
  }

  #replacement(generations = () => this.#supervisor.record.generations): Replacement {
    const { link, parts, definition } = this;
    const configure = () => this.#executor.configure();
    return { module: definition.name, link, guardian: parts.guardian, generations, configure };
  }

  /** Reads what survived, and adopts what still runs or clears it away. Returns whether the module is to start now, as after a boot. */
  async open(): Promise<boolean> {
    const record = await this.#recordFile.read();
    this.#executor.output.follow();
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
  }

  /** What still runs goes on; null: nothing of it can be used. */
  async #adopt({ generations }: DurableRecord): Promise<Adopted | null> {
    const replicates = replicationOf(this.definition) !== null;
    const warn = (text: string) => this.journal.line("warning", text);
    const found = await adopt(
      this.parts.welcome,
      replicates,
      this.#replacement(() => generations),
      warn,
    );
    if (found === null) return null;
    const { state, inSync, tookOver } = found;
    // Whether the peer can be asked must be known first.
    if (tookOver) this.#onContact = () => this.#streamEnded();
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
    const cause = `this node's daemon did not run for ${Math.round(FENCE_BEGINS * this.#timeouts().promised)} ms: its guardian stopped the module at once`;
    this.journal.line("error", cause);
    this.#supervisor.tell({ type: "fenced", cause });
  }

  /** It is known by now whether the guardian fenced while this daemon did not run. */
  awake(): void {
    this.#supervisor.awake();
  }

  /** Once a beat: the clock of membership. */
  tick(now: number): void {
    this.watch?.tick(now);
    if (this.link.tick(now))
      this.journal.line("error", "the replication process did not run for 5 s: killed");
    this.#noteResources();
  }

  /** What the peers are told of this module. */
  view(): PeerView {
    const resources = Object.fromEntries(
      Object.entries(this.#resources).map(([name, { state }]) => [name, state]),
    );
    const { reason, since, remedy } = this.#explained();
    return {
      ...this.#supervisor.view(resources),
      note: {
        reason: reason.slice(0, 300),
        since,
        ...(remedy ? { remedy } : {}),
        ...(this.#reintegration ? { reintegration: this.#reintegration } : {}),
      },
    };
  }

  /** Moves the kernel's deadline for the virtual addresses on, while they are ours. */
  holdAddresses(): void {
    this.#addresses.hold();
  }

  #noteResources(): void {
    for (const { name, state, detail } of this.watch?.resources() ?? []) {
      if (this.#resources[name]?.state === state) continue;
      this.#resources[name] = { state, since: new Date().toISOString(), ...(detail ? { detail } : {}) };
      this.journal.line("event", `Resource ${name} set to ${state}`);
      this.#supervisor.tell({ type: "resource", name, state });
    }
  }

  /** The state, and what keeps the module from going on. */
  #explained(): ReturnType<Supervisor["status"]> {
    const own = this.#supervisor.status();
    const { name, config } = this.definition;
    const hold = this.hold ?? this.parts.secrets.lack(name, config.secrets);
    if (hold === null) return own;
    const { reason, remedy } = hold;
    const isAtRest = own.state === "STOP" || own.state === "WAIT";
    return {
      ...own,
      reason: isAtRest ? reason : `${own.reason}; ${reason}`,
      ...(remedy === undefined ? {} : { remedy }),
    };
  }

  status(): NodeStatus {
    const own = { ...this.#explained(), revision: this.#revision.slice(0, 12) };
    const mirror = replicationOf(this.definition)
      ? { reintegration: own.state === "SECOND" ? this.#copying : this.#reintegration }
      : {};
    return { ...own, ...mirror, resources: this.#resources };
  }

  /** The reintegration under way, whichever end counts it: only the source knows how much there is to do. */
  get #copying(): ReintegrationProgress | null {
    return this.#reintegration ?? this.watch?.status().reintegration ?? null;
  }

  /** What the peer last said, or UNKNOWN. */
  peerStatus(): NodeStatus {
    const status = this.watch?.status() ?? silentStatus("");
    return status.state === "SECOND" ? { ...status, reintegration: this.#copying } : status;
  }

  get record(): DurableRecord {
    return this.#supervisor.record;
  }

  get counters(): ReplicationCounters | null {
    return this.#counters;
  }

  async command(command: Command, cause: string): Promise<CommandResult> {
    return await this.#supervisor.command(command, "human", cause);
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
    this.#supervisor.dispose();
    this.#executor.output.stop();
    this.link.removeAllListeners();
    this.parts.guardian.disarm(this.definition.name);
    if (this.link.connected) await this.link.request({ op: "exit" });
    if (existsSync(this.parts.varDir)) dissolve(processGroup(this.parts.varDir, this.definition.name));
  }
}
