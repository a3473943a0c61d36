/**
 * Carries out what the failover core asks for one module: writes the record, runs hooks, moves the virtual address, talks to
 * the replication process, fences. Each is harmless when done twice, since a crash may fall between doing and knowing.
 */
import { join } from "node:path";
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { CheckScope, CopyWord, Effect, WitnessAnswer } from "../../failover/types.ts";
import { readCopyWord } from "../../filesystem/copy/copy_record.ts";
import { selfCommand } from "../../platform/self.ts";
import { sharedClock } from "../../platform/shared_clock.ts";
import type { GuardianLink } from "../guardian/link.ts";
import { replicationConfig, replicationOf } from "../replication/config.ts";
import type { ReplicationAnswer, ReplicationLink, ReplicationRequest } from "../replication/link.ts";
import { type HookParts, ModuleHooks } from "./hooks.ts";
import type { RecordFile } from "./record.ts";
import type { ScriptOutput } from "./script_output.ts";
import type { Executor, Outcome, Question } from "./supervisor.ts";

const done: Outcome = { ok: true, detail: "" };
/** How long a new replication process may take to say hello, ms. */
const HELLO_MS = 10_000;

/** What the executor works with. `number` is the module's place in the cluster, from 1. */
export interface ExecutorParts extends HookParts {
  number: number;
  /** The heartbeat timeout T of this module, ms; may change like the definition. */
  timeoutMs: number;
  guardian: GuardianLink;
  link: ReplicationLink;
  record: RecordFile;
  /** Tells what this copy, at rest, says of itself. */
  tellCopy(word: CopyWord | null): void;
  publish(): void;
  /** Asks the witness; never rejects. */
  ask(question: Question): Promise<WitnessAnswer>;
  /** Gives the witness's lease back. */
  release(): void;
  /** These checks look from now on. */
  check(scope: CheckScope): void;
}

/** See the top of the file. */
export class ModuleExecutor implements Executor {
  readonly #hooks: ModuleHooks;
  /** A full copy was asked for and none has begun since: whatever is tried again is full, too. */
  #owesFull = false;

