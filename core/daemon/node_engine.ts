/**
 * The node as its API sees it: puts together what a node has once, and passes each question to the module or the part that answers it.
 */

import { join } from "node:path";
import type { Cluster } from "../cluster/cluster.ts";
import type { ModuleState } from "../failover/types.ts";
import { recordsAnything } from "../witness/config.ts";
import type {
  CommandResult,
  Engine,
  LogLine,
  ModuleCommand,
  NodeStatus,
  RevisionOffer,
  StatusDocument,
} from "./engine.ts";
import { evidenceOf, explanationOf } from "./explanation.ts";
import { isolationPromise } from "./isolation.ts";
import { Journal } from "./journal.ts";
import { LoadedModules } from "./loaded_modules.ts";
import { writeModuleFacts } from "./module/facts.ts";
import { resourcesText } from "./module/resources.ts";
import { ModuleRuntime } from "./module/runtime.ts";
import { removeLeftOf } from "./module/script_output.ts";
import { ModuleCommands } from "./module_commands.ts";
import type { NodeParts } from "./node_parts.ts";
import { handOver } from "./revisions/handover.ts";
import { Revisions } from "./revisions/revisions.ts";
import { RevisionStore } from "./revisions/store.ts";
import { short } from "./revisions/switch.ts";
import { savedOf } from "./saved.ts";
import { NodeSecrets } from "./secrets/node_secrets.ts";
import { SecretGate } from "./secrets/secret_gate.ts";
import { WitnessDesk } from "./witness_desk.ts";

/** Each has a port of its own behind the cluster's. */
const MOST_MODULES = 32;
/** How long the other nodes may take to say that they have heard something, ms. */
const TOLD_MS = 2000;

/** Implements `Engine` over the modules of this node. */
export class NodeEngine implements Engine {
  readonly #nodeJournal: Journal;
  readonly #store: RevisionStore;
  readonly revisions: Revisions;
  readonly secrets: NodeSecrets;
  private readonly parts: NodeParts;
  readonly #witness: WitnessDesk;
  readonly #loaded: LoadedModules;
  readonly #commands: ModuleCommands;

