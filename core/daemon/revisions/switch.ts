/**
 * A node's part in a hand-over, and the switch itself: a revision is kept ready, alone, until this node is told to switch to it or to forget it; and
 * a switch finds the module at rest, or changes only what may change while it runs.
 */
import { type Change, type Commit, needsStop, pruneRevisions } from "../../../modules/history/history.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { Cluster } from "../../cluster/cluster.ts";
import type { CommandResult, RevisionOffer } from "../engine.ts";
import type { Journal } from "../journal.ts";
import { factsOf, type ModuleFacts, writeModuleFacts } from "../module/facts.ts";
import { timeoutOf } from "../module/heartbeat_timing.ts";
import type { ModuleRuntime } from "../module/runtime.ts";
import { recallModule } from "./removed_modules.ts";
import { type Ready, RevisionRefused, type RevisionStore } from "./store.ts";

/** How long a revision is kept ready for a node that says nothing more, ms: longer than any hand-over lasts. */
const PROMISE_MS = 60_000;

/** What it works with. */
export interface RevisionHost {
  readonly varDir: string;
  readonly cluster: Cluster;
  readonly modules: ReadonlyMap<string, ModuleRuntime>;
  readonly store: RevisionStore;
  readonly journal: Journal;
  /** Puts a module that is new or at rest in place; with `boot` it starts if it did before. Returns what else was done, in words. */
  load(facts: ModuleFacts, definition: ModuleDefinition, revision: Commit, boot: boolean): Promise<string>;
  /** Runs that hook of the revision on this node. Returns "" or why it failed. */
  prepareNode(definition: ModuleDefinition, hook: "config" | "deconfig", cause: string): Promise<string>;
  /** Tell the peers soon. */
  publish(): void;
}

/** A revision that this node has promised to switch to when told. */
interface Promised {
  commit: Commit;
  from: string;
  number: number;
  /** Null while it is being judged. */
  ready: Ready | null;
  timer: ReturnType<typeof setTimeout>;
}

/** A revision whose config hook has begun here. */
interface Configured {
  commit: Commit;
  definition: ModuleDefinition;
  /** "" or why it failed. */
  trouble: Promise<string>;
}

/** A revision's name for people. */
export const short = (commit: Commit): string => commit.slice(0, 12);

/** See the top of the file. */
export class RevisionSwitch {
  readonly #promised = new Map<string, Promised>();
  /** By module: the revision whose config hook was the last to begin here, as far as this daemon knows. */
  readonly #configured = new Map<string, Configured>();
  readonly #configuring = new Map<string, Promise<string>>();
  /** What a revision has done here that is not taken, is being undone. */
  readonly #leaving = new Map<string, Promise<string>>();
  /** Modules that this node hands over at this moment. */
  readonly #handing = new Set<string>();
  /** Modules whose revision is being changed. */
  readonly #switching = new Map<string, Promise<unknown>>();

  constructor(
    private readonly host: RevisionHost,
    /** Something about this module came to rest. */
    private readonly settled: (name: string) => void,
  ) {}

  /** The revision that is kept ready, judged already. */
  keptReady(name: string): Commit | null {
    const promised = this.#promised.get(name);
    return promised?.ready ? promised.commit : null;
  }

