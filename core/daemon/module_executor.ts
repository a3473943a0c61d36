/**
 * Carries out what the failover core asks for one module: writes the record, runs hooks, moves the virtual address, talks to
 * the replication process, fences. Each is harmless when done twice, since a crash may fall between doing and knowing.
 */
import { basename, join } from "node:path";
import { ADOPTED_FILE } from "../../hooks/adopted.ts";
import type { HookCall } from "../../hooks/context.ts";
import { runHook } from "../../hooks/runner.ts";
import type { ModuleDefinition } from "../../modules/load.ts";
import type { MirrorConfig } from "../../modules/schema.ts";
import { checksOf } from "../checks/module_checks.ts";
import type { Cluster, ClusterNode } from "../cluster/cluster.ts";
import type { CheckScope, CopyWord, Effect, WitnessAnswer } from "../failover/types.ts";
import { readCopyWord } from "../filesystem/copy_record.ts";
import { selfCommand } from "../platform/self.ts";
import { killAll, MARK, members, type ProcessGroup } from "./cgroup.ts";
import type { GuardianLink } from "./guardian_link.ts";
import { sharedClock } from "./guardian_protocol.ts";
import type { Journal } from "./journal.ts";
import { actAround, ModuleServices } from "./module_services.ts";
import type { NodeSecrets } from "./node_secrets.ts";
import type { RecordFile } from "./record.ts";
import { replicationConfig } from "./replication_config.ts";
import type { ReplicationAnswer, ReplicationLink, ReplicationRequest } from "./replication_link.ts";
import { ScriptOutput } from "./script_output.ts";
import type { Executor, Outcome, Question } from "./supervisor.ts";
import type { VirtualAddresses } from "./virtual_addresses.ts";

const done: Outcome = { ok: true, detail: "" };
/** How long a new replication process may take to say hello, ms. */
const HELLO_MS = 10_000;

/** What the executor works with. `number` is the module's place in the cluster, from 1. */
export interface ExecutorParts {
  varDir: string;
  cluster: Cluster;
  /** The other nodes of the module. */
  peers: readonly ClusterNode[];
  /** May be another from one effect to the next. */
  definition: ModuleDefinition;
  number: number;
  /** The heartbeat timeout T of this module, ms; may change likewise. */
  timeoutMs: number;
  group: ProcessGroup;
  guardian: GuardianLink;
  link: ReplicationLink;
  addresses: VirtualAddresses;
  record: RecordFile;
  journal: Journal;
  secrets: Pick<NodeSecrets, "lack" | "values">;
  /** Tells what this copy, at rest, says of itself. */
  tellCopy(word: CopyWord | null): void;
  publish(): void;
  /** Asks the witness; never rejects. */
  ask(question: Question): Promise<WitnessAnswer>;
  /** These checks look from now on. */
  check(scope: CheckScope): void;
  /** This one does not, while what it looks at is started again. */
  rest(resource: string, isResting: boolean): void;
}

type HookEffect = Extract<Effect, { do: "hook" }>;

/** What a module replicates, or null. */
export function replicationOf({ config }: ModuleDefinition): MirrorConfig["replicate"] | null {
  return config.kind === "mirror" ? (config.replicate ?? null) : null;
}

/** As hooks get it: lan to address. */
export function addressesOf(node: ClusterNode): Record<string, string> {
  return Object.fromEntries(Object.entries(node.addresses).map(([lan, { address }]) => [lan, address]));
}

/** See the top of the file. */
export class ModuleExecutor implements Executor {
  #hook = new AbortController();
  #attempts = new Map<string, number>();
  readonly #services = new ModuleServices();
  /** What hooks and the application print. */
  readonly output: ScriptOutput;

  constructor(private readonly parts: ExecutorParts) {
    this.output = new ScriptOutput(parts);
  }

  publish(): void {
    this.parts.publish();
  }

