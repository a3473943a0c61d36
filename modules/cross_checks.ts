/**
 * What two values of module.yaml say about each other, and about the cluster: one value's own rules are in the schema.
 */
import { comparisons, RESOURCE_STATES } from "../core/checks/condition.ts";
import { ConditionError, parseCondition } from "../core/checks/condition_text.ts";
import { checksOf, impliedRules, uncheckedOf } from "../core/checks/module_checks.ts";
import { nearest } from "./nearest.ts";
import type { ModuleConfig } from "./schema.ts";
import { formatDuration } from "./units.ts";

/** The names of a cluster that a module may refer to. */
export interface ClusterNames {
  nodes: readonly string[];
  lans: readonly string[];
}

/** A sentence about the value at `path`. */
export interface Finding {
  path: readonly (string | number)[];
  message: string;
}

/** "did you mean …" or the list of what there is. */
function choose(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  return near ? `did you mean ${near}?` : `there is ${known.join(", ")}`;
}

/** A packet's mark has room for so many. */
const MOST_OF_A_FARM = 32;

function checkNodes(config: ModuleConfig, cluster: ClusterNames | null): Finding[] {
  const findings: Finding[] = [];
  for (const [index, node] of (config.nodes ?? []).entries()) {
    if (cluster && !cluster.nodes.includes(node))
      findings.push({
        path: ["nodes", index],
        message: `the cluster has no node ${node}: ${choose(node, cluster.nodes)}`,
      });
  }
  if (cluster && config.kind === "mirror" && config.nodes === undefined && cluster.nodes.length !== 2)
    findings.push({
      path: ["nodes"],
      message: `nodes is missing: the cluster has ${cluster.nodes.length} nodes, and a mirror runs on two of them`,
    });
  const own = config.nodes ?? cluster?.nodes;
  if (config.kind === "mirror" && config.failback !== undefined && own && !own.includes(config.failback))
    findings.push({
      path: ["failback"],
      message: `${config.failback} is not a node of this module: ${choose(config.failback, own)}`,
    });
  if (config.kind === "farm" && cluster && config.nodes === undefined && cluster.nodes.length < 2)
    findings.push({
      path: ["kind"],
      message: "a farm has 2 to 32 nodes, and the cluster has one: use light",
    });
  if (config.kind === "farm" && config.virtualIps.length > 0 && (own?.length ?? 2) > MOST_OF_A_FARM)
    findings.push({
      path: ["virtualIps"],
      message: `at most ${MOST_OF_A_FARM} nodes share a virtual IP, and these are ${own!.length}: name them under nodes`,
    });
  if (config.kind === "light" && config.virtualIps.length > 0 && (own?.length ?? 1) > 1)
    findings.push({
      path: ["virtualIps"],
      message: `each node of a light module runs its own, and ${own!.join(", ")} cannot hold one address at once: name one node under nodes`,
    });
  if (config.kind === "farm" && own) {
    const { weights = {}, priority = [] } = config.loadBalancing ?? {};
    const named: [string, string | number][] = [
      ...Object.keys(weights).map((node): [string, string] => [node, node]),
      ...priority.map((node, index): [string, number] => [node, index]),
    ];
    for (const [node, key] of named)
      if (!own.includes(node))
        findings.push({
          path: ["loadBalancing", typeof key === "number" ? "priority" : "weights", key],
          message: `${node} is not a node of this module: ${choose(node, own)}`,
        });
  }
  return findings;
}

