/**
 * Which revision of each module this node works with, and that nodes which work together work with the same.
 *
 * A revision comes in two ways. Handed over (handover.ts): it is kept ready here first, and this node switches when all are ready. Caught up: a
 * heartbeat names a revision that contains ours, so it is newer; it is fetched, and this node switches as soon as it may. What decides is the
 * history, never a clock. As long as the peer has another revision, this node's module does not join it: it stands aside, stopped, and
 * goes on when they agree. Only a module that serves, serves on.
 */
import { type Change, type Commit, needsStop, pruneRevisions } from "../../modules/history/history.ts";
import type { ModuleDefinition } from "../../modules/load.ts";
import { callNode } from "../api/node_client.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { CommandResult, RevisionOffer } from "./engine.ts";
import type { Journal } from "./journal.ts";
import { factsOf, type ModuleFacts, writeModuleFacts } from "./module_facts.ts";
import { type Hold, type ModuleRuntime, timeoutOf } from "./module_runtime.ts";
import { isRemoved, recallModule } from "./removed_modules.ts";
import { type Ready, RevisionRefused, type RevisionStore } from "./revision_store.ts";

/** How long a revision is kept ready for a node that says nothing more, ms: longer than any hand-over lasts. */
const PROMISE_MS = 60_000;
/** After a peer's revision could not be fetched, the next attempt, ms. */
const RETRY_MS = 2000;
/** How long a command waits for a peer's revision to come, ms. */
const PATIENCE_MS = 5000;

/** What it works with. */
export interface RevisionHost {
  readonly varDir: string;
  readonly cluster: Cluster;
  readonly modules: ReadonlyMap<string, ModuleRuntime>;
  readonly store: RevisionStore;
  readonly journal: Journal;
  /** Puts a module that is new or at rest in place; with `boot` it starts if it did before. */
  load(facts: ModuleFacts, definition: ModuleDefinition, revision: Commit, boot: boolean): Promise<void>;
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

/** A revision's name for people. */
export const short = (commit: Commit): string => commit.slice(0, 12);

/** See the top of the file. */
export class Revisions {
  readonly #promised = new Map<string, Promised>();
  /** Modules that this node hands over at this moment. */
  readonly #handing = new Set<string>();
  /** By node that is heard: what it last said. */
  readonly #theirs = new Map<string, Readonly<Record<string, Commit>>>();
  /** Modules whose revision is being changed. */
  readonly #switching = new Map<string, Promise<unknown>>();
  readonly #reconciling = new Set<string>();
  /** Revisions of peers that were looked at already: by module, ours and theirs. */
  readonly #known = new Map<string, { ready: Ready; number: number }>();
  readonly #failed = new Map<string, number>();
  /** Modules that were stopped here to stand aside, and start again. */
  readonly #resume = new Set<string>();
  readonly #waiting = new Set<() => void>();

  constructor(private readonly host: RevisionHost) {}

  /** What this node tells its peers. */
  own(): Record<string, Commit> {
    return Object.fromEntries([...this.host.modules].map(([name, { revision }]) => [name, revision]));
  }

  /** What a node last said of a module, as a part of its status. */
  toldBy(node: string, name: string): { revision?: string } {
    const commit = this.#theirs.get(node)?.[name];
    return commit === undefined ? {} : { revision: short(commit) };
  }

  // ── handed over ──

