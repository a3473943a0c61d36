/**
 * Where a module's hooks, and the application that they start, print, and where their secrets are; and that the daemon reads what is printed, also after
 * a restart.
 *
 * What is printed may hold the module's secrets, and is masked on its way to the log. So for a module with secrets the file itself is in memory
 * and erased as it is read; for others it lies beside the log.
 */
import { createHash } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { followOutput, stopFollowing } from "../../../hooks/output.ts";
import type { HookRun } from "../../../hooks/runner.ts";
import { makePrivately, placeInMemory, removeLeftSecrets } from "../../../hooks/secret_files.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { Journal } from "../journal.ts";
import type { NodeSecrets } from "../secrets/node_secrets.ts";

type Place = Pick<HookRun, "outputFile" | "eraseOutput">;

/** Which node it is: several may live on one machine. */
interface Owner {
  varDir: string;
  cluster: { node: string };
}

/** What a node keeps in memory lies here, under the same name after a restart. Throws where there is no such place. */
function memoryOf({ varDir, cluster }: Owner): string {
  const id = createHash("sha256").update(`${varDir}\0${cluster.node}`).digest("hex").slice(0, 16);
  return join(placeInMemory(), `holdfast-${id}`);
}

/** A daemon begins: no hook of an earlier one goes on with its secrets. */
export function removeLeftOf(owner: Owner): void {
  try {
    removeLeftSecrets(memoryOf(owner));
  } catch {
    // There is nothing in memory.
  }
}

/** Of one module. */
export class ScriptOutput {
  constructor(
    /** The definition may be another from one run to the next. */
    private readonly parts: Owner & {
      definition: ModuleDefinition;
      journal: Journal;
      secrets: Pick<NodeSecrets, "values">;
    },
  ) {}

  get #beside(): string {
    return join(this.parts.varDir, "log", this.parts.definition.name, "script.log");
  }

  get #inMemory(): string {
    return join(memoryOf(this.parts), `${this.parts.definition.name}.log`);
  }

  get #hasSecrets(): boolean {
    return this.parts.definition.config.secrets.length > 0;
  }

  /** For the next run of a hook. Throws when it has secrets, and there is no place in memory. */
  place(): Place {
    if (!this.#hasSecrets) return { outputFile: this.#beside };
    makePrivately(memoryOf(this.parts));
    return { outputFile: this.#inMemory, eraseOutput: true };
  }

  /** The secrets for one run, and where their files are made. Throws when there is no place in memory. */
  secrets(): Pick<HookRun, "secrets" | "secretsIn"> {
    if (!this.#hasSecrets) return {};
    const { definition, secrets } = this.parts;
    const secretsIn = memoryOf(this.parts);
    makePrivately(secretsIn);
    return { secrets: secrets.values(definition.name, definition.config.secrets), secretsIn };
  }

  /** Reads on after a restart: the application may have been started by a revision with secrets, or without. */
  follow(): void {
    this.#read(this.#beside, false);
    try {
      if (this.#hasSecrets || existsSync(this.#inMemory)) {
        makePrivately(memoryOf(this.parts));
        this.#read(this.#inMemory, true);
      }
    } catch (error) {
      if (this.#hasSecrets) this.parts.journal.line("error", (error as Error).message);
    }
  }

  #read(file: string, erase: boolean): void {
    const { journal, secrets, definition } = this.parts;
    const { mask } = followOutput(file, (line) => journal.line("script", line), erase);
    mask.hide(Object.values(secrets.values(definition.name, null)));
  }

  /** The module is at rest and leaves this node's memory. */
  stop(): void {
    stopFollowing(this.#beside);
    try {
      stopFollowing(this.#inMemory);
      rmSync(this.#inMemory, { force: true });
    } catch {
      // There is no place in memory, and so nothing in it.
    }
  }
}
