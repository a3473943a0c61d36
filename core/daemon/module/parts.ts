/**
 * What one module on this node is made of, and who tells whom. The failover core, which the supervisor feeds, hears of the peers, the resources, the
 * replication process and the witness; what it asks for, the executor carries out. The others show: who may be sent here, and what is said of it.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { FailoverConfig } from "../../failover/types.ts";
import { ModuleFarm } from "../addresses/farm.ts";
import { VirtualAddresses } from "../addresses/virtual_addresses.ts";
import { processGroup } from "../guardian/cgroup.ts";
import { Journal } from "../journal.ts";
import type { NodeParts } from "../node_parts.ts";
import { replicationOf } from "../replication/config.ts";
import { ReplicationLink } from "../replication/link.ts";
import type { Replacement } from "../replication/replacement.ts";
import { ReplicationReports } from "../replication/reports.ts";
import { ModuleChecks } from "./checks.ts";
import { ModuleExecutor } from "./executor.ts";
import { failoverConfig } from "./failover_config.ts";
import { ModuleMaintenance } from "./maintenance.ts";
import { ModuleOpening } from "./opening.ts";
import { ModulePeers } from "./peers.ts";
import { RecordFile } from "./record.ts";
import { ModuleResources } from "./resources.ts";
import { ModuleRight } from "./right.ts";
import type { ModuleSettings } from "./settings.ts";
import { Supervisor } from "./supervisor.ts";
import { ModuleWitness } from "./witness.ts";
import { type Hold, ModuleWord } from "./word.ts";

/** Whom the parts tell of what concerns the module as a whole. */
export interface PartsListener {
  /** Something that people or the peers can see has changed. */
  changed(): void;
  /** What is decided by these settings is decided anew. */
  redecide(settings: Parameters<Supervisor["reconfigure"]>[0]): void;
  /** One of the other nodes is silent. */
  peerLost(peer: string): void;
  /** Has the core begun? */
  isBooted(): boolean;
}

/** See the top of the file. Each asks the others only when something happens: by then all are there. */
export class ModuleParts {
  /** To the replication process. */
  readonly link = new ReplicationLink();
  readonly journal: Journal;
  /** What the core keeps on disk. */
  readonly record: RecordFile;
  readonly witness: ModuleWitness;
  /** What a farm's own virtual IP needs beside a state; nothing to other modules. */
  readonly farm: ModuleFarm;
  readonly addresses: VirtualAddresses;
  readonly executor: ModuleExecutor;
  readonly supervisor: Supervisor;
  /** People work on it. */
  readonly maintenance: ModuleMaintenance;
  readonly right: ModuleRight;
  readonly peers: ModulePeers;
  /** What was found, and what it was before. */
  readonly resources: ModuleResources;
  /** Switches checkers of this node on or off. */
  readonly checks: ModuleChecks;
  readonly replication: ReplicationReports;
  readonly opening: ModuleOpening;
  readonly word: ModuleWord;

  /** The others of a farm, as its core was last told. */
  #others: FailoverConfig["others"] = null;

  constructor(
    private readonly node: NodeParts,
    private readonly settings: ModuleSettings,
    private readonly listener: PartsListener,
  ) {
    const { varDir, cluster, guardian } = node;
    const { name } = settings.definition;
    const logDir = join(varDir, "log", name);
    mkdirSync(logDir, { recursive: true, mode: 0o700 });
    this.journal = new Journal(logDir, cluster.node);
    this.record = new RecordFile(join(varDir, "state", name));
    this.witness = this.#makeWitness();
    this.farm = this.#makeFarm();
    this.addresses = this.farm.addresses(settings.timeoutMs) ?? this.#makeAddresses();
    this.executor = this.#makeExecutor();
    this.supervisor = this.#makeSupervisor();
    this.maintenance = new ModuleMaintenance({
      varDir,
      facts: settings.facts,
      journal: this.journal,
      changed: (maintenance) => listener.redecide({ maintenance }),
    });
    this.right = new ModuleRight(name, this.supervisor, guardian, () => settings.timeoutMs);
    this.peers = this.#makePeers();
    this.resources = new ModuleResources(this.journal, (resource, state, detail) => {
      this.supervisor.tell({ type: "resource", name: resource, state, detail });
      node.publish();
    });
    this.checks = this.#makeChecks();
    this.replication = this.#makeReports();
    this.opening = this.#makeOpening();
    this.word = this.#makeWord();
  }