  /** Is another revision on its way in here? */
  isBusy(name: string): boolean {
    return [this.#promised, this.#handing, this.#switching, this.#leaving].some((busy) => busy.has(name));
  }

  /** Is this node changing the module's revision, or handing one over? */
  isSwitching(name: string): boolean {
    return this.#handing.has(name) || this.#switching.has(name);
  }

  /** Two hand-overs of one module at once: the second is refused. Returns false then. */
  beginHandOver(name: string): boolean {
    if (this.#handing.has(name) || this.#promised.has(name)) return false;
    this.#handing.add(name);
    return true;
  }

  /** The hand-over is over, however it went. */
  endHandOver(name: string): void {
    this.#handing.delete(name);
    this.settled(name);
  }

  /** Could this revision work here? When it could, it is kept ready, unless this is only a question. */
  async prepare(name: string, offer: RevisionOffer): Promise<CommandResult> {
    const { commit, pack, number, dryRun, from } = offer;
    const { node } = this.host.cluster;
    await this.#leaving.get(name);
    const other = this.#promised.get(name)?.from ?? (this.#handing.has(name) && from !== node ? node : null);
    if (other !== null)
      return refuse(
        1,
        `${node} is taking another revision of ${name} from ${other} at this moment: try again`,
      );
    const timer = setTimeout(() => void this.#forget(name), PROMISE_MS);
    const promised: Promised = { commit, from, number, ready: null, timer };
    this.#promised.set(name, promised);
    let isKept = false;
    try {
      const ready = await this.host.store.prepare(name, commit, pack);
      const problem = this.problem(name, ready);
      const { relation, active, changes } = ready;
      if (problem !== "") return refuse(1, problem, { relation, active, changes });
      promised.ready = ready;
      isKept = !dryRun && this.#promised.get(name) === promised;
      const { secrets } = ready.definition.config;
      return { status: 0, message: "", data: { relation, active, changes, secrets } };
    } catch (error) {
      if (!(error instanceof RevisionRefused)) throw error;
      const active = this.host.modules.get(name)?.revision ?? null;
      return refuse(error.failure === "invalid" ? 2 : 1, error.message, {
        isMissing: error.failure === "missing",
        active,
      });
    } finally {
      if (!isKept && this.#promised.get(name) === promised) await this.#forget(name);
    }
  }

  /** Every node keeps it ready: its config hook prepares this one. */
  async configure(name: string, commit: Commit): Promise<CommandResult> {
    const promised = this.#promised.get(name);
    if (promised?.commit !== commit || promised.ready === null) return this.#notReady(name, commit);
    const trouble = await this.#configure(name, promised.ready);
    return trouble === "" ? { status: 0, message: "" } : refuse(1, trouble);
  }

  /** Why this node cannot switch to it now, or "". */
  problem(name: string, { commit, relation, active, changes, definition }: Ready): string {
    const { node } = this.host.cluster;
    if (relation === "older" || relation === "apart")
      return `${node} has moved on to revision ${short(active!)}, which ${short(commit)} is not based on: get it into your files with "holdfast module upgrade ${name} --applied", then apply again`;
    const taken = this.#takenService(name, definition) || this.#takenPath(name, definition);
    if (taken !== "") return taken;
    const runtime = this.host.modules.get(name);
    const state = runtime?.status().state ?? "STOP";
    const stops = needsStop(changes);
    if (state !== "STOP" && stops.length > 0)
      return `${name} is ${state} on ${node}, and this needs it stopped on every node (holdfast stop ${name} --all):\n${lines(stops)}`;
    return runtime?.refusal(definition) ?? "";
  }

  /** Two modules that replicate one directory would spoil each other's copies. Returns a sentence that names both, or "". */
  #takenPath(name: string, { config }: ModuleDefinition): string {
    const { node } = this.host.cluster;
    const pathsOf = (of: ModuleDefinition["config"]): string[] =>
      of.kind === "mirror" ? (of.replicate?.paths ?? []).map(({ path }) => path) : [];
    const within = (one: string, other: string): boolean => `${one}/`.startsWith(`${other}/`);
    for (const { definition } of this.host.modules.values()) {
      if (definition.name === name) continue;
      const other = pathsOf(definition.config);
      for (const path of pathsOf(config)) {
        const both = other.find((taken) => within(path, taken) || within(taken, path));
        if (both !== undefined)
          return `${path} overlaps ${both}, which ${definition.name} replicates on ${node}: a directory belongs to one module`;
      }
    }
    return "";
  }

  /** Two modules that start and stop one service would fight over it. Returns a sentence that names both, or "". */
  #takenService(name: string, { config }: ModuleDefinition): string {
    const { node, nodes } = this.host.cluster;
    const isHere = ({ nodes: own = Object.keys(nodes) }: ModuleDefinition["config"]): boolean =>
      own.includes(node);
    const unit = (service: string): string => service.replace(/\.service$/, "");
    const own = isHere(config) ? config.services.map(unit) : [];
    for (const { definition } of this.host.modules.values()) {
      const other = definition.name === name || !isHere(definition.config) ? [] : definition.config.services;
      const both = other.map(unit).find((service) => own.includes(service));
      if (both !== undefined)
        return `the service ${both} belongs to ${definition.name} on ${node}: ${name} cannot start and stop it too; remove it from services of one of them`;
    }
    return "";
  }

  /** Switches to a revision that was kept ready. */
  async activate(name: string, commit: Commit): Promise<CommandResult> {
    const { node } = this.host.cluster;
    const promised = this.#promised.get(name);
    if (promised?.commit === commit && promised.ready !== null) {
      const { ready, number } = promised;
      // Kept until it is done: nothing else may come between.
      try {
        return await this.switchTo(name, ready, number);
      } finally {
        await this.#forget(name);
      }
    }
    if (this.host.modules.get(name)?.revision === commit)
      return await this.#bringFiles(name, commit, {
        status: 0,
        message: `${name} ${short(commit)} is loaded on ${node}`,
      });
    return this.#notReady(name, commit);
  }

