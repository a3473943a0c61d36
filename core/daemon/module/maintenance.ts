/**
 * Maintenance of a module: while it is on, no checker and no rule restarts, stops or hands over anything, and no node takes over by itself.
 *
 * It is the module's, not the node's: what a person says on one node is told in its heartbeats, and kept by whoever hears it, so that a node that was
 * away does not come back and act. The newest word counts.
 */
import type { MaintenanceWord } from "../../failover/types.ts";
import type { Journal } from "../journal.ts";
import { type ModuleFacts, writeModuleFacts } from "./facts.ts";

/** What it works with. */
export interface MaintenanceParts {
  varDir: string;
  facts: ModuleFacts;
  journal: Journal;
  /** The failover core is told. */
  changed(isOn: boolean): void;
}

/** See the top of the file. */
export class ModuleMaintenance {
  constructor(private readonly parts: MaintenanceParts) {}

  /** What is told to the peers; undefined: nobody has ever said anything. */
  get word(): MaintenanceWord | undefined {
    return this.parts.facts.maintenance;
  }

  /** Since when, and by whom; null: it is off. */
  get current(): { since: string; by: string } | null {
    const { on, since, by } = this.word ?? {};
    return on && since !== undefined && by !== undefined ? { since, by } : null;
  }

  /** A person says so here. Resolves when it is on disk. */
  async set(on: boolean, by: string): Promise<void> {
    const now = new Date();
    const stamp = Math.max(now.getTime(), (this.word?.stamp ?? 0) + 1);
    await this.#take({ on, stamp, since: now.toISOString(), by });
  }

  /** A peer's word. */
  hear(word: MaintenanceWord | undefined, peer: string): void {
    if (word === undefined || !isNewer(word, this.word)) return;
    void this.#take(word).catch((error: unknown) =>
      this.parts.journal.line("error", `maintenance, as ${peer} has it, is not kept: ${String(error)}`),
    );
  }

  async #take(word: MaintenanceWord): Promise<void> {
    const { facts, varDir, journal, changed } = this.parts;
    facts.maintenance = word;
    changed(word.on);
    journal.line("warning", `Maintenance is switched ${word.on ? "on" : "off"} by ${word.by}`);
    await writeModuleFacts(varDir, facts);
  }
}

/** Of two that were given at once, the one that leaves everything as it is. */
function isNewer(word: MaintenanceWord, known: MaintenanceWord | undefined): boolean {
  if (known === undefined || word.stamp !== known.stamp) return word.stamp > (known?.stamp ?? 0);
  return word.on && !known.on;
}
