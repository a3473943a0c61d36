/**
 * Commands that move a module from state to state.
 */

import { parseDuration } from "../../../modules/units.ts";
import type { CommandResult, ModuleCommand } from "../../daemon/engine.ts";
import type { ModuleState } from "../../failover/types.ts";
import {
  type ArgumentSpec,
  type Command,
  CommandError,
  EXIT,
  type Invocation,
  type OptionSpec,
} from "../command.ts";
import { ask, request, tellResult } from "../node.ts";

/** The module's place in the API. */
function at(module: string): string {
  return `/modules/${encodeURIComponent(module)}`;
}

const MODULE: ArgumentSpec = { name: "NAME", help: "the module" };

/** A row for a command that the failover core carries out. */
function moduleCommand(
  name: ModuleCommand,
  summary: string,
  changes: string,
  options: Record<string, OptionSpec> = {},
  part: ArgumentSpec | null = null,
): Command {
  const extra = Object.keys(options)
    .map((option) => ` --${option}`)
    .join("");
  return {
    name,
    summary,
    arguments: part === null ? [MODULE] : [MODULE, part],
    options,
    changes,
    examples: [
      `holdfast ${name} db`,
      ...(part === null ? [] : [`holdfast ${name} db service.nginx`]),
      ...(extra ? [`holdfast ${name} db${extra}`] : []),
      `holdfast ${name} db --node n2`,
    ],
    remote: true,
    run: (invocation) => {
      const module = invocation.arguments["NAME"]!;
      const chosen = {
        ...(invocation.flags.has("full") ? { full: true } : {}),
        ...(invocation.flags.has("force") ? { force: true } : {}),
        ...(invocation.target.all ? { everywhere: true } : {}),
        ...(invocation.arguments["ID"] === undefined ? {} : { part: invocation.arguments["ID"] }),
      };
      return ask(invocation, `${name} ${module}`, "POST", `${at(module)}/command`, {
        command: name,
        ...chosen,
      });
    },
  };
}

const STATES: readonly ModuleState[] = ["STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP"];

function parseStates(text: string): ModuleState[] {
  return text.split(",").map((word) => {
    const state = STATES.find((known) => known === word.toUpperCase());
    if (!state)
      throw new CommandError(EXIT.usage, `STATE: "${word}" is no state; the states are ${STATES.join(", ")}`);
    return state;
  });
}

function parseTimeout(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new CommandError(EXIT.usage, `--timeout: ${(error as Error).message}`);
  }
}

/** The primary compares; a secondary that was not named says which node that is. */
async function verify(invocation: Invocation): Promise<CommandResult> {
  const { target, varDir } = invocation;
  const path = `${at(invocation.arguments["NAME"]!)}/verify`;
  const found = await request(invocation, "POST", path);
  const { primary } = (found.data ?? {}) as { primary?: string };
  if (primary === undefined || target.node !== null || target.all) return found;
  return await request({ varDir, target: { node: primary, all: false } }, "POST", path);
}

/** See the top of the file. */
export const CONTROL_COMMANDS: readonly Command[] = [
  moduleCommand(
    "start",
    "Start a module; which role a mirror takes is decided from the data and the peer",
    "Runs the module's hooks; on the primary brings up the virtual IP and mounts the replicated directories.",
  ),
  moduleCommand(
    "stop",
    "Stop a module on this node; the peer of a mirror takes over if it can",
    "Runs the stop hooks, removes the virtual IP, unmounts, and says goodbye to the peer.",
  ),
  moduleCommand(
    "restart",
    "Stop and start the application in place, or one process or service of it, without failover",
    "Runs the stop hooks and the start hooks; role and virtual IP stay. With ID, that one alone: the rest goes on.",
    {},
    { name: "ID", help: "one resource, such as service.nginx or process.worker", optional: true },
  ),
  moduleCommand(
    "stopstart",
    "Stop the module completely, then start it; on the primary the peer takes over",
    "As stop, then start.",
  ),
  moduleCommand(
    "swap",
    "Exchange the roles of primary and secondary",
    "Stops the application on the primary, hands everything over, starts it on the peer.",
  ),
  moduleCommand(
    "prim",
    "Start as primary: this node's data is the data",
    "Starts the module as primary. The first start ever needs it once. Refused when the peer is primary or this copy may not be used.",
    {
      force: {
        help: "also on data that a reintegration left half-done, that is out of date, or that may be empty: what is missing is lost",
      },
    },
  ),
  moduleCommand(
    "second",
    "Start as secondary: fetch the data from the peer",
    "Starts the module as secondary of a primary.",
    { full: { help: "copy everything, not only what changed" } },
  ),
  moduleCommand(
    "forcestop",
    "Stop a module whatever its hooks do",
    "Kills the application's processes, removes the virtual IP, unmounts. The last resort.",
  ),
  {
    name: "shutdown",
    summary: "Stop every module of this node",
    changes: "As stop, for each module. The daemon goes on.",
    examples: ["holdfast shutdown", "holdfast shutdown --all"],
    remote: true,
    run: (invocation) => ask(invocation, "stopping every module", "POST", "/shutdown"),
  },
  {
    name: "boot",
    summary: "Choose whether a module starts with the daemon",
    arguments: [
      MODULE,
      {
        name: "WHEN",
        help: "always, never, or auto: if it was running",
        choices: ["always", "never", "auto"],
      },
    ],
    changes: "The node's own setting for this module.",
    examples: ["holdfast boot db never"],
    remote: true,
    run: (invocation) => {
      const { NAME, WHEN } = invocation.arguments;
      return ask(invocation, "boot", "POST", `${at(NAME!)}/boot`, { value: WHEN });
    },
  },
  {
    name: "wait",
    summary: "Wait until a module is Ready in one of the given states",
    arguments: [MODULE, { name: "STATE", help: `one or more of ${STATES.join(", ")}, separated by commas` }],
    options: {
      timeout: { value: "TIME", help: "how long at most (default 30s); then the exit status is 4" },
    },
    changes: "Nothing.",
    examples: ["holdfast wait db PRIM,ALONE", "holdfast wait db SECOND --timeout 5m --node n2"],
    remote: true,
    run: (invocation) => {
      const states = parseStates(invocation.arguments["STATE"]!);
      const timeoutMs = parseTimeout(invocation.values["timeout"] ?? "30s");
      const module = invocation.arguments["NAME"]!;
      return ask(
        invocation,
        `waiting for ${module} to be ${states.join(" or ")}`,
        "POST",
        `${at(module)}/wait`,
        { states, timeoutMs },
      );
    },
  },
  {
    name: "verify",
    summary: "Compare the two replicas while the application runs, and name what differs",
    arguments: [MODULE],
    changes: "Nothing. Exit status 4 when something differs or cannot be read.",
    examples: ["holdfast verify db", "holdfast verify db --json"],
    remote: true,
    run: async (invocation) => {
      const { output } = invocation;
      return tellResult(output, await output.progress("comparing the replicas", verify(invocation)));
    },
  },
];
