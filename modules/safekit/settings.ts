/**
 * Makes the settings of a translation into a configuration that this version takes: whatever its schema refuses is taken out and said.
 */
import * as v from "valibot";
import { crossChecks } from "../cross_checks.ts";
import { moduleSchema } from "../schema.ts";
import type { Verdict } from "./row.ts";

type Path = readonly (string | number)[];

/** One thing of the package, and what became of it. */
export interface Entry {
  /** Of userconfig.xml, from 1; 0 for a file of the package. */
  line: number;
  /** The element's name, or the file's path. */
  element: string;
  attribute?: string;
  /** The attribute's value, or the rule. */
  text?: string;
  /** False: SafeKit's default of an attribute that is not there. */
  given?: boolean;
  verdict: Verdict;
  say: string;
  /** The element in the file; attributes of one element share it. */
  source?: object;
  /** Its value could not be carried over. */
  refused?: boolean;
  /** It says nothing without the rest of its element. */
  part?: boolean;
  /** Where in module.yaml, and what. */
  to?: Path;
  value?: unknown;
}

/** One value of module.yaml. */
export interface Setting {
  path: Path;
  value: unknown;
  entry: Entry;
}

/** Each round takes something out; what is left after so many is a mistake of this program. */
const ENOUGH_ROUNDS = 5000;

/** A configuration that the schema takes; entries of the settings that were taken out are changed accordingly. */
export function settle(kind: string, settings: readonly Setting[]): Record<string, unknown> {
  let live = [...settings];
  for (let round = 0; round < ENOUGH_ROUNDS; round++) {
    live = renumbered(live);
    const config = { kind, ...assemble(live) };
    const result = v.safeParse(moduleSchema, config);
    const problems = result.success
      ? crossChecks(result.output, null).slice(0, 1)
      : result.issues.map(findingOf);
    if (problems.length > 0) {
      const index = new PathIndex(live);
      const culprits = new Map<Setting, string>();
      for (const { path, message } of problems)
        for (const setting of index.belonging(path)) culprits.set(setting, message);
      for (const [{ entry }, message] of culprits) refuse(entry, `module.yaml does not take it: ${message}`);
      live = live.filter((setting) => !culprits.has(setting));
    } else if (result.success) {
      for (const { path, entry } of live) if (entry.to?.length === path.length) entry.to = path;
      return config;
    }
  }
  throw new Error("a translation does not settle");
}

function refuse(entry: Entry, say: string): void {
  Object.assign(entry, { verdict: "none", say, refused: true });
  delete entry.to;
}

/** What says something only with the rest of its element is not taken where that is not. Call it after `settle`. */
export function settleParts(entries: readonly Entry[]): void {
  const elements = Map.groupBy(entries, ({ source }) => source);
  for (const [source, own] of elements) {
    const refused = own.find((entry) => entry.refused);
    if (source === undefined || !refused || own.some(({ to }) => to !== undefined)) continue;
    for (const entry of own) if (entry.part) Object.assign(entry, { verdict: "none", say: refused.say });
  }
}

function findingOf(issue: v.BaseIssue<unknown>): { path: Path; message: string } {
  const path = (issue.path ?? []).map(({ key }) => (typeof key === "number" ? key : String(key)));
  return { path, message: issue.message };
}

/** Settings by path: those at it, and those at or below it. */
class PathIndex {
  readonly #at = new Map<string, Setting[]>();
  readonly #below = new Map<string, Setting[]>();

  constructor(settings: readonly Setting[]) {
    const add = (map: Map<string, Setting[]>, path: Path, setting: Setting) => {
      const key = JSON.stringify(path);
      const list = map.get(key);
      if (list) list.push(setting);
      else map.set(key, [setting]);
    };
    for (const setting of settings) {
      add(this.#at, setting.path, setting);
      for (let depth = 1; depth <= setting.path.length; depth++)
        add(this.#below, setting.path.slice(0, depth), setting);
    }
  }

  /** The settings that a problem is about: at or below its path, or on the way to it; else those of the nearest part around it that has any. */
  belonging(path: Path): Setting[] {
    for (let depth = path.length; depth > 0; depth--) {
      const key = JSON.stringify(path.slice(0, depth));
      const found = this.#at.get(key) ?? this.#below.get(key);
      if (found) return found;
    }
    throw new Error(`nothing of the translation is at ${path.join(".")}`);
  }
}

/** The same with the numbers of each list counting from 0 without gaps. */
function renumbered(settings: readonly Setting[]): Setting[] {
  const numbers = new Map<string, Map<number, number>>();
  return settings.map((setting) => {
    const path: (string | number)[] = [];
    for (const [depth, key] of setting.path.entries()) {
      if (typeof key !== "number") {
        path.push(key);
        continue;
      }
      const list = JSON.stringify(setting.path.slice(0, depth));
      const taken = numbers.get(list) ?? new Map<number, number>();
      numbers.set(list, taken);
      if (!taken.has(key)) taken.set(key, taken.size);
      path.push(taken.get(key)!);
    }
    return { ...setting, path };
  });
}

/** Values at paths as one value. */
function assemble(settings: readonly Setting[]): Record<string, unknown> {
  const root = holder();
  for (const { path, value } of settings) {
    let at: object = root;
    for (const [depth, key] of path.entries()) {
      if (depth === path.length - 1) Reflect.set(at, key, structuredClone(value));
      else {
        if (!Object.hasOwn(at, key))
          Reflect.set(at, key, typeof path[depth + 1] === "number" ? [] : holder());
        at = Object(Reflect.get(at, key));
      }
    }
  }
  return root;
}

/** A mapping in which no name means more than itself: names come from the package. */
function holder(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>;
}
