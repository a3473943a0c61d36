/**
 * The secrets of this node, and that all nodes come to the same ones.
 *
 * A value is set on the node where it is typed, and is durable there first. The others are told, and fetch it; who was away sees in a
 * heartbeat that another node holds other versions, and fetches what is newer (core/secrets/versions.ts says what that is). Values only ever travel as
 * an answer to a node that asks, over mutual TLS, each sealed to the key that this node asked with: neither a log nor a node in between reads it.
 *
 * A module starts only where every secret that it lists has a value.
 *
 * Values belong to modules. What belongs to the whole cluster (credentials of a witness, fencing) can be kept in the same store under a name
 * that no module has.
 */
import * as v from "valibot";
import { callNode } from "../../api/node_client.ts";
import type { Cluster } from "../../cluster/cluster.ts";
import {
  offerSchema,
  type SecretAsk,
  SecretRefused,
  SecretStore,
  type TakenSecret,
  versionWord,
} from "../../secrets/secrets.ts";
import { WITNESS_SECRETS } from "../../witness/config.ts";
import type { CommandResult, HeldSecrets, SecretCommands } from "../engine.ts";
import type { Journal } from "../journal.ts";

/** How long one question to another node may take, ms. */
const ASK_MS = 10_000;
/** After secrets could not be fetched, the next attempt, ms. */
const RETRY_MS = 2000;
/** How long a module that starts waits for secrets that are on their way, ms. */
const PATIENCE_MS = 3000;

/** What it works with. */
export interface SecretParts {
  varDir: string;
  cluster: Cluster;
  /** What a module lists under secrets; null where it is not here. */
  declared(module: string): readonly string[] | null;
  /** Where it is told what happened: of a module, where there is one, else of the node. */
  journal(module: string): Journal;
  /** Tell the peers soon. */
  publish(): void;
}

/** What keeps a module from starting, for people. */
export interface Lack {
  reason: string;
  remedy: string;
}

const refused = (message: string): CommandResult => ({ status: 2, message });

/** See the top of the file. */
export class NodeSecrets implements SecretCommands {
  readonly #store: SecretStore;
  /** By node: the last of what is being fetched there. */
  readonly #fetching = new Map<string, Promise<void>>();
  /** By node: what it held, by its digest, when all that is newer was fetched. */
  readonly #seen = new Map<string, string>();
  /** How often a module came back whose secrets are to come back too. */
  #recalls = 0;
  /** By node: when to try again, and why it did not come. */
  readonly #failed = new Map<string, { until: number; why: string }>();
  readonly #waiting = new Set<() => void>();