  constructor(private readonly parts: ExecutorParts) {
    this.#hooks = new ModuleHooks(parts, () => {
      this.arm();
    });
  }

  /** What hooks and the application print. */
  get output(): ScriptOutput {
    return this.#hooks.output;
  }

  /** How often a hook has failed since the module was loaded. */
  get failedHooks(): number {
    return this.#hooks.failed;
  }

  publish(): void {
    this.parts.publish();
  }

  ask(question: Question): Promise<WitnessAnswer> {
    return this.parts.ask(question);
  }

  release(): void {
    this.parts.release();
  }

  /** The guardian and the kernel learn of the end of a right: they keep to it whatever becomes of this daemon. */
  mayRun(until: number | null): void {
    const { guardian, addresses, definition } = this.parts;
    addresses.until = until;
    guardian.mayRun(definition.name, until === null ? null : sharedClock() + until - performance.now());
  }

  /** Goes on with another revision of the module. What runs is not touched. */
  reconfigure(definition: ModuleDefinition, timeoutMs: number): void {
    Object.assign(this.parts, { definition, timeoutMs });
    if (this.parts.guardian.isArmed(definition.name)) this.arm();
  }

  check(scope: CheckScope): void {
    this.parts.check(scope);
  }

  proceed(after: "reintegrating" | "caughtUp"): void {
    // What has begun is in the record, and goes on by itself.
    if (after === "reintegrating") this.#owesFull = false;
    void this.#ask({ op: "proceed", after });
  }

  /** Carries one effect out; a failure is an outcome, never an exception. */
  async execute(effect: Effect): Promise<Outcome> {
    try {
      return await this.#execute(effect);
    } catch (error) {
      return { ok: false, detail: (error as Error).message };
    }
  }

  async #execute(effect: Effect): Promise<Outcome> {
    const { guardian, record, addresses, definition } = this.parts;
    switch (effect.do) {
      case "persist":
        await record.write(effect.record);
        return done;
      case "hook":
        if (effect.hook === "prestart") {
          this.#owesFull = false;
          await this.lookAtCopy();
        }
        return await this.#hooks.run(effect);
      case "virtualIp":
        return effect.up ? await addresses.up() : addresses.down();
      case "serve":
        this.arm();
        this.#owesFull = false;
        return await this.#replicate({ op: "serve", alone: effect.alone, generations: effect.generations });
      case "goAlone":
        return await this.#ask({ op: "goAlone", generations: effect.generations });
      case "follow": {
        const { sacrifice, generations } = effect;
        this.#owesFull ||= effect.full;
        return await this.#replicate({ op: "follow", full: this.#owesFull, sacrifice, generations });
      }
      case "sealStream":
        return await this.#ask({ op: "sealStream" });
      case "stopReplication":
        return await this.#atRest(await this.#stopReplication());
      case "fence": {
        this.#hooks.abort();
        this.arm();
        const outcome = await guardian.fence(definition.name);
        addresses.down();
        return await this.#atRest(outcome);
      }
      default:
        throw new Error(`"${effect.do}" has no result to wait for`);
    }
  }

  /** Nothing is served or followed any more, where that succeeded. */
  async #atRest(outcome: Outcome): Promise<Outcome> {
    if (outcome.ok) await this.lookAtCopy();
    return outcome;
  }

  /**
   * Tells the core what this copy, which is at rest, says of itself: from the first word to the peer on, and again at each start, since an
   * administrator may have put the data back to an older state meanwhile.
   */
  async lookAtCopy(): Promise<void> {
    const { definition, varDir, tellCopy } = this.parts;
    const replicated = replicationOf(definition);
    if (!replicated) return;
    const paths = replicated.paths.map(({ path }) => path);
    tellCopy(await readCopyWord(join(varDir, "state", definition.name), paths));
  }

  /** Learns which units stand for the module's services: what may run here can be fenced. */
  async lookAtServices(): Promise<void> {
    await this.#hooks.lookAtServices();
  }

  /** From now on a late daemon costs this module its role. */
  arm(): void {
    const { guardian, definition, timeoutMs, group, addresses } = this.parts;
    const mounts = replicationOf(definition)?.paths.map(({ path }) => path) ?? [];
    const { services } = this.#hooks;
    guardian.arm({ module: definition.name, timeoutMs, group, addresses: addresses.list, mounts, services });
  }

  async #stopReplication(): Promise<Outcome> {
    const { link, guardian, definition } = this.parts;
    await this.#hooks.buryProcesses("when the module stopped");
    if (!replicationOf(definition) || !link.connected) {
      guardian.disarm(definition.name);
      return done;
    }
    const outcome = await this.#ask({ op: "stop" });
    if (outcome.ok) guardian.disarm(definition.name);
    return outcome;
  }

  /** Asks the replication process; a module without one has nothing to do. */
  async #ask(request: ReplicationRequest): Promise<ReplicationAnswer> {
    if (!replicationOf(this.parts.definition)) return done;
    return await this.parts.link.request(request);
  }

  async #replicate(request: ReplicationRequest): Promise<Outcome> {
    if (!replicationOf(this.parts.definition)) return done;
    await this.#ensureProcess();
    return await this.#ask(request);
  }

  /** Starts the replication process where none is connected, and waits until it is configured. */
  async #ensureProcess(): Promise<void> {
    const { link } = this.parts;
    if (!link.connected) await this.#startProcess();
    if (link.isConfigured) return;
    const configured = await this.configure();
    if (!configured.ok) throw new Error(configured.detail);
  }

  async #startProcess(): Promise<void> {
    const { link, guardian, definition, varDir } = this.parts;
    const hello = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        link.off("hello", onHello);
        reject(
          new Error(
            `the replication process did not start within ${HELLO_MS} ms; see ${join(varDir, "log", "guardian.log")}`,
          ),
        );
      }, HELLO_MS);
      const onHello = (): void => {
        clearTimeout(timer);
        resolve();
      };
      link.once("hello", onHello);
    });
    const control = join(varDir, "run", "control.sock");
    await guardian.run(
      definition.name,
      selfCommand("__replication", "--module", definition.name, "--control", control),
    );
    await hello;
  }

  /** Tells the replication process what it is to replicate, and with which keys. */
  async configure(): Promise<ReplicationAnswer> {
    return await this.parts.link.requestNow({ op: "configure", config: replicationConfig(this.parts) });
  }
}
