/**
 * The node as its API sees it: finds the module, refuses what makes no sense, and says what a command did.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { packModule, unpackModule } from "../../modules/apply.ts";
import { checkModule } from "../../modules/check.ts";
import type { ClusterNames } from "../../modules/cross_checks.ts";
import { loadModule, moduleNameProblem } from "../../modules/load.ts";
import { callNode } from "../api/node_client.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { ModuleState } from "../failover/types.ts";
import type { CommandResult, Engine, LogLine, ModuleCommand, NodeStatus, StatusDocument } from "./engine.ts";
import { explainDecisions } from "./explain.ts";
import { Journal } from "./journal.ts";
import { type ModuleFacts, moduleFacts, writeModuleFacts } from "./module_facts.ts";
import { ModuleRuntime, type NodeParts } from "./module_runtime.ts";

/** Implements `Engine` over the modules of this node. */
export class NodeEngine implements Engine {
  readonly #nodeJournal: Journal;

  /** `modulesByName` is shared with the heartbeats. */
  constructor(
    private readonly parts: NodeParts,
    private readonly modulesByName: Map<string, ModuleRuntime>,
  ) {
    this.#nodeJournal = new Journal(join(parts.varDir, "log", "node"), parts.cluster.node);
  }

  /** The names that a module's configuration may use. */
  get #names(): ClusterNames {
    return { nodes: this.#nodeNames, lans: this.#cluster.lans };
  }

  get #nodeNames(): string[] {
    return Object.keys(this.#cluster.nodes);
  }

