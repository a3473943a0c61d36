/**
 * The resources of a module on this node: what each was last found to be, and since when.
 */
import type { NodeStatus } from "./engine.ts";
import type { Journal } from "./journal.ts";

/** See the top of the file. */
export class ModuleResources {
  #all: NodeStatus["resources"] = {};

  constructor(
    private readonly journal: Journal,
    /** A resource has another state than before. */
    private readonly changed: (name: string, state: string) => void,
  ) {}

  /** Every resource by its name, as `status` shows them. */
  get all(): NodeStatus["resources"] {
    return this.#all;
  }

  /** By name the state alone, as the peers are told. */
  get states(): Record<string, string> {
    return Object.fromEntries(Object.entries(this.#all).map(([name, { state }]) => [name, state]));
  }

  /** A resource was looked at. */
  note(name: string, state: string, detail: string): void {
    if (this.#all[name]?.state === state) return;
    this.#all[name] = { state, since: new Date().toISOString(), ...(detail ? { detail } : {}) };
    this.journal.line("event", `Resource ${name} set to ${state}`);
    this.changed(name, state);
  }
}