  ask(question: Question): Promise<WitnessAnswer> {
    return this.parts.ask(question);
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
        if (effect.hook === "restart_process") return await this.#restartPart(effect, effect.part ?? "");
        if (effect.hook === "prestart") await this.lookAtCopy();
        return await this.#withServices(effect);
      case "virtualIp":
        return effect.up ? await addresses.up() : addresses.down();
      case "serve":
        this.arm();
        return await this.#replicate({ op: "serve", alone: effect.alone, generations: effect.generations });
      case "goAlone":
        return await this.#ask({ op: "goAlone", generations: effect.generations });
      case "follow": {
        const { full, sacrifice, generations } = effect;
        return await this.#replicate({ op: "follow", full, sacrifice, generations });
      }
      case "sealStream":
        return await this.#ask({ op: "sealStream" });
      case "stopReplication":
        return await this.#atRest(await this.#stopReplication());
      case "fence": {
        this.#hook.abort();
        this.#hook = new AbortController();
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
    await this.#services.look(this.parts.definition.config.services);
  }

  /** From now on a late daemon costs this module its role. */
  arm(): void {
    const { guardian, definition, timeoutMs, group, addresses } = this.parts;
    const mounts = replicationOf(definition)?.paths.map(({ path }) => path) ?? [];
    const services = this.#services.targets;
    guardian.arm({ module: definition.name, timeoutMs, group, addresses: addresses.list, mounts, services });
  }

  /** A hook, and the services that belong to it, within one time limit. By force, both are done whatever comes of the first. */
  async #withServices(effect: HookEffect): Promise<Outcome> {
    const { config } = this.parts.definition;
    const { hook, force } = effect;
    if (hook.startsWith("start_")) this.arm();
    const isStop = hook.startsWith("stop_") || hook === "poststop";
    const { timeouts } = config;
    const limit = force ? timeouts.force : isStop ? timeouts.stop : timeouts.start;
    const end = performance.now() + limit;
    if (hook === "stop_both" && !force) await this.parts.addresses.close();
    const act = actAround(config.kind, hook);
    const stopped = act === "stop" ? await this.#changeServices("stop", effect, limit) : done;
    if (!stopped.ok && !force) return stopped;
    const ran = await this.#runHook(effect, end - performance.now());
    if (hook === "stop_both" && !replicationOf(this.parts.definition))
      await this.#buryProcesses("when the module stopped");
    if (!ran.ok || !stopped.ok) return ran.ok ? stopped : ran;
    const services =
      act === "start" ? await this.#changeServices("start", effect, end - performance.now()) : stopped;
    return services.ok && ran.detail !== "" ? ran : services;
  }

