/**
 * Scenarios in text: commands, a line of dashes, and what happened, in words. Readable without knowing the code.
 *
 *   data                                                     (first: the data path, with the words of replication_scenario.ts)
 *   cluster failover=manual failback=n1 onIsolation=wait     (first, optional)
 *   boot n1 n2 | crash n1 | start n1 | stop n1 | swap n1 | prim n1 --force | second n1 --full | restart n1 | stopstart n1 | forcestop n1
 *   cut | cut lan | cut from n1 | heal | stun n1 4s [unseen] | daemon-killed n1 | daemon-stopped n1 2s | fails start_prim n1 | mends n1
 *   disk-fails n1 | disk-slow n1 300 | disk-good n1 | process-dies n1 | run 3s | status
 *   down n1 tcp.db | up n1 n2 ping.gateway: what the checkers of failover_checks.ts look at (first: cluster checks)
 *   mirror n1: both nodes up, n1 PRIM, n2 SECOND, without telling how | judge: what each node is, and what the application was told is where
 */
import type { Command, FailoverConfig } from "../../core/failover/types.ts";
import { WATCHED } from "./failover_checks.ts";
import { LANS } from "./failover_network.ts";
import type { SimNode } from "./failover_node.ts";
import { World } from "./failover_world.ts";
import { DataScenario } from "./replication_scenario.ts";

const SEPARATOR = "----";

/** What carries out the lines of a scenario: the failover core's world, or the data path's. */
type Player = (line: string) => string[];

/** Runs a scenario and returns its text with what happened now. Throws on a line that it does not understand. */
export function playScenario(text: string): string {
  const blocks = text.split(/\n(?=\n)/).map((block) => block.replace(/^\n+/, ""));
  let player: Player | null = null;
  const result: string[] = [];
  for (const block of blocks) {
    const [commands = ""] = block.split(`\n${SEPARATOR}`);
    const lines = commands.split("\n").filter((line) => line.trim() !== "");
    const told: string[] = [];
    let acts = false;
    for (const line of lines) {
      if (line.startsWith("#")) continue;
      acts = true;
      if (line === "data") {
        const scenario = new DataScenario();
        player = (command) => scenario.obey(command);
      } else if (line.startsWith("cluster")) player = failoverPlayer(configOf(line));
      else {
        player ??= failoverPlayer({});
        told.push(...player(line));
      }
    }
    result.push(acts && told.length > 0 ? [...lines, SEPARATOR, ...told].join("\n") : lines.join("\n"));
  }
  return `${result.filter((block) => block !== "").join("\n\n")}\n`;
}

function failoverPlayer(config: Partial<FailoverConfig>): Player {
  const world = new World({ seed: 1, story: true, config });
  return (line) => obey(world, line);
}

function configOf(line: string): Partial<FailoverConfig> {
  const entries = line
    .split(/\s+/)
    .slice(1)
    .map((word) => word.split("="));
  if (entries.some(([key]) => key === "checks")) return { watched: WATCHED };
  return Object.fromEntries(entries) as Partial<FailoverConfig>;
}

function obey(world: World, line: string): string[] {
  const [verb = "", ...words] = line.trim().split(/\s+/);
  const nodes = words.flatMap((word) => world.nodes.filter(({ name }) => name === word));
  const told = world.story.length;
  if (verb === "status") return world.nodes.map(statusLine);
  if (verb === "judge") return judgement(world);
  if (verb === "mirror") return bringUp(world, nodes[0]!);
  if (verb === "run") {
    world.clock.runUntil(world.clock.now + duration(words[0] ?? ""));
    return world.story.slice(told);
  }
  if (verb === "cut" || verb === "heal") network(world, verb, words);
  else if (nodes.length === 0) throw new Error(`scenario: no node in "${line}"`);
  for (const node of nodes) act(node, verb, words);
  return world.story.slice(told);
}

function network(world: World, verb: string, words: readonly string[]): void {
  if (verb === "heal") {
    world.network.heal();
    world.tell("the network is whole");
    return;
  }
  const lans = LANS.filter((lan) => words.length === 0 || words.includes(lan) || words.includes("from"));
  const from = world.nodes.filter(({ name }) => !words.includes("from") || words.includes(name));
  for (const lan of lans) for (const node of from) world.network.set(lan, node.index, true);
  world.tell(`the network is cut: ${lans.join(", ")} from ${from.map(({ name }) => name).join(" and ")}`);
}

function act(node: SimNode, verb: string, words: readonly string[]): void {
  switch (verb) {
    case "boot":
      node.boot();
      return;
    case "crash":
      node.crash();
      return;
    case "stun":
      node.stun(duration(words[1] ?? ""), words[2] !== "unseen");
      return;
    case "daemon-killed":
      node.killDaemon(true);
      return;
    case "daemon-stopped":
      node.stopDaemon(duration(words[1] ?? ""));
      return;
    case "process-dies":
      node.killProcess();
      return;
    case "disk-fails":
      node.failDisk("fsync: input/output error");
      return;
    case "disk-slow":
      node.slowness = Number(words[1]);
      return;
    case "disk-good":
      node.slowness = 1;
      return;
    case "fails":
      node.hooks.failing.add(words[0] ?? "");
      return;
    case "down":
    case "up":
      for (const word of words) if (word.includes(".")) node.checks.set(word, verb === "down");
      return;
    case "mends":
      node.hooks.failing.clear();
      return;
    case "prim":
      node.command({ name: "prim", force: words.includes("--force") }, "admin");
      return;
    case "second":
      node.command({ name: "second", full: words.includes("--full") }, "admin");
      return;
    case "start":
    case "stop":
    case "swap":
    case "restart":
    case "stopstart":
    case "forcestop":
      node.command({ name: verb } satisfies Command, "admin");
      return;
    default:
      throw new Error(`scenario: what is "${verb}"?`);
  }
}

/** Both nodes are up, and this one is primary: where most stories begin. */
function bringUp(world: World, first: SimNode): string[] {
  for (const node of world.nodes) node.boot();
  for (const node of world.nodes) node.command({ name: "start" }, "admin");
  world.clock.runUntil(1000);
  first.command({ name: "prim", force: false }, "admin");
  world.clock.runUntil(4000);
  return world.nodes.map(statusLine);
}

/** How the story ends. */
function judgement(world: World): string[] {
  const { acknowledged_ } = world.check;
  const [a, b] = world.nodes.map(({ disk }) => disk.copy);
  const equal = a!.ops.size === b!.ops.size && [...a!.ops].every((op) => b!.ops.has(op));
  const holds = world.nodes.map((node) => {
    const lacking = acknowledged_.filter(({ op }) => !node.node_has(op)).length;
    const half = node.disk.copy.mixed ? ", half copied" : "";
    return `of the writes that the application was told are durable, ${node.name} lacks ${lacking === 0 ? "none" : lacking}${half}`;
  });
  return [...world.nodes.map(statusLine), `the copies are ${equal ? "equal" : "different"}`, ...holds];
}

function statusLine(node: SimNode): string {
  if (!node.up) return `${node.name}  (no power)`;
  const { state, readiness, upToDate, reason, remedy } = node.describe();
  const help = remedy === undefined ? "" : `  | remedy: ${remedy}`;
  return `${node.name}  ${state} ${readiness}, ${upToDate === true ? "up to date" : "not up to date"}: ${reason}${help}`;
}

function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(text);
  if (match === null) throw new Error(`scenario: "${text}" is no duration`);
  return Number(match[1]) * (match[2] === "s" ? 1000 : 1);
}