  constructor(private readonly parts: SecretParts) {
    this.#store = new SecretStore(parts.varDir, parts.cluster.node);
    for (const trouble of this.#store.troubles) parts.journal("").line("error", trouble);
  }

  /** For the heartbeats: what this node holds, as one word. */
  digest(): string {
    return this.#store.digest();
  }

  /** A node's heartbeat said what it holds. */
  onBeat(from: string, digest: string | undefined): void {
    if (digest === undefined || digest === this.#store.digest() || digest === this.#seen.get(from)) return;
    if (this.#fetching.has(from) || performance.now() < (this.#failed.get(from)?.until ?? 0)) return;
    const recalls = this.#recalls;
    this.#fetch(from).then(
      () => {
        // What came before a module was recalled left out that module's secrets.
        if (recalls === this.#recalls) this.#seen.set(from, digest);
        this.#failed.delete(from);
      },
      (error: unknown) => {
        const why = `secrets of ${from} did not come: ${(error as Error).message}`;
        if (this.#failed.get(from)?.why !== why) this.parts.journal("").line("warning", why);
        this.#failed.set(from, { until: performance.now() + RETRY_MS, why });
      },
    );
  }

  /** Fetches what is newer there, after what is being fetched already: that may have been asked for too early. */
  #fetch(node: string): Promise<void> {
    const before = this.#fetching.get(node) ?? Promise.resolve();
    const work = before.catch(() => undefined).then(() => this.#fetchNow(node));
    this.#fetching.set(node, work);
    const end = (): void => {
      if (this.#fetching.get(node) === work) this.#fetching.delete(node);
    };
    work.then(end, end);
    return work;
  }

  async #fetchNow(node: string): Promise<void> {
    const { cluster } = this.parts;
    for (let after = ""; ; ) {
      const ask = this.#store.ask(after);
      const answer = await callNode(cluster, node, "POST", "/secrets/give", ask, { timeoutMs: ASK_MS });
      if (answer.status !== 0) throw new Error(answer.message);
      const offer = v.safeParse(offerSchema, answer.data);
      if (!offer.success) throw new Error("its answer is no offer of secrets");
      const taken = await this.#store.take(offer.output);
      for (const one of taken) this.#tellTaken(node, one);
      if (taken.length > 0) this.#changed();
      const last = offer.output.entries.at(-1);
      if (!offer.output.more || last === undefined) return;
      const next = `${last.module} ${last.key}`;
      if (next <= after) throw new Error("its answers repeat themselves");
      after = next;
    }
  }

  #tellTaken(from: string, { module, key, now, before }: TakenSecret): void {
    const what = (entry: typeof now): string =>
      `${entry.sealed === null ? "removed" : "set"} on ${entry.node} at ${new Date(entry.stamp).toISOString()}`;
    const replaced = before === null ? "" : `; it replaces what was ${what(before)}`;
    this.parts
      .journal(module)
      .line("event", `Secret ${key} of ${module} came from ${from}: ${what(now)}${replaced}`);
  }

  #changed(): void {
    this.parts.publish();
    for (const look of [...this.#waiting]) look();
  }

  /** Resolves when what is on its way is here, or after a while. */
  async settle(): Promise<void> {
    const coming = [...this.#fetching.values()];
    if (coming.length > 0) await Promise.race([Promise.allSettled(coming), Bun.sleep(PATIENCE_MS)]);
  }

  /** Why a module that lists these secrets cannot start here, or null. */
  lack(module: string, declared: readonly string[]): Lack | null {
    const missing = declared.filter((key) => !this.#store.has(module, key));
    if (missing.length === 0) return null;
    const what =
      missing.length === 1 ? `the secret ${missing[0]} has` : `the secrets ${missing.join(", ")} have`;
    return {
      reason: `${what} no value on ${this.parts.cluster.node}`,
      remedy: `holdfast secret set ${module} ${missing[0]}`,
    };
  }

  /** Resolves when a module that lists these could start. */
  whenComplete(module: string, declared: () => readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.lack(module, declared()) !== null) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** For a run of a hook: the values of these, in clear; null: of all that there are. */
  values(module: string, keys: readonly string[] | null): Record<string, Uint8Array> {
    return this.#store.values(module, keys ?? this.#store.list(module).map(({ key }) => key));
  }

  /** The module was removed from this node. */
  async forget(module: string): Promise<void> {
    await this.#store.forget(module);
    this.parts.publish();
  }

  /** The module is here (again): what other nodes hold for it comes back. */
  async recall(module: string): Promise<void> {
    try {
      if (!(await this.#store.recall(module))) return;
      this.#recalls++;
      this.#seen.clear();
    } catch (error) {
      const { message } = error as Error;
      this.parts.journal(module).line("error", `its secrets do not come from other nodes: ${message}`);
    }
  }

  async set(module: string, key: string, value: Uint8Array, by: string): Promise<CommandResult> {
    if (value.length === 0)
      return refused(`an empty value is none: holdfast secret remove ${module} ${key} takes the secret away`);
    const hints: string[] = [];
    const declared = this.parts.declared(module);
    if (module === WITNESS_SECRETS) hints.push("the witness is asked with it from now on");
    else if (declared === null)
      hints.push(
        `there is no module ${module} on ${this.parts.cluster.node} yet: it gets ${key} when it is applied and lists it under secrets`,
      );
    else if (!declared.includes(key))
      hints.push(
        `${module} does not list ${key} under secrets in its module.yaml: its hooks get it once it does`,
      );
    else hints.push("hooks get it from their next run on");
    return await this.#change(module, key, value, by, hints);
  }

  async remove(module: string, key: string, by: string): Promise<CommandResult> {
    await this.settle();
    if (!this.#store.list(module).some((one) => one.key === key))
      return refused(
        `${module} has no secret ${key} on ${this.parts.cluster.node}: holdfast secret list ${module}`,
      );
    const isDeclared = this.parts.declared(module)?.includes(key) === true;
    const hint = `${module} lists it under secrets in its module.yaml, and does not start without a value`;
    return await this.#change(module, key, null, by, isDeclared ? [hint] : []);
  }

  async #change(
    module: string,
    key: string,
    value: Uint8Array | null,
    by: string,
    hints: readonly string[],
  ): Promise<CommandResult> {
    const { cluster, journal } = this.parts;
    const done = value === null ? "removed" : "set";
    try {
      await this.#store.set(module, key, value);
    } catch (error) {
      const { message } = error as Error;
      return error instanceof SecretRefused
        ? refused(message)
        : { status: 1, message: `it was not ${done}: ${cluster.node} cannot keep it: ${message}` };
    }
    journal(module).line("event", `Secret ${key} of ${module} ${done} by ${by}`);
    this.#changed();
    const others = await Promise.all(
      cluster.peers.map(
        async ({ name }): Promise<[string, CommandResult]> => [
          name,
          await callNode(cluster, name, "POST", "/secrets/look", {}, { timeoutMs: ASK_MS }),
        ],
      ),
    );
    const named = (wanted: (status: number) => boolean): string[] =>
      others.filter(([, { status }]) => wanted(status)).map(([node]) => node);
    const nodes = [cluster.node, ...named((status) => status === 0)];
    const away = named((status) => status === 3);
    const late = others.filter(([, { status }]) => status !== 0 && status !== 3);
    const message = [
      `${key} of ${module} is ${done} on ${nodes.join(", ")}`,
      ...late.map(([node, { message: said }]) => `${node} did not take it, and tries again: ${said}`),
      ...away.map((node) => `${node} does not answer: it takes this when it is back`),
      ...hints,
    ].join("\n");
    return { status: late.length > 0 ? 1 : 0, message, data: { module, key, nodes, away } };
  }

  list(module: string): CommandResult {
    const data: HeldSecrets = {
      declared: this.parts.declared(module),
      secrets: this.#store.list(module).map(({ key, version, isLocked }) => ({
        key,
        since: new Date(version.stamp).toISOString(),
        setOn: version.node,
        version: versionWord(version),
        isLocked,
      })),
    };
    return { status: 0, message: "", data };
  }

  give(node: string, ask: SecretAsk): CommandResult {
    return { status: 0, message: "", data: this.#store.give(node, ask) };
  }

  async look(node: string): Promise<CommandResult> {
    try {
      await this.#fetch(node);
      return { status: 0, message: "" };
    } catch (error) {
      return { status: 1, message: (error as Error).message };
    }
  }
}
