/**
 * The resources of a module on this node: what each was last found to be, since when, and what it was before.
 */

import { byName } from "../../../modules/history/line_diff.ts";
import type { NodeStatus } from "../engine.ts";
import type { Journal } from "../journal.ts";

/** One change of a resource. */
export interface ResourceChange {
  /** ISO time. */
  time: string;
  state: string;
  detail: string;
}

/** Changes of one resource that are remembered: the log has them all. */
const HISTORY_LENGTH = 50;

/** See the top of the file. */
export class ModuleResources {
  #all: NodeStatus["resources"] = {};
  readonly #history = new Map<string, ResourceChange[]>();

  constructor(
    private readonly journal: Journal,
    /** A resource has another state than before. */
    private readonly changed: (name: string, state: string, detail: string) => void,
  ) {}

  /** Every resource by its name, as `status` shows them. */
  get all(): NodeStatus["resources"] {
    return this.#all;
  }

  /** By name the state alone, as the peers are told. */
  get states(): Record<string, string> {
    return Object.fromEntries(Object.entries(this.#all).map(([name, { state }]) => [name, state]));
  }

  /** What a resource has been, the oldest first. */
  history(name: string): readonly ResourceChange[] {
    return this.#history.get(name) ?? [];
  }

  /** A resource was looked at. */
  note(name: string, state: string, detail: string): void {
    const known = this.#all[name];
    const since = known?.state === state ? known.since : new Date().toISOString();
    this.#all[name] = { state, since, ...(detail ? { detail } : {}) };
    if (known?.state === state) return;
    this.#history.set(name, [...this.history(name), { time: since, state, detail }].slice(-HISTORY_LENGTH));
    this.journal.line("event", `Resource ${name} set to ${state}${detail ? `: ${detail}` : ""}`);
    this.changed(name, state, detail);
  }

  /** Nothing sets it any more. */
  forget(name: string): void {
    if (this.#all[name] === undefined) return;
    this.changed(name, "unknown", "");
    delete this.#all[name];
    this.#history.delete(name);
  }
}

/** Changes of a resource that the list for people shows. */
const SHOWN_CHANGES = 5;

/** Every resource with its last changes, for people. */
export function resourcesText(
  module: string,
  resources: Readonly<
    Record<string, NodeStatus["resources"][string] & { history: readonly ResourceChange[] }>
  >,
): string {
  const names = Object.keys(resources).sort(byName);
  if (names.length === 0) return `${module} has no resource here`;
  return names
    .flatMap((name) => {
      const { state, since, detail, history } = resources[name]!;
      const before = history.slice(-1 - SHOWN_CHANGES, -1).reverse();
      return [
        `${name}  ${state}  since ${since}${detail ? `  ${detail}` : ""}`,
        ...before.map((change) =>
          `    before: ${change.state} from ${change.time}  ${change.detail}`.trimEnd(),
        ),
      ];
    })
    .join("\n");
}