  #makeWitness(): ModuleWitness {
    const { node, settings } = this;
    return new ModuleWitness({
      module: settings.definition.name,
      peer: settings.peer,
      cluster: node.cluster,
      desk: node.witness,
      timeoutMs: () => settings.timeoutMs,
      note: (state, detail) => this.resources.note("splitbrain.witness", state, detail),
    });
  }

  #makeFarm(): ModuleFarm {
    const { node, settings } = this;
    return new ModuleFarm({
      node,
      module: settings.definition.name,
      journal: this.journal,
      definition: () => settings.definition,
      nodes: () => settings.nodes,
      facts: settings.facts,
      views: (lan) => this.peers.views(lan),
      hearsUs: (peer, lan) => this.peers.hearsUs(peer, lan),
      resources: () => this.resources.states,
      serves: () => this.right.serves,
      stop: (cause) => this.supervisor.command({ name: "stop" }, "human", cause),
    });
  }

  /** Of a module that has its addresses on one node. */
  #makeAddresses(): VirtualAddresses {
    const { config, name } = this.settings.definition;
    const warn = (text: string): void => this.journal.line("warning", text);
    return new VirtualAddresses(name, config.virtualIps, this.node.network, this.settings.timeoutMs, warn);
  }

  #makeExecutor(): ModuleExecutor {
    const { varDir, cluster, guardian, secrets } = this.node;
    const { definition, facts, others, timeoutMs } = this.settings;
    return new ModuleExecutor({
      varDir,
      cluster,
      peers: others,
      definition,
      number: facts.number,
      timeoutMs,
      group: processGroup(varDir, definition.name),
      guardian,
      link: this.link,
      addresses: this.addresses,
      record: this.record,
      journal: this.journal,
      secrets,
      tellCopy: (word) => this.supervisor.tell({ type: "copy", word }),
      publish: () => this.listener.changed(),
      ask: (question) => this.witness.ask(question),
      release: () => this.witness.release(),
      check: (scope) => this.checks.look(scope),
      rest: (resource, isResting) => this.checks.rest(resource, isResting),
    });
  }

  #makeSupervisor(): Supervisor {
    const { cluster, incarnation, guardian } = this.node;
    const { definition, facts, peer, timeoutMs } = this.settings;
    const config = {
      ...failoverConfig(definition, cluster.node, peer, timeoutMs),
      maintenance: facts.maintenance?.on ?? false,
      witness: this.witness.config,
    };
    return new Supervisor(config, incarnation, this.executor, this.journal, () => guardian.isAwake());
  }

  #makePeers(): ModulePeers {
    const { cluster, incarnation } = this.node;
    const { others, peer: ofMirror, hearing } = this.settings;
    return new ModulePeers(others, cluster, incarnation, hearing, {
      onView: (peer, view) => {
        this.maintenance.hear(view.maintenance, peer);
        if (ofMirror !== null) this.supervisor.tell({ type: "peer", view });
        else this.#othersChanged();
      },
      onLost: (peer, cause) => {
        this.#noteOfOthers("warning", cause);
        if (ofMirror !== null) this.supervisor.tell({ type: "peerLost", cause });
        else this.#othersChanged();
        this.listener.peerLost(peer);
      },
      onPromise: (_peer, since, { swap }) => {
        if (ofMirror === null || !this.listener.isBooted()) return;
        // What the peer heard on another lan than the module's did not end its patience: no right to run comes of it. Where nobody records who may run, a
        // promise counts in a swap only.
        const counts = this.witness.config?.records === true ? this.peers.hearsAllLans : swap !== null;
        if (counts) this.supervisor.tell({ type: "promised", since });
      },
      onLan: (text) => this.#noteOfOthers("info", text),
    });
  }

  /** What a farm's node does about a target that is gone depends on how the others are. */
  #othersChanged(): void {
    const { isHere, definition } = this.settings;
    if (!isHere || definition.config.kind !== "farm") return;
    const views = this.peers.views();
    const others =
      views &&
      [...views.values()].map(({ state, readiness, resources }) => ({ state, readiness, resources }));
    if (Bun.deepEquals(others, this.#others)) return;
    this.#others = others;
    this.supervisor.reconfigure({ others });
    if (this.listener.isBooted()) this.supervisor.tell({ type: "timer", name: "others" });
  }

  #noteOfOthers(level: "warning" | "info", text: string): void {
    if (this.settings.heedsOthers) this.journal.line(level, text);
  }

  #makeChecks(): ModuleChecks {
    const { varDir, cluster, statusOf } = this.node;
    return new ModuleChecks({
      varDir,
      cluster,
      facts: this.settings.facts,
      journal: this.journal,
      resources: this.resources,
      definition: () => this.settings.definition,
      statusOf,
      isOfFarm: (mac) => this.farm.isOurs(mac),
      state: () => this.supervisor.status().state,
      secrets: () => this.executor.output.secrets(),
    });
  }

  #makeReports(): ReplicationReports {
    return new ReplicationReports(this.link, this.journal, {
      state: () => this.supervisor.status().state,
      onReport: (report) => this.supervisor.tell({ type: "replication", report }),
      onStream: (ageMs) => this.peers.onStream(ageMs),
      replacement: () => this.#replacement(),
      generations: () => this.supervisor.record.generations,
    });
  }

  #replacement(): Omit<Replacement, "generations"> {
    const { link, node, settings, executor } = this;
    const configure = () => executor.configure();
    return { module: settings.definition.name, link, guardian: node.guardian, configure };
  }

  #makeOpening(): ModuleOpening {
    const { record, executor, addresses, peers, replication, journal, node, settings } = this;
    const { welcome, guardian } = node;
    return new ModuleOpening({
      facts: settings.facts,
      welcome,
      guardian,
      record,
      executor,
      addresses,
      peers,
      replication,
      journal,
      definition: () => settings.definition,
      replacement: () => this.#replacement(),
    });
  }

  get #damage(): Hold | null {
    const { damage } = this.opening;
    if (damage === "") return null;
    const { name } = this.settings.definition;
    return {
      reason: `${damage}; the remedy fetches the other node's; "holdfast prim ${name} --force" takes this one as it is`,
      remedy: `holdfast second ${name} --full`,
    };
  }

  #makeWord(): ModuleWord {
    const { supervisor, maintenance, resources, replication, peers, node, settings } = this;
    const { name, config } = settings.definition;
    return new ModuleWord({
      supervisor,
      maintenance,
      resources,
      replication,
      peers,
      peer: settings.peer,
      isMirror: config.kind === "mirror",
      replicates: () => replicationOf(settings.definition) !== null,
      lack: () => this.#damage ?? node.secrets.lack(name, settings.definition.config.secrets),
      stillOpen: () => this.farm.stillOpen,
    });
  }
}
