/**
 * Which modules this node has: each comes out of its repository when the daemon starts, takes the place of what was there when its revision
 * changes, and goes with all that was the node's of it. The machine's services are in its hands exactly as long as it is here.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ClusterNames } from "../../modules/cross_checks.ts";
import {
  ACTIVE,
  type Commit,
  pruneRevisions,
  Repository,
  revisionDirectory,
} from "../../modules/history/history.ts";
import { loadModule, type ModuleDefinition } from "../../modules/load.ts";
import { manageServices } from "../services/units.ts";
import type { CommandResult } from "./engine.ts";
import { Journal } from "./journal.ts";
import { prepareNode } from "./module/config.ts";
import { factsOf, type ModuleFacts, moduleFacts } from "./module/facts.ts";
import { ModuleRuntime } from "./module/runtime.ts";
import type { NodeParts } from "./node_parts.ts";
import { noteRemoved } from "./revisions/removed_modules.ts";
import type { Revisions } from "./revisions/revisions.ts";
import type { RevisionStore } from "./revisions/store.ts";
import type { NodeSecrets } from "./secrets/node_secrets.ts";
import type { SecretGate } from "./secrets/secret_gate.ts";

/** What they are loaded with. */
export interface LoadedModulesParts {
  /** What they share. */
  node: NodeParts;
  /** The names that a module's configuration may use. */
  names: ClusterNames;
  modules: Map<string, ModuleRuntime>;
  store: RevisionStore;
  revisions: Revisions;
  secrets: NodeSecrets;
  gate: SecretGate;
  /** For what belongs to no module that is here. */
  journal: Journal;
}

/** See the top of the file. */
export class LoadedModules {
  readonly #varDir: string;
  /** What could not be loaded, and was not since. */
  readonly #broken = new Set<string>();

  constructor(private readonly parts: LoadedModulesParts) {
    this.#varDir = parts.node.varDir;
  }

  /** A module of this node, or why there is none. */
  find(name: string): ModuleRuntime | CommandResult {
    const { modules, node } = this.parts;
    const runtime = modules.get(name);
    if (runtime) return runtime;
    const known = [...modules.keys()].join(", ") || "none";
    return {
      status: 2,
      message: `there is no module "${name}" on ${node.cluster.node} (modules here: ${known}); see: holdfast module list`,
    };
  }

  /** As `find`, of a module that has this node among its own. */
  findHere(name: string): ModuleRuntime | CommandResult {
    const found = this.find(name);
    if (!(found instanceof ModuleRuntime) || found.isHere) return found;
    return {
      status: 2,
      message: `${name} does not run on ${this.parts.node.cluster.node}: its nodes are ${found.nodes.join(", ")} (name one with --node, or say --all)`,
    };
  }