  /** `modulesByName` is shared with the heartbeats. */
  constructor(
    parts: Omit<NodeParts, "secrets" | "witness">,
    private readonly modulesByName: Map<string, ModuleRuntime>,
  ) {
    const { varDir, cluster, publish } = parts;
    removeLeftOf(parts);
    this.#nodeJournal = new Journal(join(varDir, "log", "node"), cluster.node);
    this.secrets = new NodeSecrets({
      varDir,
      cluster,
      declared: (module) => modulesByName.get(module)?.definition.config.secrets ?? null,
      journal: (module) => modulesByName.get(module)?.journal ?? this.#nodeJournal,
      publish,
    });
    const gate = new SecretGate(this.secrets);
    this.#witness = new WitnessDesk(cluster, this.secrets);
    this.parts = { ...parts, secrets: this.secrets, witness: this.#witness };
    const names = { nodes: Object.keys(cluster.nodes), lans: cluster.lans };
    this.#store = new RevisionStore(varDir, () => names);
    this.revisions = new Revisions({
      varDir,
      cluster,
      modules: modulesByName,
      store: this.#store,
      journal: this.#nodeJournal,
      load: (facts, definition, revision, boot) => this.#loaded.load(facts, definition, revision, boot),
      prepareNode: (definition, hook, cause) => this.#loaded.prepareNode(definition, hook, cause),
      publish,
    });
    this.#loaded = new LoadedModules({
      node: this.parts,
      names,
      modules: modulesByName,
      store: this.#store,
      revisions: this.revisions,
      secrets: this.secrets,
      gate,
      journal: this.#nodeJournal,
    });
    this.#commands = new ModuleCommands({
      node: cluster.node,
      modules: modulesByName,
      loaded: this.#loaded,
      revisions: this.revisions,
      gate,
    });
  }

  get #cluster(): Cluster {
    return this.parts.cluster;
  }

  /** Loads every module that this node has, and starts those that boot. */
  async loadAll(): Promise<void> {
    await this.#loaded.loadAll();
  }

  /** Modules of this node that it cannot use; nothing of them runs. */
  unusable(): string[] {
    return this.#loaded.unusable();
  }

  status(): StatusDocument {
    const modules: StatusDocument["modules"] = {};
    for (const [name, runtime] of this.modulesByName) {
      const nodes: Record<string, NodeStatus> = {};
      for (const node of runtime.nodes)
        nodes[node] =
          node === this.#cluster.node
            ? { ...runtime.status(), ...savedHere(this.parts.varDir, name) }
            : { ...runtime.peerStatus(node), ...this.revisions.toldBy(node, name) };
      const { config, hooks } = runtime.definition;
      const isolation = isolationPromise(config, recordsAnything(this.#cluster.witness), hooks.has("fence"));
      modules[name] = { kind: config.kind, nodes, ...(isolation === null ? {} : { isolation }) };
    }
    return { version: 1, cluster: this.#cluster.name, modules };
  }

  async command(
    name: string,
    command: ModuleCommand,
    options: Parameters<Engine["command"]>[2],
  ): Promise<CommandResult> {
    return await this.#commands.command(name, command, options);
  }

  async shutdown(by: string): Promise<CommandResult> {
    return await this.#commands.shutdown(by);
  }

  /** The node stops: modules end cleanly, and start again with it if they ran. */
  async standDown(): Promise<void> {
    const running = [...this.modulesByName.values()].filter(({ record }) => record.running);
    await this.shutdown("the daemon, which was told to stop");
    for (const runtime of running) await runtime.rememberRunning();
    // What would not stop stays armed: its guardian fences it once this daemon is gone.
    for (const runtime of this.modulesByName.values())
      if (runtime.status().state === "STOP") await runtime.dispose();
    await this.#witness.finish();
  }

  async wait(name: string, states: readonly ModuleState[], timeoutMs: number): Promise<CommandResult> {
    return await this.#commands.wait(name, states, timeoutMs);
  }

  log(
    module: string | null,
    options: { lines: number; signal?: AbortSignal; follow: boolean },
  ): AsyncIterable<LogLine> | CommandResult {
    const found = module === null ? { journal: this.#nodeJournal } : this.#loaded.find(module);
    if (!("journal" in found)) return found;
    return found.journal.read(options.lines, options.follow, options.signal);
  }

  async verify(name: string): Promise<CommandResult> {
    const runtime = this.#loaded.findHere(name);
    return runtime instanceof ModuleRuntime ? await runtime.verify() : runtime;
  }

  async resources(name: string, resource: string | null): Promise<CommandResult> {
    const runtime = this.#loaded.find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const { all } = runtime.resources;
    const names = Object.keys(all).filter((known) => resource === null || known === resource);
    if (resource !== null && names.length === 0)
      return {
        status: 2,
        message: `${name} has no resource ${resource} on ${this.#cluster.node} (${Object.keys(all).join(", ") || "it has none"})`,
      };
    const data = Object.fromEntries(
      names.map((known) => [known, { ...all[known]!, history: runtime.resources.history(known) }]),
    );
    const message = resource === null ? resourcesText(name, data) : all[resource]!.state;
    return { status: 0, message, data };
  }

  async setResource(name: string, resource: string, state: "up" | "down"): Promise<CommandResult> {
    const runtime = this.#loaded.find(name);
    return runtime instanceof ModuleRuntime ? runtime.checks.set(resource, state) : runtime;
  }

  async switchChecker(name: string, resource: string | null, on: boolean): Promise<CommandResult> {
    const runtime = this.#loaded.find(name);
    return runtime instanceof ModuleRuntime ? await runtime.checks.switch(resource, on) : runtime;
  }

  async maintenance(name: string, on: boolean, by: string): Promise<CommandResult> {
    const runtime = this.#loaded.findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    await runtime.maintenance.set(on, by);
    const hasTold = (node: string): boolean =>
      (runtime.peerStatus(node).maintenance !== undefined) === on &&
      runtime.peerStatus(node).state !== "UNKNOWN";
    await runtime.when(() => runtime.partners.every(hasTold), TOLD_MS);
    const away = runtime.partners.filter((node) => !hasTold(node));
    const rest = away.length === 0 ? "" : `; ${away.join(", ")} is not heard, and takes it over when it is`;
    const what = on
      ? `on: checkers look, but nothing is restarted, failed over or stopped by itself until: holdfast maintenance ${name} off`
      : "off: what checkers and rules ask for is done again from now on";
    return { status: 0, message: `maintenance of ${name} is ${what}${rest}`, data: { on, away } };
  }

  async boot(name: string, value: "always" | "never" | "auto"): Promise<CommandResult> {
    const runtime = this.#loaded.findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    runtime.facts.boot = value;
    await writeModuleFacts(this.parts.varDir, runtime.facts);
    const meaning = {
      always: "starts with the machine",
      never: "does not start by itself",
      auto: "starts again if it ran",
    }[value];
    return { status: 0, message: `${name} ${meaning} on ${this.#cluster.node}` };
  }

  async farm(name: string): Promise<CommandResult> {
    const runtime = this.#loaded.findHere(name);
    return runtime instanceof ModuleRuntime ? runtime.farm.report() : runtime;
  }

  async drain(name: string, timeoutMs: number, by: string): Promise<CommandResult> {
    return await this.#commands.drain(name, timeoutMs, by);
  }

  async applyModule(
    name: string,
    commit: string,
    options: { dryRun: boolean; by: string },
  ): Promise<CommandResult> {
    const number = this.#loaded.numberOf(name);
    if (number > MOST_MODULES)
      return { status: 2, message: `a cluster has ${MOST_MODULES} modules at most; remove one first` };
    const { revisions, parts } = this;
    const { dryRun, by } = options;
    if (!dryRun) this.#nodeJournal.line("event", `Revision ${short(commit)} of ${name} is applied by ${by}`);
    const { cluster, heard, secrets } = parts;
    return await handOver({
      cluster,
      heard,
      store: this.#store,
      revisions: revisions.switch,
      lack: (declared) => secrets.lack(name, declared),
      name,
      commit,
      number,
      dryRun,
    });
  }

  async prepareRevision(name: string, offer: RevisionOffer): Promise<CommandResult> {
    const own = this.modulesByName.get(name)?.facts.number;
    const taken = [...this.modulesByName.values()].find(({ facts }) => facts.number === offer.number);
    if (own === undefined && taken)
      return {
        status: 1,
        message: `${this.#cluster.node} has ${taken.facts.name} as module number ${offer.number}: remove it there, or apply it everywhere first`,
      };
    return await this.revisions.switch.prepare(name, offer);
  }

  async configureRevision(name: string, commit: string): Promise<CommandResult> {
    return await this.revisions.switch.configure(name, commit);
  }

  async activateRevision(name: string, commit: string): Promise<CommandResult> {
    return await this.revisions.switch.activate(name, commit);
  }

  async abandonRevision(name: string, commit: string): Promise<CommandResult> {
    return await this.revisions.switch.abandon(name, commit);
  }

  async giveRevision(name: string, haves: readonly string[]): Promise<CommandResult> {
    const runtime = this.#loaded.find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const { revision: commit, facts } = runtime;
    const pack = haves.includes(commit) ? null : await this.#store.pack(name, commit, haves);
    return { status: 0, message: "", data: { commit, number: facts.number, pack } };
  }

  async removeModule(name: string): Promise<CommandResult> {
    const runtime = this.#loaded.find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    if (runtime.status().state !== "STOP")
      return {
        status: 1,
        message: `${name} is ${runtime.status().state}: stop it first (holdfast stop ${name} --all)`,
      };
    const services = await this.#loaded.remove(runtime);
    return {
      status: 0,
      message: `${name} is removed from ${this.#cluster.node}, with its secrets; its data and its log stay where they are${services && `; ${services}`}`,
    };
  }

  modules(): { name: string; kind: string; revision: string; number: number }[] {
    return [...this.modulesByName.values()].map(({ definition, facts, revision }) => ({
      name: facts.name,
      kind: definition.config.kind,
      revision,
      number: facts.number,
    }));
  }

  async explain(name: string, at: string | null): Promise<CommandResult> {
    const runtime = this.#loaded.find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    return await explanationOf(this.#cluster, runtime, this.status().modules[name]!.nodes, at);
  }

  async snapshot(): Promise<CommandResult> {
    const { name, node, yaml } = this.#cluster;
    const status = this.status();
    const modules = await Promise.all(
      [...this.modulesByName].map(async ([module, runtime]) => [
        module,
        await evidenceOf(this.#cluster, runtime, status.modules[module]!.nodes, null),
      ]),
    );
    const made = new Date().toISOString();
    const data = { made, cluster: name, node, yaml, status, modules: Object.fromEntries(modules) };
    return { status: 0, message: "", data };
  }

  async told(name: string, at: string | null): Promise<CommandResult> {
    const runtime = this.#loaded.find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const data = { node: this.#cluster.node, ...(await runtime.journal.told(at)) };
    return { status: 0, message: "", data };
  }
}

function savedHere(varDir: string, module: string): Pick<NodeStatus, "saved"> {
  const saved = savedOf(varDir, module);
  return saved.length > 0 ? { saved } : {};
}
