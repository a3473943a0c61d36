/**
 * Which revision of each module this node works with, and that nodes which work together work with the same.
 *
 * A revision comes in two ways. Handed over (handover.ts): it is kept ready here first, and this node switches when all are ready. Caught up: a
 * heartbeat names a revision that contains ours, so it is newer; it is fetched, and this node switches as soon as it may. What decides is the
 * history, never a clock. As long as the peer has another revision, this node's module does not join it: it stands aside, stopped, and
 * goes on when they agree. Only a module that serves, serves on.
 */
import type { Commit } from "../../../modules/history/history.ts";
import { callNode } from "../../api/node_client.ts";
import { writeModuleFacts } from "../module/facts.ts";
import type { ModuleRuntime } from "../module/runtime.ts";
import type { Hold } from "../module/word.ts";
import { isRemoved } from "./removed_modules.ts";
import { type Ready, RevisionRefused } from "./store.ts";
import { type RevisionHost, RevisionSwitch, short } from "./switch.ts";

/** After a peer's revision could not be fetched, the next attempt, ms. */
const RETRY_MS = 2000;
/** How long a command waits for a peer's revision to come, ms. */
const PATIENCE_MS = 5000;

/** See the top of the file. */
export class Revisions {
  /** A node's part in a hand-over. */
  readonly switch: RevisionSwitch;
  /** By node that is heard: what it last said. */
  readonly #theirs = new Map<string, Readonly<Record<string, Commit>>>();
  readonly #reconciling = new Set<string>();
  /** Revisions of peers that were looked at already: by module, ours and theirs. */
  readonly #known = new Map<string, { ready: Ready; number: number }>();
  readonly #failed = new Map<string, number>();
  /** Modules that were stopped here to stand aside, and start again. */
  readonly #resume = new Set<string>();
  readonly #waiting = new Set<() => void>();

  constructor(private readonly host: RevisionHost) {
    this.switch = new RevisionSwitch(host, (name) => this.#settled(name));
  }

  #settled(name: string): void {
    for (const memory of [this.#known, this.#failed])
      for (const key of memory.keys()) if (key.startsWith(`${name} `)) memory.delete(key);
    this.#wake();
    this.#look(name);
  }

  /** What this node tells its peers. */
  own(): Record<string, Commit> {
    return Object.fromEntries([...this.host.modules].map(([name, { revision }]) => [name, revision]));
  }

  /** What a node last said of a module, as a part of its status. */
  toldBy(node: string, name: string): { revision?: string } {
    const commit = this.#theirs.get(node)?.[name];
    return commit === undefined ? {} : { revision: short(commit) };
  }

  /** A node's heartbeat said what it works with. Call it before the views of its modules are read. */
  onBeat(from: string, theirs: Readonly<Record<string, Commit>>): void {
    this.#theirs.set(from, theirs);
    for (const name of new Set([...Object.keys(theirs), ...this.host.modules.keys()])) this.#look(name);
  }

  /** Another node of a module is silent: nothing is known of it any more. */
  onPeerLost(name: string, peer: string): void {
    this.#theirs.delete(peer);
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
    const partners = runtime?.partners ?? [];
    const agree = partners.length > 0 && partners.every((node) => this.#theirs.get(node)?.[name] === own);
    if (runtime && agree && runtime.peersAgree())
      this.#attempt(runtime, writeModuleFacts(this.host.varDir, runtime.facts));
    if (differing.length === 0) {
      this.#agree(name, runtime);
      return;
    }
    const ready = this.switch.keptReady(name);
    // Who hands it over has switched: its word to this node may have been lost.
    if (ready !== null && !this.switch.isSwitching(name) && differing.some(([, theirs]) => theirs === ready))
      void this.switch.activate(name, ready);
    if (this.switch.isBusy(name)) return;
    if (runtime && differing.some(([node]) => partners.includes(node))) this.#standAside(runtime, false);
    void this.#reconcile(name, own, differing);
  }

  #agree(name: string, runtime: ModuleRuntime | undefined): void {
    if (runtime) runtime.hold = null;
    this.#wake();
    if (!runtime?.booted || runtime.status().state !== "STOP" || !this.#resume.delete(name)) return;
    void runtime.command({ name: "start" }, "the nodes have the same revision");
  }

  /** A module that does not serve, stops, until the revisions agree. `even`: also a secondary that is in step. */
  #standAside(runtime: ModuleRuntime, even: boolean): void {
    const { state, readiness } = runtime.status();
    const { name } = runtime.definition;
    if (!runtime.booted || this.#resume.has(name)) return;
    if (state !== "WAIT" && !(state === "SECOND" && (even || readiness !== "Ready"))) return;
    const reason = `${runtime.partners.join(" or ")} has another revision of the module: they must agree first`;
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
      if (this.switch.isBusy(name)) return;
      const problem = this.switch.problem(name, ready);
      if (problem === "") {
        const { status, message } = await this.switch.switchTo(name, ready, number);
        if (status !== 0) throw new Error(message);
        const journal = this.host.modules.get(name)?.journal ?? this.host.journal;
        journal.line("event", `Revision ${short(commit)} of ${node}: ${message}`);
        this.#look(name);
        return;
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

  /** Resolves when it is known that the module may start: each of its other nodes has the same revision, has none, or is silent. */
  async whenAgreed(runtime: ModuleRuntime): Promise<void> {
    const { partners, peers, revision, definition } = runtime;
    const agrees = (node: string): boolean => {
      const theirs = this.#theirs.get(node);
      return (
        peers.isLost(node) || (theirs !== undefined && (theirs[definition.name] ?? revision) === revision)
      );
    };
    await this.#until(
      () => this.host.modules.get(definition.name) !== runtime || partners.every(agrees),
      null,
    );
  }

  /** Waits until a module may be told to start. Returns "" or why it may not. */
  async demandAgreement(name: string): Promise<string> {
    // Whether the peer is there, and with what, is known within two heartbeat timeouts.
    await this.#until(() => {
      const runtime = this.host.modules.get(name);
      return !runtime || runtime.booted || runtime.hold !== null;
    }, null);
    const isFree = () => !this.switch.isBusy(name) && (this.host.modules.get(name)?.hold ?? null) === null;
    if (await this.#until(isFree, PATIENCE_MS)) return "";
    const hold = this.host.modules.get(name)?.hold;
    if (!hold) return `a revision of ${name} is being applied: try again`;
    return `${hold.reason}${hold.remedy ? `; type: ${hold.remedy}` : ""}`;
  }

  /** It was removed. */
  forget(name: string): void {
    this.leaveStopped(name);
    this.switch.deconfigured(name);
  }

  /** Somebody stopped it: it does not start again by itself. */
  leaveStopped(name: string): void {
    this.#resume.delete(name);
  }
}
