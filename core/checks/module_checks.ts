/**
 * The checks of a module, with the defaults of their types, and the rules that they stand for (after SafeKit's, safekit.md 3.9 and 3.10). Pure.
 */
import type { ModuleConfig } from "../../modules/schema.ts";
import type { CheckWhen, Rule, RuleAction, Watched } from "../failover/types.ts";
import { RESOURCE_STATES, type ResourceState } from "./condition.ts";
import { parseCondition } from "./condition_text.ts";
import type { Rhythm } from "./judgement.ts";

type Checkers = ModuleConfig["checkers"];
type Settings<Type extends keyof Checkers> = Checkers[Type][string];

/** What is looked at, and how. */
export type Subject =
  | { type: "tcp"; address: string }
  | ({ type: "http" } & Pick<Settings<"http">, "url" | "status" | "body" | "verify">)
  | { type: "ping"; address: string }
  | { type: "interface"; name: string; address: string | undefined }
  | { type: "ip"; address: string }
  | { type: "module"; name: string; on: "here" | "anywhere" }
  | { type: "disk"; path: string; minFree: number; write: boolean }
  | { type: "custom"; name: string }
  | { type: "service"; name: string }
  | ({ type: "process" } & Pick<
      ModuleConfig["processes"][string],
      "regex" | "argumentsRegex" | "pidFile" | "unit" | "min" | "max"
    >);

/** One check. */
export interface Check {
  /** The resource that it sets: `tcp.db`. */
  resource: string;
  subject: Subject;
  when: CheckWhen;
  rhythm: Rhythm;
  action: RuleAction | "none";
  /** Where module.yaml says so. */
  path: readonly string[];
}

/** What a type does when its checker does not say. `rule` is the name of its rule, as SafeKit's log has it. */
interface Defaults {
  when: CheckWhen;
  action: RuleAction | "none";
  rule: (name: string) => string;
}

const DEFAULTS: Record<Subject["type"], Defaults> = {
  tcp: { when: "prim", action: "restart", rule: (name) => `t_${name}` },
  http: { when: "prim", action: "restart", rule: (name) => `h_${name}` },
  ping: { when: "pre", action: "wait", rule: (name) => `p_${name}` },
  interface: { when: "pre", action: "wait", rule: (name) => `interface_failure_${name}` },
  ip: { when: "prim", action: "stopstart", rule: (name) => `ip_failure_${name}` },
  module: { when: "pre", action: "wait", rule: (name) => `module_failure_${name}` },
  disk: { when: "prim", action: "none", rule: (name) => `disk_failure_${name}` },
  custom: { when: "prim", action: "none", rule: (name) => `c_${name}` },
  process: { when: "prim", action: "restart", rule: (name) => `process_failure_${name}` },
  service: { when: "prim", action: "restart", rule: (name) => `service_failure_${name}` },
};

/** An application may need so long after its start hook has returned, ms. What looks at things outside it gets no grace. */
const GRACE_MS = 10_000;

/** How long a look may take, unless it is due again sooner, ms. */
const TIMEOUT_MS = 5000;

/** Between two looks at a service, ms: its death is noticed at once. */
const SERVICE_MS = 10_000;

/** A resource that is set without a checker, and what it can be. */
export interface Unchecked {
  /** A word in angle brackets stands for any: `custom.<name>`, which people set by hand. */
  name: string;
  states: readonly ResourceState[];
}

const NOTED: readonly ResourceState[] = ["init", "up", "down"];
/** Not set until it was first asked. */
const ASKED: readonly ResourceState[] = ["up", "down", "unknown"];

/**
 * What is set without a checker in such a module: a mirror's data, the other nodes' heartbeats, the cluster's witness, the port of the probe. `names` are
 * the cluster's, null where it is not known.
 */
export function uncheckedOf(
  config: ModuleConfig,
  names: { nodes: readonly string[]; lans: readonly string[] } | null,
): Unchecked[] {
  const { kind } = config;
  const [nodes, lans] = [
    config.nodes ?? names?.nodes ?? ["<node>"],
    config.heartbeat.lans ?? names?.lans ?? ["<lan>"],
  ];
  const beats = kind === "mirror" ? lans : lans.flatMap((lan) => nodes.map((node) => `${lan}.${node}`));
  const replicates = kind === "mirror" && config.replicate !== undefined;
  return [
    ...(replicates ? ["uptodate", "insync"] : []).map((name) => ({
      name: `replication.${name}`,
      states: NOTED,
    })),
    ...(kind === "light" ? [] : beats).map((name) => ({ name: `heartbeat.${name}`, states: NOTED })),
    ...(kind === "mirror" ? [{ name: "splitbrain.witness", states: ASKED }] : []),
    ...(config.probe ? [{ name: "probe.port", states: ASKED }] : []),
    { name: "custom.<name>", states: RESOURCE_STATES },
  ];
}

