/**
 * A module starts only where every secret that it lists has a value: a command is refused with words, and a module that starts with its node waits.
 */
import type { ModuleRuntime } from "../module/runtime.ts";
import type { NodeSecrets } from "./node_secrets.ts";

/** See the top of the file. */
export class SecretGate {
  /** Modules that start as soon as their secrets are here. */
  readonly #awaiting = new Set<string>();

  constructor(private readonly secrets: NodeSecrets) {}

  /** Why a module cannot start with the secrets that are here, or "". */
  async refusal({ definition: { name, config } }: ModuleRuntime): Promise<string> {
    await this.secrets.settle();
    const lack = this.secrets.lack(name, config.secrets);
    return lack === null ? "" : `${lack.reason}; type: ${lack.remedy}`;
  }

  /** Starts a module with its node; without its secrets it starts when they are here, unless somebody gives it a command before. */
  async start(runtime: ModuleRuntime, isCurrent: () => boolean): Promise<void> {
    const { name } = runtime.definition;
    const declared = (): readonly string[] => runtime.definition.config.secrets;
    await this.secrets.settle();
    if (!isCurrent() || runtime.booted) return;
    const lack = this.secrets.lack(name, declared());
    runtime.begin(lack === null);
    if (lack === null) return;
    runtime.journal.line("warning", `${lack.reason}: ${name} starts when it has; type: ${lack.remedy}`);
    this.#awaiting.add(name);
    await this.secrets.whenComplete(name, declared);
    if (isCurrent() && this.#awaiting.delete(name) && runtime.status().state === "STOP")
      await runtime.command({ name: "start" }, "its secrets are here");
  }

  /** Somebody has given the module a command: it does not start by itself any more. */
  leave(name: string): void {
    this.#awaiting.delete(name);
  }
}