  get #cluster(): Cluster {
    return this.parts.cluster;
  }

  /** Loads every module that this node has, and starts those that boot. */
  async loadAll(): Promise<void> {
    for (const facts of moduleFacts(this.parts.varDir)) {
      try {
        await this.#load(facts);
      } catch (error) {
        this.#nodeJournal.line("error", `module ${facts.name} was not loaded: ${(error as Error).message}`);
      }
    }
  }

  async #load(facts: ModuleFacts): Promise<ModuleRuntime> {
    const definition = loadModule(this.#moduleDir(facts.name), this.#names, facts.name);
    const runtime = new ModuleRuntime(this.parts, definition, facts);
    this.modulesByName.set(facts.name, runtime);
    await runtime.boot();
    return runtime;
  }

  #moduleDir(name: string): string {
    return join(this.parts.varDir, "modules", name);
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

  status(): StatusDocument {
    const modules: StatusDocument["modules"] = {};
    for (const [name, runtime] of this.modulesByName) {
      const nodes: Record<string, NodeStatus> = {};
      for (const node of runtime.nodes)
        nodes[node] = node === this.#cluster.node ? runtime.status() : runtime.peerStatus();
      modules[name] = { kind: runtime.definition.config.kind, nodes };
    }
    return { version: 1, cluster: this.#cluster.name, modules };
  }

  async command(
    name: string,
    command: ModuleCommand,
    options: { full?: boolean; force?: boolean; by: string },
  ): Promise<CommandResult> {
    const runtime = this.#find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const cause = `${options.by}: holdfast ${command}${options.force ? " --force" : ""}${options.full ? " --full" : ""}`;
    runtime.journal.line("event", `Action ${command} called by ${options.by}`);
    if (command === "prim")
      return await runtime.command({ name: "prim", force: options.force ?? false }, cause);
    if (command === "second")
      return await runtime.command({ name: "second", full: options.full ?? false }, cause);
    return await runtime.command({ name: command }, cause);
  }

  async shutdown(by: string): Promise<CommandResult> {
    const names = [...this.modulesByName.keys()];
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
  }

  async wait(name: string, states: readonly ModuleState[], timeoutMs: number): Promise<CommandResult> {
    const runtime = this.#find(name);
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
    const runtime = this.#find(name);
    return runtime instanceof ModuleRuntime ? await runtime.verify() : runtime;
  }

  async boot(name: string, value: "always" | "never" | "auto"): Promise<CommandResult> {
    const runtime = this.#find(name);
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

  async loadModule(
    name: string,
    files: Record<string, string>,
    revision: string,
    number: number,
  ): Promise<CommandResult> {
    const running = this.modulesByName.get(name);
    if (running && running.status().state !== "STOP") {
      return {
        status: 1,
        message: `${name} is ${running.status().state} on ${this.#cluster.node}: stop it first (holdfast stop ${name})`,
      };
    }
    try {
      unpackModule(this.#moduleDir(name), files, this.#names);
      const facts: ModuleFacts = { name, revision, number, boot: running?.facts.boot ?? null };
      await writeModuleFacts(this.parts.varDir, facts);
      await running?.dispose();
      const runtime = await this.#load(facts);
      runtime.journal.line("event", `Configuration ${revision.slice(0, 12)} applied`);
      return { status: 0, message: `${name} ${revision.slice(0, 12)} is loaded on ${this.#cluster.node}` };
    } catch (error) {
      return { status: 2, message: (error as Error).message };
    }
  }

  async applyModule(name: string, directory: string, dryRun: boolean): Promise<CommandResult> {
    if (moduleNameProblem(name) !== "") return { status: 2, message: moduleNameProblem(name) };
    if (!existsSync(join(directory, "module.yaml")))
      return { status: 2, message: `${directory} holds no module.yaml` };
    const nodes = this.#nodeNames;
    const { errors, warnings } = checkModule(directory, this.#names);
    if (errors.length > 0) return { status: 2, message: errors.join("\n"), data: { errors, warnings } };
    const { files, revision } = packModule(directory);
    if (dryRun)
      return {
        status: 0,
        message: `${name} is valid; revision ${revision.slice(0, 12)} would be loaded on ${nodes.join(", ")}`,
        data: { warnings },
      };
    const number = this.#numberOf(name);
    if (number > 32) return { status: 2, message: "a cluster has 32 modules at most; remove one first" };
    const body = { name, files, revision, number };
    const results = await Promise.all(
      nodes.map(async (node): Promise<[string, CommandResult]> => {
        if (node === this.#cluster.node) return [node, await this.loadModule(name, files, revision, number)];
        return [node, await callNode(this.#cluster, node, "PUT", `/modules/${name}`, body)];
      }),
    );
    const bad = results.filter(([, { status }]) => status !== 0);
    const data = { revision, warnings, nodes: Object.fromEntries(results) };
    if (bad.length > 0) {
      return { status: 1, message: bad.map(([node, { message }]) => `${node}: ${message}`).join("\n"), data };
    }
    return { status: 0, message: `${name} ${revision.slice(0, 12)} is loaded on ${nodes.join(", ")}`, data };
  }

  /** A module keeps its number for life; a new one takes the lowest that is free. */
  #numberOf(name: string): number {
    const known = this.modulesByName.get(name)?.facts.number;
    if (known) return known;
    const taken = new Set([...this.modulesByName.values()].map(({ facts }) => facts.number));
    for (let number = 1; ; number++) if (!taken.has(number)) return number;
  }

  async removeModule(name: string): Promise<CommandResult> {
    const runtime = this.#find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    if (runtime.status().state !== "STOP")
      return {
        status: 1,
        message: `${name} is ${runtime.status().state}: stop it first (holdfast stop ${name} --all)`,
      };
    await runtime.dispose();
    this.modulesByName.delete(name);
    await rm(this.#moduleDir(name), { recursive: true, force: true });
    await rm(join(this.parts.varDir, "state", name), { recursive: true, force: true });
    return {
      status: 0,
      message: `${name} is removed from ${this.#cluster.node}; its data and its log stay where they are`,
    };
  }

  modules(): { name: string; kind: string; revision: string; number: number }[] {
    return [...this.modulesByName.values()].map(({ definition, facts }) => ({
      name: facts.name,
      kind: definition.config.kind,
      revision: facts.revision,
      number: facts.number,
    }));
  }

  async explain(name: string, at: string | null): Promise<CommandResult> {
    const runtime = this.#find(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const entries = await runtime.journal.decisions(2000);
    return {
      status: 0,
      message: explainDecisions(entries, at, 60) || `nothing has happened to ${name} yet`,
      data: entries,
    };
  }
}
