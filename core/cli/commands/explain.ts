/**
 * `explain`: the answer comes as a document, and is written for the terminal that asks: its width, its colours, its time zone.
 */
import type { Explanation } from "../../explain/explain.ts";
import { explanationText } from "../../explain/text.ts";
import { parseWhen } from "../../explain/when.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { request, tellResult } from "../node.ts";

/** Of a terminal that does not say, and of a file. */
const USUAL_WIDTH = 100;
/** Wider, and lines are hard to follow. */
const MOST_WIDTH = 140;

/** What was typed, as an interval that every node understands, whatever its time zone. */
function interval(text: string): string {
  try {
    const { from, to } = parseWhen(text, Date.now());
    return `${new Date(from).toISOString()}/${new Date(to).toISOString()}`;
  } catch (error) {
    throw new CommandError(EXIT.usage, `--at: ${(error as Error).message}`);
  }
}

async function explain(invocation: Invocation): Promise<ExitStatus> {
  const { output, values, target } = invocation;
  const at = values["at"] === undefined ? "" : `?at=${encodeURIComponent(interval(values["at"]))}`;
  const path = `/modules/${encodeURIComponent(invocation.arguments["NAME"]!)}/explain${at}`;
  const result = await output.progress("asking every node", request(invocation, "GET", path));
  if (result.status !== EXIT.done || target.all) return tellResult(output, result);
  const width = Math.min(output.terminal ? (process.stdout.columns ?? USUAL_WIDTH) : USUAL_WIDTH, MOST_WIDTH);
  const style = { width, paint: output.paint.bind(output) };
  return tellResult(output, { ...result, message: explanationText(result.data as Explanation, style) });
}

export const EXPLAIN_COMMANDS: readonly Command[] = [
  {
    name: "explain",
    summary: "Tell what happened to a module, and why: what each node saw, decided and did, in order",
    arguments: [{ name: "NAME", help: "the module" }],
    options: {
      at: {
        value: "TIME",
        help: `around this time: 14:05, "2026-11-27 03:10", "10m ago", ISO 8601; without it, the last that happened`,
      },
    },
    changes: "Nothing.",
    details:
      "The journals of all nodes are put together, by the clock of the node that is asked; a node that does not answer is named. Journals keep the last 8 to 16 MiB of each module.",
    examples: [
      "holdfast explain db",
      "holdfast explain db --at 03:10",
      "holdfast explain db --at 2026-11-27T03:10:00Z",
    ],
    remote: true,
    run: explain,
  },
];