function checkLans(config: ModuleConfig, cluster: ClusterNames | null): Finding[] {
  const findings: Finding[] = [];
  const lists: [string, readonly string[] | undefined][] = [["heartbeat", config.heartbeat.lans]];
  if (config.kind === "mirror") lists.push(["replicate", config.replicate?.lans]);
  for (const [owner, lans] of lists) {
    if (lans?.length === 0)
      findings.push({ path: [owner, "lans"], message: "name at least one lan, or remove the line" });
    for (const [index, lan] of (lans ?? []).entries())
      if (cluster && !cluster.lans.includes(lan))
        findings.push({
          path: [owner, "lans", index],
          message: `the cluster has no lan ${lan}: ${choose(lan, cluster.lans)}`,
        });
  }
  const { interval, timeout } = config.heartbeat;
  if (interval !== undefined && timeout !== undefined && timeout < 2 * interval)
    findings.push({
      path: ["heartbeat", "timeout"],
      message: `${formatDuration(timeout)} is less than two intervals of ${formatDuration(interval)}: one lost packet would be a failure`,
    });
  return findings;
}

function checkPaths(config: ModuleConfig): Finding[] {
  const findings: Finding[] = [];
  if (config.kind !== "mirror") return findings;
  const paths = config.replicate?.paths ?? [];
  for (const [index, { path, exclude, only }] of paths.entries()) {
    const at = ["replicate", "paths", index];
    for (const [other, earlier] of paths.slice(0, index).entries()) {
      if (earlier.path === path) findings.push({ path: [...at, "path"], message: `${path} is there twice` });
      else if (`${path}/`.startsWith(`${earlier.path}/`) || `${earlier.path}/`.startsWith(`${path}/`))
        findings.push({
          path: [...at, "path"],
          message: `${path} and ${earlier.path} (replicate.paths[${other}]) lie in each other: replicate the outer one`,
        });
    }
    if (exclude.length > 0 && only.length > 0)
      findings.push({
        path: [...at, "only"],
        message: "exclude and only cannot be combined: keep one of them",
      });
  }
  return findings;
}

function checkAddresses(config: ModuleConfig): Finding[] {
  const seen = new Set<string>();
  const findings: Finding[] = [];
  for (const [index, { address }] of config.virtualIps.entries()) {
    const ip = address.split("/")[0]!.toLowerCase();
    if (seen.has(ip))
      findings.push({ path: ["virtualIps", index, "address"], message: `${ip} is there twice` });
    seen.add(ip);
  }
  if (config.kind !== "farm") return findings;
  if ((config.loadBalancing?.mode ?? "external") === "external" && config.virtualIps.length > 0)
    findings.push({
      path: ["virtualIps"],
      message:
        "a farm with a virtual IP says how its clients are shared out: loadBalancing: { rules: [{ protocol: tcp, ports: [80] }] }",
    });
  if (config.loadBalancing === undefined) return findings;
  const { mode, rules, weights, priority } = config.loadBalancing;
  if (mode !== "external" && rules.length === 0)
    findings.push({ path: ["loadBalancing", "rules"], message: "name at least one rule" });
  if (mode !== "external" && config.virtualIps.length === 0)
    findings.push({
      path: ["loadBalancing"],
      message: `mode: ${mode} shares the clients of a virtual IP out: name one under virtualIps`,
    });
  if (priority.length > 0 && Object.keys(weights).length > 0)
    findings.push({
      path: ["loadBalancing", "priority"],
      message: "priority gives every client to one node, and weights share them out: keep one of them",
    });
  const ours = { rules: rules.length, weights: Object.keys(weights).length, priority: priority.length };
  for (const [key, count] of Object.entries(ours))
    if (mode === "external" && count > 0)
      findings.push({
        path: ["loadBalancing", key],
        message: `with mode: external the load balancer outside decides who serves whom: set it there, and remove ${key}`,
      });
  for (const [index, rule] of rules.entries())
    for (const [place, range] of rule.ports.entries()) {
      if (typeof range === "number") continue;
      const [from = 0, to = 0] = range.split("-").map(Number);
      if (from < 1 || to > 65_535 || from > to)
        findings.push({
          path: ["loadBalancing", "rules", index, "ports", place],
          message: `${range} is not a range of ports between 1 and 65535`,
        });
    }
  return findings;
}

