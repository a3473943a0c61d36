/**
 * What a new revision of a module changes, and whether that may happen while the module runs. Pure.
 *
 * What the daemon looks up each time that it needs it (scripts, limits, checks, heartbeats) is applied live. What is built into a mount, an
 * address or the pair itself needs the module stopped, on every node, and is said before anything is touched.
 */
import { parse } from "@std/yaml";
import type { ModuleConfig } from "../schema.ts";
import { byName } from "./line_diff.ts";

/** One difference. */
export interface Change {
  /** `timeouts.start`, or a file. */
  what: string;
  how: "live" | "stop";
  /** What changes and what follows from it, for people. */
  words: string;
}

/** A revision, as far as the decision needs it. */
export interface Contents {
  config: ModuleConfig;
  /** The text of module.yaml. */
  yaml: string;
  /** What rules.ts comes to. */
  rules?: ModuleConfig["rules"];
  /** Path to an identity of the content (and of whether it may be run). */
  files: ReadonlyMap<string, string>;
}

/** Settings that may change while the module runs, and from when on the new value counts. */
const LIVE: Readonly<Record<string, string>> = {
  heartbeat: "counts at once",
  boot: "counts at the next boot",
  probe: "counts within a second",
  maxLoop: "counts at once",
  timeouts: "counts from the next script on",
  vars: "scripts see it from their next run on; what runs is not started again",
  secrets: "scripts get it from their next run on",
  permissions: "counts from the next script on",
  processes: "counts at once",
  checkers: "counts at once",
  rules: "counts at once",
  failover: "counts at once",
  failback: "counts from the next reintegration on",
  "loadBalancing.weights": "counts at once for new clients; connections stay where they are",
  "loadBalancing.priority": "counts at once for new clients; connections stay where they are",
};
const LONGEST_VALUE = 60;

/** What differs from `before` (null: the module is new), in the order in which people read a module. */
export function planChange(before: Contents | null, after: Contents): Change[] {
  if (before === null) return [];
  return [...settingChanges(before, after), ...fileChanges(before.files, after.files)];
}

/** The changes that need the module stopped. */
export function needsStop(changes: readonly Change[]): Change[] {
  return changes.filter(({ how }) => how === "stop");
}

function settingChanges(before: Contents, after: Contents): Change[] {
  const old = written(before);
  const next = written(after);
  const changes: Change[] = [];
  for (const path of new Set([...old.keys(), ...next.keys()])) {
    const from = old.get(path) ?? "not set";
    const to = next.get(path) ?? "not set";
    if (from === to) continue;
    const key = Object.keys(LIVE).find(
      (live) => path === live || (/^[.[]/.test(path.slice(live.length)) && path.startsWith(live)),
    );
    const words = `${path}: ${from} -> ${to}`;
    if (effective(before.config, path) === effective(after.config, path))
      changes.push({ what: path, how: "live", words: `${words}: means the same` });
    else if (key !== undefined) changes.push({ what: path, how: "live", words: `${words}: ${LIVE[key]}` });
    else changes.push({ what: path, how: "stop", words: `${words}: only while the module is stopped` });
  }
  return changes;
}

/** Every setting as it is written, with the rules of rules.ts among those of module.yaml. */
function written({ yaml, rules }: Contents): Map<string, string> {
  return new Map([...leaves(parse(yaml)), ...(rules === undefined ? [] : leaves(rules, "rules"))]);
}

/** What a setting comes to, with its default. */
function effective(config: ModuleConfig, path: string): string {
  let value: unknown = config;
  for (const key of path.split(/[.[\]]+/).filter((part) => part !== ""))
    value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  return JSON.stringify(value) ?? "";
}

/** Every value with its path, as people write it. A mapping or list without anything in it is a value. */
function leaves(value: unknown, path = "", found = new Map<string, string>()): Map<string, string> {
  const entries: [string, unknown][] = Array.isArray(value)
    ? value.map((item, index) => [`${path}[${index}]`, item])
    : typeof value === "object" && value !== null
      ? Object.entries(value).map(([key, item]) => [path === "" ? key : `${path}.${key}`, item])
      : [];
  if (entries.length === 0) {
    const text = JSON.stringify(value) ?? "nothing";
    found.set(path, text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text);
  }
  for (const [at, item] of entries) leaves(item, at, found);
  return found;
}

function fileChanges(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): Change[] {
  const changes: Change[] = [];
  for (const file of [...new Set([...before.keys(), ...after.keys()])].sort(byName)) {
    const [from, to] = [before.get(file), after.get(file)];
    if (file === "module.yaml" || from === to) continue;
    const verb = from === undefined ? "new" : to === undefined ? "gone" : "changed";
    changes.push({ what: file, how: "live", words: `${file}: ${verb}: ${consequence(file)}` });
  }
  return changes;
}

function consequence(file: string): string {
  if (/^rules\.(ts|json)$/.test(file)) return "counts by the rules that it comes to";
  if (/^(hooks|checkers)\//.test(file)) return "counts from its next run on; what runs is not started again";
  if (/(^|\/)README\.md$|\.test\.ts$|^(deno|tsconfig)\.json$/.test(file)) return "no effect on what runs";
  return "seen by the scripts that use it, from their next run on";
}