/** Every check of a module, in the order of module.yaml's types. */
export function checksOf(config: ModuleConfig): Check[] {
  const { checkers, processes, services } = config;
  return [
    ...each(checkers.tcp, "tcp", ({ address }) => ({ type: "tcp", address })),
    ...each(checkers.http, "http", ({ url, status, body, verify }) => ({
      type: "http",
      url,
      status,
      body,
      verify,
    })),
    ...each(checkers.ping, "ping", ({ address }) => ({ type: "ping", address })),
    ...each(checkers.interface, "interface", ({ name, address }) => ({ type: "interface", name, address })),
    ...each(checkers.ip, "ip", ({ address }) => ({ type: "ip", address })),
    ...each(checkers.module, "module", ({ name, on }) => ({ type: "module", name, on })),
    ...each(checkers.disk, "disk", ({ path, minFree, write }) => ({ type: "disk", path, minFree, write })),
    ...each(checkers.custom, "custom", (_, name) => ({ type: "custom", name })),
    ...each(processes, "process", ({ regex, argumentsRegex, pidFile, unit, min, max }) => ({
      type: "process",
      regex,
      argumentsRegex,
      pidFile,
      unit,
      min,
      max,
    })),
    ...services.map(ofService),
  ];
}

/** A service is watched without a word in module.yaml. It was active when the start ended: it needs no grace. */
function ofService(name: string): Check {
  const { when, action } = DEFAULTS.service;
  const plain = name.replace(/[^A-Za-z0-9_-]/g, "_");
  // Longer than systemd is waited for: what its silence means is for the probe to say.
  const rhythm = { interval: SERVICE_MS, timeout: SERVICE_MS, failures: 1, successes: 1, grace: 0 };
  const subject: Subject = { type: "service", name };
  return { resource: `service.${plain}`, subject, when, rhythm, action, path: ["services", plain] };
}

function each<Type extends Subject["type"], Setting extends Settings<"custom">>(
  named: Readonly<Record<string, Setting>>,
  type: Type,
  subjectOf: (settings: Setting, name: string) => Subject,
): Check[] {
  const defaults = DEFAULTS[type];
  return Object.entries(named).map(([name, settings]) => {
    const when = settings.when ?? defaults.when;
    // What is looked at before the application runs cannot be mended by starting that again.
    const usual = when === "pre" && defaults.action !== "none" ? "wait" : defaults.action;
    const { interval, failures, successes } = settings;
    const { timeout = Math.min(TIMEOUT_MS, interval), grace = when === "pre" ? 0 : GRACE_MS } = settings;
    return {
      resource: `${type}.${name}`,
      subject: subjectOf(settings, name),
      when,
      rhythm: { interval, timeout, failures, successes, grace },
      action: settings.action ?? usual,
      path: type === "process" ? ["processes", name] : ["checkers", type, name],
    };
  });
}

/** Can this one be started again without the others? A service can; a process where its unit or a hook says how. */
export function canRestartAlone(
  { subject }: Pick<Check, "subject">,
  hooks: ReadonlyMap<string, unknown>,
): boolean {
  if (subject.type === "service") return true;
  return subject.type === "process" && (subject.unit !== undefined || hooks.has("restart_process"));
}

/** By name, the rules that the checkers of a module stand for: the resource of each. */
export function impliedRules(config: ModuleConfig): ReadonlyMap<string, string> {
  return new Map(
    checksOf(config).flatMap((check): [string, string][] =>
      check.action === "none" ? [] : [[ruleNameOf(check), check.resource]],
    ),
  );
}

/** The rule that a check stands for; the log shows it. */
const ruleNameOf = ({ subject, path }: Check): string => DEFAULTS[subject.type].rule(path.at(-1)!);

/**
 * What the failover core must know: the checks, the rules that they stand for, and those that are written out. `hooks` by name: what can be started
 * again alone depends on them.
 */
export function watchedOf(config: ModuleConfig, hooks: ReadonlyMap<string, unknown>): Watched {
  const checks = checksOf(config);
  return {
    checks: Object.fromEntries(checks.map(({ resource, when }) => [resource, when])),
    rules: [
      ...Object.entries(config.rules).map(([name, { if: words, then: action }]) =>
        ruleOf(name, words, words, action),
      ),
      ...checks.flatMap((check) => {
        const { resource, subject, action } = check;
        if (action === "none") return [];
        const rule = ruleOf(ruleNameOf(check), `${resource} is down`, `${resource} == down`, action);
        const isAlone = action === "restart" && canRestartAlone({ subject }, hooks);
        return [isAlone ? { ...rule, part: resource } : rule];
      }),
    ],
  };
}

function ruleOf(name: string, words: string, condition: string, action: RuleAction): Rule {
  // biome-ignore lint/suspicious/noThenProperty: the contract's own word for what a rule does.
  return { name, words, if: parseCondition(condition), then: action };
}