  /** Two hand-overs of one module at once: the second is refused. Returns false then. */
  beginHandOver(name: string): boolean {
    if (this.#handing.has(name) || this.#promised.has(name)) return false;
    this.#handing.add(name);
    return true;
  }

  /** The hand-over is over, however it went. */
  endHandOver(name: string): void {
    this.#handing.delete(name);
    this.#look(name);
  }

  /** Could this revision work here? When it could, it is kept ready, unless this is only a question. */
  async prepare(name: string, offer: RevisionOffer): Promise<CommandResult> {
    const { commit, pack, number, dryRun, from } = offer;
    const { node } = this.host.cluster;
    const other = this.#promised.get(name)?.from ?? (this.#handing.has(name) && from !== node ? node : null);
    if (other !== null)
      return refuse(
        1,
        `${node} is taking another revision of ${name} from ${other} at this moment: try again`,
      );
    const timer = setTimeout(() => this.#forget(name), PROMISE_MS);
    const promised: Promised = { commit, from, number, ready: null, timer };
    this.#promised.set(name, promised);
    let isKept = false;
    try {
      const ready = await this.host.store.prepare(name, commit, pack);
      const problem = this.#problem(name, ready);
      const { relation, active, changes } = ready;
      if (problem !== "") return refuse(1, problem, { relation, active, changes });
      promised.ready = ready;
      isKept = !dryRun && this.#promised.get(name) === promised;
      return { status: 0, message: "", data: { relation, active, changes } };
    } catch (error) {
      if (!(error instanceof RevisionRefused)) throw error;
      const active = this.host.modules.get(name)?.revision ?? null;
      return refuse(error.failure === "invalid" ? 2 : 1, error.message, {
        isMissing: error.failure === "missing",
        active,
      });
    } finally {
      if (!isKept && this.#promised.get(name) === promised) this.#forget(name);
      if (!isKept && !this.host.modules.has(name)) await this.host.store.discard(name);
    }
  }

  /** Why this node cannot switch to it now, or "". */
  #problem(name: string, { commit, relation, active, changes, definition }: Ready): string {
    const { node } = this.host.cluster;
    if (relation === "older" || relation === "apart")
      return `${node} has moved on to revision ${short(active!)}, which ${short(commit)} is not based on: get it into your files with "holdfast module upgrade ${name} --applied", then apply again`;
    const runtime = this.host.modules.get(name);
    const state = runtime?.status().state ?? "STOP";
    const stops = needsStop(changes);
    if (state !== "STOP" && stops.length > 0)
      return `${name} is ${state} on ${node}, and this needs it stopped on every node (holdfast stop ${name} --all):\n${lines(stops)}`;
    return runtime?.refusal(definition) ?? "";
  }

  /** Switches to a revision that was kept ready. */
  async activate(name: string, commit: Commit): Promise<CommandResult> {
    const { node } = this.host.cluster;
    const promised = this.#promised.get(name);
    if (promised?.commit === commit && promised.ready !== null) {
      const { ready, number } = promised;
      // Kept until it is done: nothing else may come between.
      try {
        return await this.#switch(name, ready, number);
      } finally {
        this.#forget(name);
        this.#look(name);
      }
    }
    if (this.host.modules.get(name)?.revision === commit)
      return await this.#bringFiles(name, commit, {
        status: 0,
        message: `${name} ${short(commit)} is loaded on ${node}`,
      });
    return refuse(1, `${node} does not keep revision ${short(commit)} of ${name} ready any more`);
  }