  #notReady(name: string, commit: Commit): CommandResult {
    const { node } = this.host.cluster;
    return refuse(1, `${node} does not keep revision ${short(commit)} of ${name} ready any more`);
  }

  /** The hand-over has failed somewhere: what its config hook has done here is undone before the answer. */
  async abandon(name: string, commit: Commit): Promise<CommandResult> {
    const trouble = this.#promised.get(name)?.commit === commit ? await this.#forget(name) : "";
    return trouble === "" ? { status: 0, message: "" } : refuse(1, `${this.host.cluster.node}: ${trouble}`);
  }

  /** Prepares the node for a revision, once. Returns "" or why it cannot be taken. */
  async #configure(
    name: string,
    { commit, definition }: Pick<Ready, "commit" | "definition">,
  ): Promise<string> {
    let configured = this.#configured.get(name);
    if (configured === undefined && this.host.modules.get(name)?.revision === commit) return "";
    if (configured?.commit !== commit) {
      const cause = `revision ${short(commit)} is applied`;
      configured = { commit, definition, trouble: this.#run(name, definition, "config", cause) };
      this.#configured.set(name, configured);
    }
    const trouble = await configured.trouble;
    if (trouble === "") return "";
    return `${this.host.cluster.node} refuses revision ${short(commit)} of ${name}: ${trouble}`;
  }

  /** The module was removed: what its config hook did is undone. */
  deconfigured(name: string): void {
    this.#configured.delete(name);
  }

  /** One at a time. */
  async #run(
    name: string,
    definition: ModuleDefinition,
    hook: "config" | "deconfig",
    cause: string,
  ): Promise<string> {
    const before = this.#configuring.get(name) ?? Promise.resolve("");
    const work = before.then(() => this.host.prepareNode(definition, hook, cause));
    this.#configuring.set(name, work);
    return await work;
  }

  /**
   * A config hook has run for a revision that is not taken: that of the one that stays runs again, and where there is none, the
   * refused one's deconfig. Returns "" or why that failed.
   */
  async #putBack(name: string): Promise<string> {
    const configured = this.#configured.get(name);
    const runtime = this.host.modules.get(name);
    if (configured === undefined || configured.commit === runtime?.revision) return "";
    this.#configured.delete(name);
    const cause = `revision ${short(configured.commit)} was not taken`;
    if (!runtime) return await this.#run(name, configured.definition, "deconfig", cause);
    const trouble = await this.#run(name, runtime.definition, "config", cause);
    if (trouble !== "") runtime.journal.line("error", trouble);
    return trouble;
  }

  /** This node has promised nothing any more; what has come for a module that does not work here, goes. Returns as `#putBack`. */
  async #forget(name: string): Promise<string> {
    clearTimeout(this.#promised.get(name)?.timer);
    this.#promised.delete(name);
    const leave = async (): Promise<string> => {
      const trouble = await this.#putBack(name);
      if (!this.host.modules.has(name)) await this.host.store.discard(name);
      return trouble;
    };
    const leaving = this.#switching.has(name)
      ? Promise.resolve("")
      : leave().catch((error: unknown) => (error as Error).message);
    this.#leaving.set(name, leaving);
    try {
      return await leaving;
    } finally {
      if (this.#leaving.get(name) === leaving) this.#leaving.delete(name);
      this.settled(name);
    }
  }

  async switchTo(name: string, ready: Ready, number: number): Promise<CommandResult> {
    const before = this.#switching.get(name) ?? Promise.resolve();
    const work = before.then(() => this.#switchNow(name, ready, number));
    const quiet = work.catch(() => undefined);
    this.#switching.set(name, quiet);
    try {
      const result = await work;
      return result.status === 0 ? await this.#bringFiles(name, ready.commit, result) : result;
    } catch (error) {
      return refuse(1, `${this.host.cluster.node}: ${(error as Error).message}`);
    } finally {
      if (this.#switching.get(name) === quiet) this.#switching.delete(name);
      this.settled(name);
    }
  }

  /** The files that people edit follow, where nothing is being edited. */
  async #bringFiles(name: string, commit: Commit, done: CommandResult): Promise<CommandResult> {
    const left = await this.host.store.bring(name, commit);
    if (left === "") return done;
    return { ...done, message: `${done.message}; the files in its directory stay as they are: ${left}` };
  }

  async #switchNow(name: string, ready: Ready, number: number): Promise<CommandResult> {
    const { host } = this;
    const { commit, definition } = ready;
    const { node } = host.cluster;
    const done: CommandResult = { status: 0, message: `${name} ${short(commit)} is loaded on ${node}` };
    const runtime = host.modules.get(name);
    if (runtime?.revision === commit) return done;
    // A module that could not be loaded is mended by a revision that can.
    if (runtime && runtime.revision !== ready.active)
      return refuse(1, `${node} has another revision of ${name} since it was asked`);
    const trouble = (await this.#configure(name, ready)) || this.problem(name, ready);
    if (trouble !== "") {
      await this.#putBack(name);
      return refuse(1, trouble);
    }
    const facts: ModuleFacts = runtime?.facts ?? factsOf(host.varDir, name) ?? { name, number, boot: null };
    const isAtRest = runtime === undefined || runtime.status().state === "STOP";
    if (runtime && !isAtRest) widenTimeouts(facts, runtime.definition, definition, host.cluster);
    // First what a crash must find when it finds the ref moved.
    await writeModuleFacts(host.varDir, facts);
    await host.store.activate(name, commit);
    await recallModule(host.varDir, name);
    let also = "";
    if (runtime && !isAtRest) runtime.reconfigure(definition, commit);
    else {
      also = await host.load(facts, definition, commit, runtime !== undefined && !runtime.booted);
      // Nothing runs that was started from the files of another revision.
      pruneRevisions(host.varDir, name, [commit]);
    }
    host.modules.get(name)?.journal.line("event", `Configuration ${short(commit)} applied`);
    host.publish();
    return also === "" ? done : { ...done, message: `${done.message}; ${also}` };
  }
}

function refuse(status: 1 | 2, message: string, data?: unknown): CommandResult {
  return { status, message, ...(data === undefined ? {} : { data }) };
}

/** Changes, one a line. */
export function lines(changes: readonly Change[]): string {
  return changes.map(({ words }) => `  ${words}`).join("\n");
}

/** Until the peer is heard with the new revision, this node reckons with both heartbeat timeouts. */
function widenTimeouts(
  facts: ModuleFacts,
  before: ModuleDefinition,
  after: ModuleDefinition,
  cluster: Cluster,
): void {
  const [old, next] = [timeoutOf(before, cluster), timeoutOf(after, cluster)];
  if (old === next && facts.formerTimeouts === undefined) return;
  const { least, most } = facts.formerTimeouts ?? { least: old, most: old };
  facts.formerTimeouts = { least: Math.min(least, old, next), most: Math.max(most, old, next) };
}
