/**
 * Commands about a farm's own virtual IP.
 */
import { parseDuration } from "../../../modules/units.ts";
import { type ArgumentSpec, type Command, CommandError, EXIT } from "../command.ts";
import { ask } from "../node.ts";

const MODULE: ArgumentSpec = { name: "NAME", help: "the farm module" };

function at(module: string): string {
  return `/modules/${encodeURIComponent(module)}`;
}

function parsePatience(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new CommandError(EXIT.usage, `--timeout: ${(error as Error).message}`);
  }
}

/** See the top of the file. */
export const FARM_COMMANDS: readonly Command[] = [
  {
    name: "farm",
    summary:
      "Show how the clients of a farm's virtual IP are shared out: by node its part, its packets, its connections",
    arguments: [MODULE],
    changes: "Nothing.",
    details:
      "It tells what this node's kernel does. With --json also which node has each of the 256 buckets.",
    examples: ["holdfast farm web", "holdfast farm web --all", "holdfast farm web --json"],
    remote: true,
    run: (invocation) => ask(invocation, "farm", "GET", `${at(invocation.arguments["NAME"]!)}/farm`),
  },
  {
    name: "drain",
    summary: "Stop a farm's node without cutting a client off",
    arguments: [MODULE],
    options: {
      timeout: {
        value: "TIME",
        help: "how long its connections may go on (default 5m); then it stops all the same",
      },
    },
    changes:
      "New clients go to the other nodes; the module stops on this one when its last connection has ended.",
    examples: ["holdfast drain web", "holdfast drain web --node n2 --timeout 30s"],
    remote: true,
    run: (invocation) => {
      const module = invocation.arguments["NAME"]!;
      const timeoutMs = parsePatience(invocation.values["timeout"] ?? "5m");
      return ask(invocation, `draining ${module}`, "POST", `${at(module)}/drain`, { timeoutMs });
    },
  },
];