  async #changeServices(act: "start" | "stop", effect: HookEffect, timeoutMs: number): Promise<Outcome> {
    const { journal } = this.parts;
    try {
      await this.lookAtServices();
    } catch (error) {
      // A systemd that hangs must not keep a stop by force from its hook.
      return { ok: false, detail: (error as Error).message };
    }
    // Units may have come since the last look, and are fenced like the others.
    if (act === "start" && this.#services.targets.permits.length > 0) this.arm();
    return await this.#services.change(act, this.#call(effect, 1), timeoutMs, {
      ...this.output.place(),
      onOutput: (line) => journal.line("script", line),
      signal: this.#hook.signal,
    });
  }

  /** One process or service is started again: a service and a unit by systemd, any other process by the module's own hook. */
  async #restartPart(effect: HookEffect, part: string): Promise<Outcome> {
    const { definition, rest, journal } = this.parts;
    const { timeouts } = definition.config;
    const subject = checksOf(definition.config).find(({ resource }) => resource === part)?.subject;
    const limit = timeouts.stop + timeouts.start;
    rest(part, true);
    try {
      if (subject?.type === "process" && subject.unit === undefined)
        return await this.#runHook(effect, limit, part.slice("process.".length));
      const name =
        subject?.type === "service" ? subject.name : subject?.type === "process" ? subject.unit : undefined;
      if (name === undefined) return { ok: false, detail: `there is no ${part} any more` };
      await this.lookAtServices();
      journal.line("script", `Restart of ${name}`);
      return await this.#services.change(
        "restart",
        this.#call(effect, 1),
        limit,
        {
          ...this.output.place(),
          onOutput: (line) => journal.line("script", line),
          signal: this.#hook.signal,
        },
        this.#services.one(name),
      );
    } finally {
      rest(part, false);
    }
  }

  #call(effect: HookEffect, attempt: number, process?: string): HookCall {
    const { definition, cluster, peers } = this.parts;
    const { hook, action, from, to, cause, force } = effect;
    return {
      module: definition.name,
      node: cluster.node,
      kind: definition.config.kind,
      hook,
      action,
      from,
      to,
      cause,
      force,
      attempt,
      vars: definition.config.vars,
      dir: definition.directory,
      ...(process === undefined ? {} : { process }),
      peers: peers.map((peer) => ({ name: peer.name, addresses: addressesOf(peer) })),
    };
  }

  async #runHook(effect: HookEffect, timeoutMs: number, process?: string): Promise<Outcome> {
    const { definition, group, journal, varDir, secrets } = this.parts;
    const hook = definition.hooks.get(effect.hook);
    if (effect.hook === "prestart" || (hook && effect.hook.startsWith("start_"))) {
      const lack = secrets.lack(definition.name, definition.config.secrets);
      if (lack !== null) return { ok: false, detail: `${lack.reason}: ${lack.remedy}` };
    }
    if (!hook) return done;
    const attempt = (this.#attempts.get(effect.hook) ?? 0) + 1;
    this.#attempts.set(effect.hook, attempt);
    journal.line("script", `Script ${effect.hook}${effect.force ? " force" : ""}`);
    const started = performance.now();
    const result = await runHook({
      file: hook.file,
      kind: hook.kind,
      context: this.#call(effect, attempt, process),
      timeoutMs: Math.max(1, timeoutMs),
      env: { [MARK]: group.mark, [ADOPTED_FILE]: group.adopted, HOLDFAST_VAR: varDir },
      permissions: definition.config.permissions,
      cgroupPath: group.path,
      ...this.output.place(),
      ...this.output.secrets(),
      onOutput: (line) => journal.line("script", line),
      signal: this.#hook.signal,
    });
    if (result.ok) this.#attempts.delete(effect.hook);
    journal.line(
      "script",
      `Script ${effect.hook} ended after ${Math.round(performance.now() - started)} ms${result.ok ? "" : `: ${result.detail}`}`,
    );
    if (effect.force) await this.#buryProcesses(`after ${basename(hook.file)} with force`);
    return { ok: result.ok, detail: result.detail };
  }

  /** A stop hook that says "done" proves nothing: whatever of the application still lives is killed before the hand-over (trap 21). */
  async #buryProcesses(when: string): Promise<void> {
    const { group, journal } = this.parts;
    const left = members(group);
    if (left.length === 0) return;
    journal.line(
      "warning",
      `${left.length} processes of the application were still alive ${when}: killed (${left.slice(0, 8).join(", ")})`,
    );
    killAll(group);
    for (let i = 0; i < 1000 && members(group).length > 0; i++) await Bun.sleep(2);
  }

  async #stopReplication(): Promise<Outcome> {
    const { link, guardian, definition } = this.parts;
    await this.#buryProcesses("when the module stopped");
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
    const { link, guardian, definition, varDir } = this.parts;
    if (link.connected) return;
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
    const configured = await this.configure();
    if (!configured.ok) throw new Error(configured.detail);
  }

  /** Tells the replication process what it is to replicate, and with which keys. */
  async configure(): Promise<ReplicationAnswer> {
    return await this.parts.link.requestNow({ op: "configure", config: replicationConfig(this.parts) });
  }
}
