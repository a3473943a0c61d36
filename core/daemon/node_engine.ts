/**
 * The node as its API sees it: finds the module, refuses what makes no sense, and says what a command did.
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
import { explanationOf } from "./explanation.ts";
import { handOver } from "./handover.ts";
import { isolationPromise } from "./isolation.ts";
import { Journal } from "./journal.ts";
import { LoadedModules } from "./loaded_modules.ts";
import { writeModuleFacts } from "./module_facts.ts";
import { resourcesText } from "./module_resources.ts";
import { ModuleRuntime } from "./module_runtime.ts";
import type { NodeParts } from "./node_parts.ts";
import { NodeSecrets } from "./node_secrets.ts";
import { RevisionStore } from "./revision_store.ts";
import { short } from "./revision_switch.ts";
import { Revisions } from "./revisions.ts";
import { removeLeftOf } from "./script_output.ts";
import { SecretGate } from "./secret_gate.ts";
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
  readonly #gate: SecretGate;
  readonly #witness: WitnessDesk;
  readonly #loaded: LoadedModules;

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
    this.#gate = new SecretGate(this.secrets);
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
      configure: (definition, cause) => this.#loaded.prepareNode(definition, "config", cause),
      publish,
    });
    this.#loaded = new LoadedModules({
      node: this.parts,
      names,
      modules: modulesByName,
      store: this.#store,
      revisions: this.revisions,
      secrets: this.secrets,
      gate: this.#gate,
      journal: this.#nodeJournal,
    });
  }

  get #cluster(): Cluster {
    return this.parts.cluster;
  }

  /** Loads every module that this node has, and starts those that boot. */
  async loadAll(): Promise<void> {
    await this.#loaded.loadAll();
  }

  #find(name: string): ModuleRuntime | CommandResult {
    const runtime = this.modulesByName.get(name);
    if (runtime) return runtime;
    const known = [...this.modulesByName.keys()].join(", ") || "none";
    return {
      status: 2,
      message: `there is no module "${name}" on ${this.#cluster.node} (modules here: ${known}); see: holdfast module list`,
    };
  }

  /** As `#find`, of a module that has this node among its own. */
  #findHere(name: string): ModuleRuntime | CommandResult {
    const found = this.#find(name);
    if (!(found instanceof ModuleRuntime) || found.isHere) return found;
    return {
      status: 2,
      message: `${name} does not run on ${this.#cluster.node}: its nodes are ${found.nodes.join(", ")} (name one with --node, or say --all)`,
    };
  }

  status(): StatusDocument {
    const modules: StatusDocument["modules"] = {};
    for (const [name, runtime] of this.modulesByName) {
      const nodes: Record<string, NodeStatus> = {};
      for (const node of runtime.nodes)
        nodes[node] =
          node === this.#cluster.node
            ? runtime.status()
            : { ...runtime.peerStatus(node), ...this.revisions.toldBy(node, name) };
      const { config } = runtime.definition;
      const isolation = isolationPromise(config, recordsAnything(this.#cluster.witness));
      modules[name] = { kind: config.kind, nodes, ...(isolation === null ? {} : { isolation }) };
    }
    return { version: 1, cluster: this.#cluster.name, modules };
  }

  async command(
    name: string,
    command: ModuleCommand,
    options: { full?: boolean; force?: boolean; part?: string; by: string },
  ): Promise<CommandResult> {
    const named = this.#findHere(name);
    if (!(named instanceof ModuleRuntime)) return named;
    await named.opened;
    this.#gate.leave(name);
    if (command === "stop" || command === "forcestop") {
      this.revisions.leaveStopped(name);
      named.begin(false);
    } else {
      const { state } = named.status();
      const agreed = state === "STOP" ? await this.revisions.demandAgreement(name) : "";
      const reason = agreed === "" ? await this.#gate.refusal(this.modulesByName.get(name) ?? named) : agreed;
      if (reason !== "") {
        const what = state === "STOP" ? "is not started" : `stays ${state}`;
        return { status: 1, message: `${name} ${what} on ${this.#cluster.node}: ${reason}` };
      }
    }
    // It may have been loaded anew meanwhile.
    const runtime = this.#findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const { force = false, full = false, part } = options;
    const refusal = part === undefined ? "" : runtime.checks.partRefusal(part);
    if (refusal !== "") return { status: 2, message: refusal };
    const cause = `${options.by}: holdfast ${command}${part === undefined ? "" : ` ${part}`}${options.force ? " --force" : ""}${options.full ? " --full" : ""}`;
    runtime.journal.line("event", `Action ${command} called by ${options.by}`);
    const result = await runtime.command(
      command === "prim"
        ? { name: command, force }
        : command === "second"
          ? { name: command, full }
          : command === "restart" && part !== undefined
            ? { name: command, part }
            : { name: command },
      cause,
    );
    return runtime.definition.config.kind === "mirror" ? result : withoutRoles(command, result, runtime);
  }

  async shutdown(by: string): Promise<CommandResult> {
    const names = [...this.modulesByName].flatMap(([name, { isHere }]) => (isHere ? [name] : []));
    const results = await Promise.all(names.map((name) => this.command(name, "stop", { by })));
    const failed = results.filter(({ status }) => status !== 0);
    const settled = await Promise.all(names.map((name) => this.wait(name, ["STOP"], 600_000)));
    if (failed.length > 0 || settled.some(({ status }) => status !== 0)) {
      return {
        status: 1,
        message: `not every module stopped: ${failed.map(({ message }) => message).join("; ")}`,
      };
    }
    return {
      status: 0,
      message: names.length === 0 ? "no module runs here" : `stopped: ${names.join(", ")}`,
    };
  }

  /** The node stops: modules end cleanly, and start again with it if they ran. */
  async standDown(): Promise<void> {
    const running = [...this.modulesByName.values()].filter(({ record }) => record.running);
    await this.shutdown("the daemon, which was told to stop");
    for (const runtime of running) await runtime.rememberRunning();
    // What would not stop stays armed: its guardian fences it once this daemon is gone.
    for (const runtime of this.modulesByName.values())
      if (runtime.status().state === "STOP") await runtime.dispose();
    this.#witness.close();
  }

  async wait(name: string, states: readonly ModuleState[], timeoutMs: number): Promise<CommandResult> {
    const runtime = this.#findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const settled = (): boolean => {
      const { state, readiness } = runtime.status();
      // STOP and WAIT are where a module rests without being ready; every other state counts once it is there.
      return (
        states.includes(state) &&
        (readiness === "Ready" || ((state === "STOP" || state === "WAIT") && readiness === "NotReady"))
      );
    };
    if (await runtime.when(settled, timeoutMs)) {
      return { status: 0, message: `${name} on ${this.#cluster.node} is ${runtime.status().state}` };
    }
    const { state, readiness, reason } = runtime.status();
    return {
      status: 4,
      message: `${name} on ${this.#cluster.node} is ${state} ${readiness}, not ${states.join(" or ")}: ${reason}`,
    };
  }

  log(
    module: string | null,
    options: { lines: number; signal?: AbortSignal; follow: boolean },
  ): AsyncIterable<LogLine> {
    const journal = module === null ? this.#nodeJournal : this.modulesByName.get(module)?.journal;
    if (!journal) throw new Error(`there is no module "${module}" on ${this.#cluster.node}`);
    return journal.read(options.lines, options.follow, options.signal);
  }

  async verify(name: string): Promise<CommandResult> {
    const runtime = this.#findHere(name);
    return runtime instanceof ModuleRuntime ? await runtime.verify() : runtime;
  }

  async resources(name: string, resource: string | null): Promise<CommandResult> {
    const runtime = this.#find(name);
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
    const runtime = this.#find(name);
    return runtime instanceof ModuleRuntime ? runtime.checks.set(resource, state) : runtime;
  }

  async switchChecker(name: string, resource: string | null, on: boolean): Promise<CommandResult> {
    const runtime = this.#find(name);
    return runtime instanceof ModuleRuntime ? await runtime.checks.switch(resource, on) : runtime;
  }

  async maintenance(name: string, on: boolean, by: string): Promise<CommandResult> {
    const runtime = this.#findHere(name);
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
    const runtime = this.#findHere(name);
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
    const runtime = this.#findHere(name);
    return runtime instanceof ModuleRuntime ? await runtime.farm.report() : runtime;
  }

  async drain(name: string, timeoutMs: number, by: string): Promise<CommandResult> {
    const runtime = this.#findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    runtime.journal.line("event", `Action drain called by ${by}`);
    const drained = await runtime.farm.drain(timeoutMs);
    if (drained.status !== 0) return drained;
    const stopped = await this.command(name, "stop", { by });
    return { ...stopped, message: `${drained.message}; ${stopped.message}` };
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

  async activateRevision(name: string, commit: string): Promise<CommandResult> {
    return await this.revisions.switch.activate(name, commit);
  }

  abandonRevision(name: string, commit: string): CommandResult {
    return this.revisions.switch.abandon(name, commit);
  }

  async giveRevision(name: string, haves: readonly string[]): Promise<CommandResult> {
    const runtime = this.#find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const { revision: commit, facts } = runtime;
    const pack = haves.includes(commit) ? null : await this.#store.pack(name, commit, haves);
    return { status: 0, message: "", data: { commit, number: facts.number, pack } };
  }

  async removeModule(name: string): Promise<CommandResult> {
    const runtime = this.#find(name);
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
    const runtime = this.#find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    return await explanationOf(this.#cluster, runtime, this.status().modules[name]!.nodes, at);
  }

  async told(name: string, at: string | null): Promise<CommandResult> {
    const runtime = this.#find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const data = { node: this.#cluster.node, ...(await runtime.journal.told(at)) };
    return { status: 0, message: "", data };
  }
}

const ROLE_COMMANDS: ReadonlySet<ModuleCommand> = new Set(["prim", "second", "swap"]);

/** The result of a command on a module whose nodes have no roles: what only a mirror knows is wrong usage, and the others go on. */
function withoutRoles(command: ModuleCommand, result: CommandResult, runtime: ModuleRuntime): CommandResult {
  if (ROLE_COMMANDS.has(command)) return { ...result, status: 2 };
  if (result.status !== 0 || (command !== "stop" && command !== "forcestop")) return result;
  const up = runtime.partners.filter((node) => runtime.peerStatus(node).state === "UP");
  if (up.length === 0) return result;
  const goOn = up.length === 1 ? "goes on" : "go on";
  return { ...result, message: `${result.message}; ${up.join(", ")} ${goOn} (--all stops it everywhere)` };
}
