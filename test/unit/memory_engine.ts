/**
 * An Engine that keeps its modules in memory: the API's tests talk to it. It honours the whole interface: unknown modules
 * are refused, states change with commands, waits end, logs can be followed.
 */
import type {
  CommandResult,
  Engine,
  LogLine,
  ModuleCommand,
  RevisionOffer,
  SecretCommands,
  StatusDocument,
} from "../../core/daemon/engine.ts";
import type { ModuleState } from "../../core/failover/types.ts";

interface MemoryModule {
  revision: string;
  number: number;
  state: ModuleState;
  boot: string;
  by: string;
}

const STATE_AFTER: Partial<Record<ModuleCommand, ModuleState>> = {
  start: "PRIM",
  prim: "ALONE",
  second: "SECOND",
  stop: "STOP",
  forcestop: "STOP",
  swap: "SECOND",
};

/** One node's engine. */
export class MemoryEngine implements Engine {
  readonly modulesByName = new Map<string, MemoryModule>();
  readonly lines: LogLine[] = [];
  followers = 0;
  readonly #waiting = new Set<() => void>();

  constructor(
    readonly node: string,
    readonly clusterName: string,
    private readonly keeper: SecretCommands | null = null,
  ) {}

  get secrets(): SecretCommands {
    if (this.keeper === null) throw new Error("this test has no secrets");
    return this.keeper;
  }

  say(text: string): void {
    this.lines.push({ time: new Date().toISOString(), node: this.node, level: "info", text });
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #next(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      signal?.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  #with(name: string, act: (module: MemoryModule) => string): CommandResult {
    const module = this.modulesByName.get(name);
    if (module === undefined) return { status: 2, message: `there is no module ${name} on ${this.node}` };
    return { status: 0, message: act(module) };
  }

  status(): StatusDocument {
    const modules = [...this.modulesByName].map(([name, { state }]) => {
      const status = {
        state,
        readiness: "Ready",
        upToDate: true,
        reason: "",
        since: "",
        resources: {},
      } as const;
      const unknown = { ...status, state: "UNKNOWN", upToDate: null } as const;
      return [
        name,
        { kind: "mirror" as const, nodes: { n1: unknown, n2: unknown, [this.node]: status } },
      ] as const;
    });
    return { version: 1, cluster: this.clusterName, modules: Object.fromEntries(modules) };
  }

  async command(name: string, command: ModuleCommand, options: { by: string }): Promise<CommandResult> {
    return this.#with(name, (module) => {
      module.state = STATE_AFTER[command] ?? module.state;
      module.by = options.by;
      this.say(`${command} by ${options.by}`);
      return `${name} is ${module.state}`;
    });
  }

  async shutdown(by: string): Promise<CommandResult> {
    for (const module of this.modulesByName.values()) module.state = "STOP";
    this.say(`shutdown by ${by}`);
    return { status: 0, message: "every module is stopped" };
  }

  async wait(name: string, states: readonly ModuleState[], timeoutMs: number): Promise<CommandResult> {
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const module = this.modulesByName.get(name);
      if (module === undefined) return { status: 2, message: `there is no module ${name} on ${this.node}` };
      if (states.includes(module.state)) return { status: 0, message: `${name} is ${module.state}` };
      if (deadline.aborted) return { status: 4, message: `${name} is ${module.state}` };
      await this.#next(deadline);
    }
  }

  async *log(
    _module: string | null,
    options: { lines: number; signal?: AbortSignal; follow: boolean },
  ): AsyncGenerator<LogLine> {
    let at = Math.max(0, this.lines.length - options.lines);
    this.followers++;
    try {
      for (;;) {
        while (at < this.lines.length) yield this.lines[at++]!;
        if (!options.follow || options.signal?.aborted) return;
        await this.#next(options.signal);
      }
    } finally {
      this.followers--;
    }
  }

  async verify(name: string): Promise<CommandResult> {
    return this.#with(name, () => "no difference");
  }

  async boot(name: string, value: "always" | "never" | "auto"): Promise<CommandResult> {
    return this.#with(name, (module) => {
      module.boot = value;
      return value;
    });
  }

  async applyModule(name: string, commit: string, { dryRun }: { dryRun: boolean }): Promise<CommandResult> {
    if (dryRun) return { status: 0, message: `${commit} is valid` };
    return await this.prepareRevision(name, { commit, pack: null, number: 1, dryRun, from: this.node });
  }

  async prepareRevision(name: string, { commit, number, from }: RevisionOffer): Promise<CommandResult> {
    this.modulesByName.set(name, { revision: commit, number, state: "STOP", boot: "auto", by: from });
    return { status: 0, message: `${name} is ready` };
  }

  async activateRevision(name: string, commit: string): Promise<CommandResult> {
    return this.#with(name, (module) => `${name} ${commit} of ${module.by}`);
  }

  async configureRevision(name: string, commit: string): Promise<CommandResult> {
    return { status: 0, message: `${name} ${commit} is configured` };
  }

  async abandonRevision(name: string, commit: string): Promise<CommandResult> {
    return { status: 0, message: `${name} ${commit} is forgotten` };
  }

  async giveRevision(name: string, haves: readonly string[]): Promise<CommandResult> {
    return this.#with(name, () => haves.join());
  }

  async removeModule(name: string): Promise<CommandResult> {
    return this.#with(name, () => {
      this.modulesByName.delete(name);
      return "removed";
    });
  }

  modules(): { name: string; kind: string; revision: string; number: number }[] {
    return [...this.modulesByName].map(([name, { revision, number }]) => ({
      name,
      kind: "mirror",
      revision,
      number,
    }));
  }

  async farm(name: string): Promise<CommandResult> {
    return this.#with(name, () => "farm");
  }

  async drain(name: string, timeoutMs: number): Promise<CommandResult> {
    return this.#with(name, () => `drained within ${timeoutMs} ms`);
  }

  async resources(name: string, resource: string | null): Promise<CommandResult> {
    return this.#with(name, () => `resources: ${resource ?? "all"}`);
  }

  async setResource(name: string, resource: string, state: "up" | "down"): Promise<CommandResult> {
    return this.#with(name, () => `${resource} is ${state}`);
  }

  async switchChecker(name: string, resource: string | null, on: boolean): Promise<CommandResult> {
    return this.#with(name, () => `${resource ?? "all"} is ${on ? "on" : "off"}`);
  }

  async explain(name: string, at: string | null): Promise<CommandResult> {
    return this.#with(name, () => `explained at ${at}`);
  }

  async maintenance(name: string, on: boolean): Promise<CommandResult> {
    return this.#with(name, () => `maintenance is ${on ? "on" : "off"}`);
  }

  async snapshot(): Promise<CommandResult> {
    return { status: 0, message: "", data: { status: this.status() } };
  }

  async told(name: string, at: string | null): Promise<CommandResult> {
    return this.#with(name, () => `told at ${at}`);
  }
}