function checkWatchers(config: ModuleConfig): Finding[] {
  const findings: Finding[] = [];
  for (const check of checksOf(config)) {
    const { action, when, path } = check;
    if (when === "pre" && action !== "wait" && action !== "none")
      findings.push({
        path: [...path, "action"],
        message: `a checker with when: pre looks before the application runs, so it can only wait or none, not ${action}`,
      });
    if (when !== "pre" && action === "wait")
      findings.push({
        path: [...path, "action"],
        message: `only a checker with when: pre can wait: one with when: ${when} does not look while the module waits, so nothing would end that`,
      });
  }
  for (const [name, watched] of Object.entries(config.processes)) {
    const { min, max, pidFile, unit } = watched;
    const byName = watched.regex ?? watched.argumentsRegex;
    const selectors = [byName, pidFile, unit].filter((selector) => selector !== undefined).length;
    if (max !== undefined && max < min)
      findings.push({ path: ["processes", name, "max"], message: `${max} is less than min (${min})` });
    if (selectors !== 1)
      findings.push({
        path: ["processes", name],
        message: "say which processes: by regex and argumentsRegex, by pidFile, or by unit, one of the three",
      });
    if (watched.when === "pre")
      findings.push({
        path: ["processes", name, "when"],
        message: "processes run once the application is started: prim, second or both",
      });
  }
  return findings;
}

/** A rule that cannot be read, or asks about what can never be, would never act; of two with one name one would, at times, keep the other from it. */
function checkRules(config: ModuleConfig, cluster: ClusterNames | null): Finding[] {
  const findings: Finding[] = [];
  const checked = checksOf(config).map(({ resource }) => ({ name: resource, states: RESOURCE_STATES }));
  const known = [...checked, ...uncheckedOf(config, cluster)];
  const implied = impliedRules(config);
  for (const [name, { if: words }] of Object.entries(config.rules)) {
    const resource = implied.get(name);
    if (resource !== undefined)
      findings.push({
        path: ["rules", name],
        message: `the checker ${resource} has a rule of that name: choose another, so that the log tells which of the two acted`,
      });
    const refuse = (message: string) => findings.push({ path: ["rules", name, "if"], message });
    try {
      for (const { remote, name: asked, state } of comparisons(parseCondition(words))) {
        const meant = known.filter((resource) => mayMean(asked, resource.name));
        const states = RESOURCE_STATES.filter((one) =>
          meant.some((resource) => resource.states.includes(one)),
        );
        if (remote && config.kind !== "mirror")
          refuse(`remote. asks a mirror's other node, and a ${config.kind} has none`);
        else if (meant.length === 0)
          refuse(
            `nothing sets ${asked}: ${choose(
              asked,
              known.map((resource) => resource.name),
            )}`,
          );
        else if (!states.includes(state) && !remote)
          refuse(`${asked} is ${oneOf(states)} here, never ${state}`);
      }
    } catch (error) {
      if (!(error instanceof ConditionError)) throw error;
      refuse(`at character ${error.offset + 1}: ${error.message}`);
    }
  }
  return findings;
}

/** May what a rule asks about be this resource, in whose name a word in angle brackets stands for any? */
function mayMean(asked: string, name: string): boolean {
  const [parts, known] = [asked.split("."), name.split(".")];
  if (/[*?]$/.test(asked)) return parts[0] === known[0];
  return (
    parts.length === known.length && known.every((word, at) => word === parts[at] || word.startsWith("<"))
  );
}

const oneOf = (words: readonly string[]): string => words.join(", ").replace(/, ([^,]*)$/, " or $1");

/** Everything that does not fit together, in no particular order. Without a cluster its names are not checked. */
export function crossChecks(config: ModuleConfig, cluster: ClusterNames | null): Finding[] {
  return [
    ...checkNodes(config, cluster),
    ...checkLans(config, cluster),
    ...checkPaths(config),
    ...checkAddresses(config),
    ...checkWatchers(config),
    ...checkRules(config, cluster),
  ];
}