  /** Loads every module that this node has, and starts those that boot. One that cannot be loaded does not keep the others. */
  async loadAll(): Promise<void> {
    for (const facts of moduleFacts(this.#varDir)) {
      try {
        const { commit, definition } = await this.#active(facts.name);
        await this.load(facts, definition, commit, true);
        if (this.parts.modules.get(facts.name)!.isAtRest) pruneRevisions(this.#varDir, facts.name, [commit]);
      } catch (error) {
        this.parts.journal.line("error", `module ${facts.name} was not loaded: ${(error as Error).message}`);
        // What a former daemon left running has nobody who keeps its promises.
        const { ok } = await this.parts.node.guardian.fence(facts.name);
        if (ok) this.#broken.add(facts.name);
      }
    }
  }

  /** Of which nothing runs, and nothing can. */
  unusable(): string[] {
    const damaged = [...this.parts.modules].filter(([, { damage }]) => damage !== "");
    return [...this.#broken, ...damaged.map(([name]) => name)];
  }

  /** The revision that works here. Throws where there is none that can be used. */
  async #active(name: string): Promise<{ commit: Commit; definition: ModuleDefinition }> {
    const commit = await Repository.at(this.#moduleDir(name))?.find(ACTIVE);
    if (!commit) throw new Error(`${this.#moduleDir(name)} holds no revision of it: apply it again`);
    const directory = revisionDirectory(this.#varDir, name, commit);
    // Its files are kept; where somebody removed or damaged them, they are laid down again.
    if (existsSync(directory)) {
      try {
        return { commit, definition: loadModule(directory, this.parts.names, name) };
      } catch (error) {
        this.parts.journal.line("warning", `module ${name}: ${directory}: ${(error as Error).message}`);
      }
    }
    const found = await this.parts.store.active(name);
    if (found === null) throw new Error(`${this.#moduleDir(name)} holds no revision of it: apply it again`);
    return found;
  }

  /**
   * Puts a module in place of what was there. With `boot` it starts if it did before, once its peer has the same revision. Returns what was
   * done to the machine's services, in words.
   */
  async load(
    facts: ModuleFacts,
    definition: ModuleDefinition,
    revision: Commit,
    boot: boolean,
  ): Promise<string> {
    const { name } = facts;
    const { node, modules, revisions, secrets, gate } = this.parts;
    await modules.get(name)?.dispose();
    const runtime = new ModuleRuntime(node, definition, facts, revision, {
      changed: () => revisions.onState(name),
      peerLost: (peer) => revisions.onPeerLost(name, peer),
    });
    modules.set(name, runtime);
    this.#broken.delete(name);
    const services = await this.#manageServices(runtime, runtime.isHere ? definition.config.services : []);
    await secrets.recall(name);
    const starts = await runtime.open();
    if (!boot || !starts) {
      runtime.begin(false);
      return services;
    }
    const isCurrent = (): boolean => modules.get(name) === runtime;
    void revisions
      .whenAgreed(runtime)
      .then(() => gate.start(runtime, isCurrent))
      .catch((error: unknown) =>
        runtime.journal.line("error", `not started with the daemon: ${String(error)}`),
      );
    return services;
  }

  /** Keeps the machine's services in the module's hands, or gives them back. Returns what was done, in words. */
  async #manageServices({ definition, journal }: ModuleRuntime, names: readonly string[]): Promise<string> {
    const owner = { module: definition.name, varDir: this.#varDir };
    try {
      const said = await manageServices(owner, names);
      for (const sentence of said) journal.line("event", sentence);
      return said.join("; ");
    } catch (error) {
      const sentence = `services: ${(error as Error).message}`;
      journal.line("error", sentence);
      return sentence;
    }
  }

  /** Runs the module's config or deconfig hook on this node. Returns "" or why it failed. */
  async prepareNode(
    definition: ModuleDefinition,
    hook: "config" | "deconfig",
    cause: string,
  ): Promise<string> {
    const { node, modules } = this.parts;
    const runtime = modules.get(definition.name);
    const journal =
      runtime?.journal ?? new Journal(join(this.#varDir, "log", definition.name), node.cluster.node);
    return await prepareNode(node, journal, definition, {
      hook,
      cause,
      state: runtime?.status().state ?? "STOP",
    });
  }

  /** A module that is at rest goes, with its secrets; its data and its log stay. Returns as `load`. */
  async remove(runtime: ModuleRuntime): Promise<string> {
    const { modules, revisions, secrets } = this.parts;
    const { name } = runtime.facts;
    // While it is not on record, nothing has gone; and as long as its state is here, its services are given back at a later start.
    await noteRemoved(this.#varDir, name, runtime.revision);
    const trouble = await this.prepareNode(runtime.definition, "deconfig", "the module is removed");
    const services = await this.#manageServices(runtime, []);
    await secrets.forget(name);
    revisions.forget(name);
    await runtime.dispose();
    modules.delete(name);
    await rm(this.#moduleDir(name), { recursive: true, force: true });
    await rm(join(this.#varDir, "state", name), { recursive: true, force: true });
    return [services, trouble].filter((said) => said !== "").join("; ");
  }

  /** A module's place in the cluster: it keeps its number for life; a new one takes the lowest that is free. */
  numberOf(name: string): number {
    const { modules } = this.parts;
    const known = (modules.get(name)?.facts ?? factsOf(this.#varDir, name))?.number;
    if (known) return known;
    const taken = new Set([...modules.values()].map(({ facts }) => facts.number));
    for (let number = 1; ; number++) if (!taken.has(number)) return number;
  }

  #moduleDir(name: string): string {
    return join(this.#varDir, "modules", name);
  }
}
