/**
 * Scenarios in text: commands, a line of dashes, and what happened, in words. Readable without knowing the code.
 *
 *   cluster failover=manual failback=n1 onIsolation=wait     (first, optional)
 *   boot n1 n2 | crash n1 | start n1 | stop n1 | swap n1 | prim n1 --force | second n1 --full | restart n1 | stopstart n1 | forcestop n1
 *   cut | cut lan | cut from n1 | heal | stun n1 4s | daemon-killed n1 | fails start_prim n1 | mends n1 | run 3s | status
 */
import type { Command, FailoverConfig } from "../../core/failover/types.ts";
import { LANS } from "./failover_network.ts";
import type { SimNode } from "./failover_node.ts";
import { World } from "./failover_world.ts";

const SEPARATOR = "----";

/** Runs a scenario and returns its text with what happened now. Throws on a line that it does not understand. */
export function playScenario(text: string): string {
  const blocks = text.split(/\n(?=\n)/).map((block) => block.replace(/^\n+/, ""));
  let world: World | null = null;
  const result: string[] = [];
  for (const block of blocks) {
    const [commands = ""] = block.split(`\n${SEPARATOR}`);
    const lines = commands.split("\n").filter((line) => line.trim() !== "");
    const told: string[] = [];
    let acts = false;
    for (const line of lines) {
      if (line.startsWith("#")) continue;
      acts = true;
      if (line.startsWith("cluster")) {
        world = new World({ seed: 1, story: true, config: configOf(line) });
        continue;
      }
      world ??= new World({ seed: 1, story: true });
      told.push(...obey(world, line));
    }
    result.push(acts && told.length > 0 ? [...lines, SEPARATOR, ...told].join("\n") : lines.join("\n"));
  }
  return `${result.filter((block) => block !== "").join("\n\n")}\n`;
}

function configOf(line: string): Partial<FailoverConfig> {
  const entries = line
    .split(/\s+/)
    .slice(1)
    .map((word) => word.split("="));
  return Object.fromEntries(entries) as Partial<FailoverConfig>;
}

function obey(world: World, line: string): string[] {
  const [verb = "", ...words] = line.trim().split(/\s+/);
  const nodes = words.flatMap((word) => world.nodes.filter(({ name }) => name === word));
  const told = world.story.length;
  if (verb === "status") return world.nodes.map(statusLine);
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
      node.stun(duration(words[1] ?? ""));
      return;
    case "daemon-killed":
      node.killDaemon(true);
      return;
    case "fails":
      node.failing.add(words[0] ?? "");
      return;
    case "mends":
      node.failing.clear();
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
