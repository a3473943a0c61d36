/**
 * The checkers of one module on this node: which there are, which look now, which a person switched off, and what they found.
 */
import { ADOPTED_FILE } from "../../../hooks/adopted.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import { type Check, canRestartAlone, checksOf } from "../../checks/module_checks.ts";
import { type CheckerOrder, probeOf, type StatusOf } from "../../checks/probes/probes.ts";
import { CheckRunner } from "../../checks/runner.ts";
import type { Cluster } from "../../cluster/cluster.ts";
import type { CheckScope } from "../../failover/types.ts";
import type { CommandResult } from "../engine.ts";
import { adoptedList, serviceMembers } from "../guardian/cgroup.ts";
import type { Journal } from "../journal.ts";
import { type ModuleFacts, writeModuleFacts } from "./facts.ts";
import type { ModuleResources } from "./resources.ts";

/** What the checkers of a module work with. */
export interface ModuleChecksParts {
  varDir: string;
  cluster: Cluster;
  facts: ModuleFacts;
  journal: Journal;
  resources: ModuleResources;
  /** As it is at that moment. */
  definition(): ModuleDefinition;
  statusOf: StatusOf;
  /** May another node of the module's farm tell its addresses with this MAC address? All of them have them. */
  isOfFarm(mac: string): boolean;
  /** The module's state here, for what checkers are told. */
  state(): string;
  /** The module's secrets, for one look. Throws where there is no place in memory for them. */
  secrets(): Pick<ReturnType<CheckerOrder>, "secrets" | "secretsIn">;
}

/** Stands for every checker. */
const EVERY = "*";
/** Whoever sets a resource by hand. */
const BY_HAND = /^custom\.[A-Za-z][A-Za-z0-9_-]{0,31}$/;
/** So many resources may be set by hand: every heartbeat names them all, and must not become too large to be sent. */
const MOST_BY_HAND = 100;

/** See the top of the file. */
export class ModuleChecks {
  readonly #runner: CheckRunner;
  #isBegun = false;
  #checks: Check[] = [];

  constructor(private readonly parts: ModuleChecksParts) {
    const asks = {
      node: parts.cluster.node,
      statusOf: parts.statusOf,
      isOfFarm: parts.isOfFarm,
      unitMembers: serviceMembers,
      order: (check: Check, name: string) => this.#order(check, name),
    };
    this.#runner = new CheckRunner({
      probe: (check, notice) => probeOf(check, asks, notice),
      found: (resource, state, detail) => parts.resources.note(resource, state, detail),
      isOff: (resource) => this.#isOff(resource),
    });
  }

  /** The failover core has begun: from now on it is told what is found. */
  begin(): void {
    this.#isBegun = true;
    this.reconfigure();
  }

  /** What the failover core asks for. */
  look(scope: CheckScope): void {
    this.#runner.look(scope);
  }

  /** What is started again is not looked at meanwhile, and anew when that is over. */
  rest(resource: string, isResting: boolean): void {
    this.#runner.rest(resource, isResting);
  }

  /** Why this one cannot be restarted without the others, or "". */
  partRefusal(part: string): string {
    const { config, hooks, name } = this.parts.definition();
    const alone = checksOf(config).filter((check) => canRestartAlone(check, hooks));
    if (alone.some(({ resource }) => resource === part)) return "";
    const known = alone.map(({ resource }) => resource).join(", ");
    const can =
      known === ""
        ? "a service can be, and a process that has a unit or a hook restart_process"
        : `it can restart ${known}`;
    return `${name} cannot restart ${part} without the rest: ${can}`;
  }

  /** Another revision works now. */
  reconfigure(): void {
    if (!this.#isBegun) return;
    const before = this.#checks;
    this.#checks = checksOf(this.parts.definition().config);
    const names = new Set(this.#checks.map(({ resource }) => resource));
    for (const { resource } of before) if (!names.has(resource)) this.parts.resources.forget(resource);
    this.#runner.configure(this.#checks);
  }

  close(): void {
    this.#runner.close();
  }

  #isOff(resource: string): boolean {
    const off = this.parts.facts.checkersOff ?? [];
    return off.includes(EVERY) || off.includes(resource);
  }

  /** Switches one checker (null: all) on or off on this node, for good. */
  async switch(resource: string | null, on: boolean): Promise<CommandResult> {
    const { facts, varDir, journal, cluster } = this.parts;
    const names = this.#checks.map((check) => check.resource);
    if (resource !== null && !names.includes(resource))
      return {
        status: 2,
        message: `${facts.name} has no checker ${resource} (${names.length > 0 ? names.join(", ") : "it has none"})`,
      };
    const off = new Set(facts.checkersOff ?? []);
    if (off.has(EVERY) && resource !== null && on) {
      off.delete(EVERY);
      for (const name of names) off.add(name);
    }
    if (resource === null) off.clear();
    if (on) off.delete(resource ?? EVERY);
    else off.add(resource ?? EVERY);
    if (off.size > 0) facts.checkersOff = [...off];
    else delete facts.checkersOff;
    await writeModuleFacts(varDir, facts);
    const what = resource ?? (names.length === 1 ? names[0]! : `every checker of ${facts.name}`);
    journal.line("event", `${what} is switched ${on ? "on" : "off"}`);
    this.#runner.switched();
    const follows = on
      ? "it looks while the module is started"
      : "it does not look any more, and its resource is unknown, until it is switched on";
    return { status: 0, message: `${what} is ${on ? "on" : "off"} on ${cluster.node}: ${follows}` };
  }

  /** Sets a resource by hand: one that no checker sets, or whose checker is off. */
  set(resource: string, state: "up" | "down"): CommandResult {
    const { facts, cluster, resources } = this.parts;
    const isChecked = this.#checks.some((check) => check.resource === resource);
    if (!isChecked && !BY_HAND.test(resource))
      return {
        status: 2,
        message: `${resource} cannot be set: only custom.NAME, where no checker sets it, or a checker's that is off`,
      };
    if (isChecked && !this.#isOff(resource))
      return {
        status: 1,
        message: `a checker sets ${resource}: holdfast checker ${facts.name} off ${resource}, then set it`,
      };
    const isNew = resources.all[resource] === undefined;
    if (isNew && Object.keys(resources.all).filter((known) => BY_HAND.test(known)).length >= MOST_BY_HAND)
      return {
        status: 2,
        message: `${resource} cannot be set: ${facts.name} has ${MOST_BY_HAND} resources custom.NAME already, and they go when the daemon restarts`,
      };
    resources.note(resource, state, "set by hand");
    return { status: 0, message: `${resource} is ${state} on ${cluster.node}` };
  }

  #order({ resource, rhythm }: Check, name: string): ReturnType<CheckerOrder> {
    const { cluster, journal, varDir } = this.parts;
    const definition = this.parts.definition();
    const { config } = definition;
    const { file, kind } = definition.checkers.get(name)!;
    const state = this.parts.state();
    return {
      file,
      kind,
      context: {
        module: definition.name,
        node: cluster.node,
        kind: config.kind,
        hook: resource,
        action: "check",
        from: state,
        to: state,
        cause: "",
        force: false,
        attempt: 1,
        vars: config.vars,
        dir: definition.directory,
        peers: [],
      },
      timeoutMs: rhythm.timeout,
      env: { HOLDFAST_VAR: varDir, [ADOPTED_FILE]: adoptedList(varDir, definition.name) },
      permissions: config.permissions,
      ...this.parts.secrets(),
      onOutput: (line) => journal.line("script", `${resource}: ${line}`),
    };
  }
}