  /** The hand-over has failed somewhere. */
  abandon(name: string, commit: Commit): CommandResult {
    if (this.#promised.get(name)?.commit === commit) this.#forget(name);
    if (!this.host.modules.has(name)) void this.host.store.discard(name);
    return { status: 0, message: "" };
  }

  #forget(name: string): void {
    clearTimeout(this.#promised.get(name)?.timer);
    this.#promised.delete(name);
    this.#wake();
  }

  // ── the switch ──

  async #switch(name: string, ready: Ready, number: number): Promise<CommandResult> {
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
      this.#wake();
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
    const problem = this.#problem(name, ready);
    if (problem !== "") return refuse(1, problem);
    const facts: ModuleFacts = runtime?.facts ?? factsOf(host.varDir, name) ?? { name, number, boot: null };
    const isAtRest = runtime === undefined || runtime.status().state === "STOP";
    if (runtime && !isAtRest) widenTimeouts(facts, runtime.definition, definition, host.cluster);
    // First what a crash must find when it finds the ref moved.
    await writeModuleFacts(host.varDir, facts);
    await host.store.activate(name, commit);
    await recallModule(host.varDir, name);
    if (runtime && !isAtRest) runtime.reconfigure(definition, commit);
    else {
      await host.load(facts, definition, commit, runtime !== undefined && !runtime.booted);
      // Nothing runs that was started from the files of another revision.
      pruneRevisions(host.varDir, name, [commit]);
    }
    for (const memory of [this.#known, this.#failed])
      for (const key of memory.keys()) if (key.startsWith(`${name} `)) memory.delete(key);
    host.modules.get(name)?.journal.line("event", `Configuration ${short(commit)} applied`);
    host.publish();
    return done;
  }

  // ── caught up ──

  /** A node's heartbeat said what it works with. Call it before the views of its modules are read. */
  onBeat(from: string, theirs: Readonly<Record<string, Commit>>): void {
    this.#theirs.set(from, theirs);
    for (const name of new Set([...Object.keys(theirs), ...this.host.modules.keys()])) this.#look(name);
  }

  /** The peer of a module is silent: nothing is known of it any more. */
  onPeerLost(name: string): void {
    const runtime = this.host.modules.get(name);
    if (!runtime?.peer) return;
    this.#theirs.delete(runtime.peer);
    this.#look(name);
  }

  /** The visible state of a module changed. */
  onState(name: string): void {
    this.#look(name);
  }

  /** Compares, and does what follows from it. */
  #look(name: string): void {
    const runtime = this.host.modules.get(name);
    const own = runtime?.revision ?? null;
    const differing = [...this.#theirs].flatMap(([node, revisions]): [string, Commit][] => {
      const theirs = revisions[name];
      return theirs === undefined || theirs === own ? [] : [[node, theirs]];
    });
    const peer = runtime?.peer ?? null;
    if (runtime && peer !== null && this.#theirs.get(peer)?.[name] === own && runtime.peerAgrees())
      this.#attempt(runtime, writeModuleFacts(this.host.varDir, runtime.facts));
    if (differing.length === 0) {
      this.#agree(name, runtime);
      return;
    }
    if (this.#handing.has(name) || this.#switching.has(name)) return;
    const promised = this.#promised.get(name);
    if (promised) {
      // Who hands it over has switched: its word to this node may have been lost.
      if (promised.ready && differing.some(([, theirs]) => theirs === promised.commit))
        void this.activate(name, promised.commit);
      return;
    }
    if (runtime && differing.some(([node]) => node === peer)) this.#standAside(runtime, false);
    void this.#reconcile(name, own, differing);
  }

  #agree(name: string, runtime: ModuleRuntime | undefined): void {
    if (runtime) runtime.hold = null;
    this.#wake();
    if (!runtime?.booted || runtime.status().state !== "STOP" || !this.#resume.delete(name)) return;
    void runtime.command({ name: "start" }, "both nodes have the same revision");
  }

  /** A module that does not serve, stops, until the revisions agree. `even`: also a secondary that is in step. */
  #standAside(runtime: ModuleRuntime, even: boolean): void {
    const { state, readiness } = runtime.status();
    const { name } = runtime.definition;
    if (!runtime.booted || this.#resume.has(name)) return;
    if (state !== "WAIT" && !(state === "SECOND" && (even || readiness !== "Ready"))) return;
    const reason = `${runtime.peer} has another revision of the module: they must agree first`;
    this.#resume.add(name);
    runtime.hold ??= { reason };
    const stopped = runtime.command({ name: "stop" }, reason).then(async () => {
      if (this.#resume.has(name)) await runtime.rememberRunning();
      this.#look(name);
    });
    this.#attempt(runtime, stopped);
  }

  /** Nobody waits for it: a failure is in the log. */
  #attempt(runtime: ModuleRuntime, work: Promise<unknown>): void {
    work.catch((error: unknown) => runtime.journal.line("error", (error as Error).message));
  }

  async #reconcile(name: string, own: Commit | null, differing: readonly [string, Commit][]): Promise<void> {
    if (this.#reconciling.has(name)) return;
    this.#reconciling.add(name);
    try {
      for (const [node, theirs] of differing) await this.#reconcileWith(name, own, node, theirs);
    } finally {
      this.#reconciling.delete(name);
    }
  }

  async #reconcileWith(name: string, own: Commit | null, node: string, theirs: Commit): Promise<void> {
    const key = `${name} ${own} ${theirs}`;
    if (performance.now() < (this.#failed.get(key) ?? 0)) return;
    try {
      if (own === null && (await isRemoved(this.host.varDir, name, theirs))) return;
      const found = this.#known.get(key) ?? (await this.#obtain(name, own, node, theirs));
      this.#known.set(key, found);
      await this.#follow(name, node, found.ready, found.number);
    } catch (error) {
      this.#failed.set(key, performance.now() + RETRY_MS);
      const reason = `revision ${short(theirs)} of ${name}, which ${node} has, did not come: ${(error as Error).message}`;
      const runtime = this.host.modules.get(name);
      if (runtime) this.#hold(runtime, { reason });
      else this.host.journal.line("warning", reason);
    }
  }

  /** The peer's revision, laid down here: from our own repository if it is there, else from the peer. */
  async #obtain(
    name: string,
    own: Commit | null,
    node: string,
    theirs: Commit,
  ): Promise<{ ready: Ready; number: number }> {
    const { store, cluster, modules } = this.host;
    const number = modules.get(name)?.facts.number;
    if (number !== undefined) {
      try {
        return { ready: await store.prepare(name, theirs, null), number };
      } catch (error) {
        if (!(error instanceof RevisionRefused) || error.failure !== "missing") throw error;
      }
    }
    const fetched = async (haves: readonly Commit[]): Promise<{ ready: Ready; number: number }> => {
      const answer = await callNode(cluster, node, "POST", `/modules/${name}/revision`, { haves });
      if (answer.status !== 0) throw new Error(answer.message);
      const given = answer.data as { commit: Commit; number: number; pack: string | null };
      return { ready: await store.prepare(name, given.commit, given.pack), number: number ?? given.number };
    };
    if (own === null) return await fetched([]);
    try {
      return await fetched([own]);
    } catch (error) {
      if (!(error instanceof RevisionRefused) || error.failure !== "missing") throw error;
      // What is here is damaged: all of it comes anew.
      return await fetched([]);
    }
  }

  /** Takes a newer revision, or says why this module has to wait. */
  async #follow(name: string, node: string, ready: Ready, number: number): Promise<void> {
    const runtime = this.host.modules.get(name);
    const { relation, commit, active } = ready;
    if (relation === "newer" || relation === "first") {
      if (this.#promised.has(name) || this.#handing.has(name)) return;
      const problem = this.#problem(name, ready);
      if (problem === "") {
        const { status, message } = await this.#switch(name, ready, number);
        const journal = this.host.modules.get(name)?.journal ?? this.host.journal;
        journal.line(status === 0 ? "event" : "warning", `Revision ${short(commit)} of ${node}: ${message}`);
        return this.#look(name);
      }
      if (runtime?.status().state === "SECOND") this.#standAside(runtime, true);
      return this.#hold(runtime, {
        reason: `${node} has revision ${short(commit)}, which this node takes when the module is stopped here`,
        remedy: `holdfast stopstart ${name} --node ${this.host.cluster.node}`,
      });
    }
    if (relation === "older")
      return this.#hold(runtime, {
        reason: `${node} still has revision ${short(commit)}, older than ${short(active!)} here, and takes that when it can`,
      });
    if (relation === "apart")
      this.#hold(runtime, {
        reason: `revision ${short(active!)} was applied here, and ${short(commit)} on ${node}, while they did not hear each other: choose one`,
        remedy: `holdfast module rollback ${name} ${short(commit)}`,
      });
  }

  #hold(runtime: ModuleRuntime | undefined, hold: Hold): void {
    if (!runtime || runtime.hold?.reason === hold.reason) return;
    runtime.hold = hold;
    this.#wake();
    runtime.journal.line("warning", hold.reason);
    this.host.publish();
  }

  // ── who waits for it ──

  #wake(): void {
    for (const look of this.#waiting) look();
  }

  #until(settled: () => boolean, timeoutMs: number | null): Promise<boolean> {
    if (settled()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (value: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(value);
      };
      const look = (): void => {
        if (settled()) finish(true);
      };
      const timer = timeoutMs === null ? undefined : setTimeout(() => finish(false), timeoutMs);
      this.#waiting.add(look);
    });
  }

  /** Resolves when it is known that the module may start: its peer has the same revision, has none, or is silent. */
  async whenAgreed(runtime: ModuleRuntime): Promise<void> {
    const { peer, definition } = runtime;
    if (peer === null) return;
    await this.#until(() => {
      if (this.host.modules.get(definition.name) !== runtime || runtime.peerIsLost) return true;
      const theirs = this.#theirs.get(peer);
      return theirs !== undefined && (theirs[definition.name] ?? runtime.revision) === runtime.revision;
    }, null);
  }

  /** Waits until a module may be told to start. Returns "" or why it may not. */
  async demandAgreement(name: string): Promise<string> {
    // Whether the peer is there, and with what, is known within two heartbeat timeouts.
    await this.#until(() => {
      const runtime = this.host.modules.get(name);
      return !runtime || runtime.booted || runtime.hold !== null;
    }, null);
    const isQuiet = () => !this.#switching.has(name) && !this.#promised.has(name);
    const isFree = () => isQuiet() && (this.host.modules.get(name)?.hold ?? null) === null;
    if (await this.#until(isFree, PATIENCE_MS)) return "";
    const hold = this.host.modules.get(name)?.hold;
    if (!hold) return `a revision of ${name} is being applied: try again`;
    return `${hold.reason}${hold.remedy ? `; type: ${hold.remedy}` : ""}`;
  }

  /** Somebody stopped it, or removed it: it does not start again by itself. */
  leaveStopped(name: string): void {
    this.#resume.delete(name);
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
