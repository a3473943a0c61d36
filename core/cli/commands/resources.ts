/**
 * Commands about what a module's checkers found, and about the checkers themselves.
 */
import type { ArgumentSpec, Command } from "../command.ts";
import { ask } from "../node.ts";

const MODULE: ArgumentSpec = { name: "NAME", help: "the module" };
const RESOURCE: ArgumentSpec = { name: "RESOURCE", help: "the resource's name, such as tcp.db" };

/** The module's place in the API. */
function at(module: string): string {
  return `/modules/${encodeURIComponent(module)}`;
}

/** See the top of the file. */
export const RESOURCE_COMMANDS: readonly Command[] = [
  {
    name: "resources",
    summary: "Show every resource of a module: its state, since when, why, and what it was before",
    arguments: [MODULE],
    changes: "Nothing.",
    examples: ["holdfast resources db", "holdfast resources db --all --json"],
    remote: true,
    run: (invocation) =>
      ask(invocation, "resources", "GET", `${at(invocation.arguments["NAME"]!)}/resources`),
  },
  {
    name: "get",
    summary: "Print the state of one resource: init, up, down or unknown",
    arguments: [MODULE, RESOURCE],
    changes: "Nothing.",
    examples: ["holdfast get db tcp.db"],
    remote: true,
    run: (invocation) => {
      const { NAME, RESOURCE: resource } = invocation.arguments;
      return ask(
        invocation,
        "get",
        "GET",
        `${at(NAME!)}/resources?resource=${encodeURIComponent(resource!)}`,
      );
    },
  },
  {
    name: "set",
    summary: "Set a resource that no checker sets: rules act on it",
    arguments: [MODULE, RESOURCE, { name: "STATE", help: "up or down", choices: ["up", "down"] }],
    changes: "The resource, on this node, until it is set again or the daemon restarts.",
    examples: ["holdfast set db custom.backup down"],
    remote: true,
    run: (invocation) => {
      const { NAME, RESOURCE: resource, STATE: state } = invocation.arguments;
      return ask(invocation, "set", "POST", `${at(NAME!)}/resources`, { resource, state });
    },
  },
  {
    name: "maintenance",
    summary: "Work on a module: while it is on, nothing is restarted, failed over or stopped by itself",
    arguments: [MODULE, { name: "SWITCH", help: "on or off", choices: ["on", "off"] }],
    changes:
      "The module's setting, on all its nodes; one that is away takes it over when it is back. It survives restarts of daemons and machines.",
    details:
      "Checkers go on looking, heartbeats and replication go on, commands of people work. A node that dies is not replaced: holdfast prim on the other one is a person's decision.",
    examples: ["holdfast maintenance db on", "holdfast maintenance db off"],
    remote: true,
    run: (invocation) => {
      const { NAME, SWITCH } = invocation.arguments;
      return ask(invocation, "maintenance", "POST", `${at(NAME!)}/maintenance`, { on: SWITCH === "on" });
    },
  },
  {
    name: "checker",
    summary: "Switch the checkers of a module on or off, or one of them",
    arguments: [
      MODULE,
      { name: "SWITCH", help: "on or off", choices: ["on", "off"] },
      { name: "ID", help: "one checker's resource, such as tcp.db; without it every one", optional: true },
    ],
    changes: "The node's own setting for this module; it survives restarts of the daemon and of the machine.",
    details: "A checker that is off does not look, and its resource is unknown: no rule acts on it.",
    examples: ["holdfast checker db off", "holdfast checker db off tcp.db --all", "holdfast checker db on"],
    remote: true,
    run: (invocation) => {
      const { NAME, SWITCH, ID } = invocation.arguments;
      const body = { resource: ID ?? null, on: SWITCH === "on" };
      return ask(invocation, "checker", "POST", `${at(NAME!)}/checker`, body);
    },
  },
];
