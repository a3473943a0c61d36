/**
 * Runs the hooks of one module and what belongs to them: its services, the restart of a part, and the end of what a hook left alive.
 */
import { basename } from "node:path";
import { ADOPTED_FILE } from "../../../hooks/adopted.ts";
import type { HookCall } from "../../../hooks/context.ts";
import { runHook } from "../../../hooks/runner.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import { checksOf } from "../../checks/module_checks.ts";
import type { Cluster, ClusterNode } from "../../cluster/cluster.ts";
import type { Effect } from "../../failover/types.ts";
import type { VirtualAddresses } from "../addresses/virtual_addresses.ts";
import { killAll, MARK, members, type ProcessGroup } from "../guardian/cgroup.ts";
import type { Journal } from "../journal.ts";
import { replicationOf } from "../replication/config.ts";
import type { NodeSecrets } from "../secrets/node_secrets.ts";
import { ScriptOutput } from "./script_output.ts";
import { actAround, ModuleServices, type ServiceTargets } from "./services.ts";
import type { Outcome } from "./supervisor.ts";

const done: Outcome = { ok: true, detail: "" };

type HookEffect = Extract<Effect, { do: "hook" }>;

/** As hooks get it: lan to address. */
export function addressesOf(node: ClusterNode): Record<string, string> {
  return Object.fromEntries(Object.entries(node.addresses).map(([lan, { address }]) => [lan, address]));
}

/** What hooks work with. */
export interface HookParts {
  varDir: string;
  cluster: Cluster;
  /** The other nodes of the module. */
  peers: readonly ClusterNode[];
  /** May be another from one effect to the next. */
  definition: ModuleDefinition;
  group: ProcessGroup;
  addresses: VirtualAddresses;
  journal: Journal;
  secrets: Pick<NodeSecrets, "lack" | "values">;
  /** This check does not look, while what it looks at is started again. */
  rest(resource: string, isResting: boolean): void;
}

/** See the top of the file. */
export class ModuleHooks {
  #hook = new AbortController();
  #attempts = new Map<string, number>();
  /** How often a hook, or what belongs to it, has failed. */
  failed = 0;
  readonly #services = new ModuleServices();
  /** What hooks and the application print. */
  readonly output: ScriptOutput;

  /** `arm`: what is about to run can be fenced from then on. */
  constructor(
    private readonly parts: HookParts,
    private readonly arm: () => void,
  ) {
    this.output = new ScriptOutput(parts);
  }

  /** What fencing needs to know of the services. */
  get services(): ServiceTargets {
    return this.#services.targets;
  }

  /** Runs it, with all that belongs to it. */
  async run(effect: HookEffect): Promise<Outcome> {
    const outcome = await this.#run(effect);
    if (!outcome.ok) this.failed++;
    return outcome;
  }

  async #run(effect: HookEffect): Promise<Outcome> {
    if (effect.hook === "fence") return await this.#cutPower(effect);
    if (effect.hook === "restart_process") return await this.#restartPart(effect, effect.part ?? "");
    return await this.#withServices(effect);
  }

  /** Ends what runs. */
  abort(): void {
    this.#hook.abort();
    this.#hook = new AbortController();
  }

  /** Learns which units stand for the module's services: what may run here can be fenced. */
  async lookAtServices(): Promise<void> {
    await this.#services.look(this.parts.definition.config.services);
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
      await this.buryProcesses("when the module stopped");
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

  /** Only a hook that ran, and succeeded in its time, has cut anything. */
  async #cutPower(effect: HookEffect): Promise<Outcome> {
    const { hooks, config } = this.parts.definition;
    if (!hooks.has("fence")) return { ok: false, detail: "there is no hook fence any more" };
    return await this.#runHook(effect, config.timeouts.fence);
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
    if (effect.force) await this.buryProcesses(`after ${basename(hook.file)} with force`);
    return { ok: result.ok, detail: result.detail };
  }

  /** A stop hook that says "done" proves nothing: whatever of the application still lives is killed before the hand-over (trap 21). */
  async buryProcesses(when: string): Promise<void> {
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
}
