/**
 * `explain`: the answer comes as a document, and is written for the terminal that asks: its width, its colours, its time zone.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Explanation } from "../../explain/explain.ts";
import { explainSnapshot, readSnapshot } from "../../explain/snapshot.ts";
import { explanationText } from "../../explain/text.ts";
import { parseWhen, type When } from "../../explain/when.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { request, tellResult } from "../node.ts";

/** Of a terminal that does not say, and of a file. */
const USUAL_WIDTH = 100;
/** Wider, and lines are hard to follow. */
const MOST_WIDTH = 140;

function whenOf(text: string, now: number): When {
  try {
    return parseWhen(text, now);
  } catch (error) {
    throw new CommandError(EXIT.usage, `--at: ${(error as Error).message}`);
  }
}

/** What was typed, as an interval that every node understands, whatever its time zone. */
function interval(text: string): string {
  const { from, to } = whenOf(text, Date.now());
  return `${new Date(from).toISOString()}/${new Date(to).toISOString()}`;
}

async function explain(invocation: Invocation): Promise<ExitStatus> {
  const { output, values, target } = invocation;
  const name = invocation.arguments["NAME"];
  if (values["snapshot"] !== undefined) return explainFile(invocation, values["snapshot"], name);
  if (name === undefined)
    throw new CommandError(EXIT.usage, "say which module: holdfast explain NAME, or --snapshot FILE");
  const at = values["at"] === undefined ? "" : `?at=${encodeURIComponent(interval(values["at"]))}`;
  const path = `/modules/${encodeURIComponent(name)}/explain${at}`;
  const result = await output.progress("asking every node", request(invocation, "GET", path));
  if (result.status !== EXIT.done || target.all) return tellResult(output, result);
  return tell(invocation, result.data as Explanation, Date.now());
}

/** Further from what was asked for, ms, and it is said that it is. */
const NEAR_MS = 120_000;

/** Says that nothing happened at the time that was asked for. "" when something did. */
function besideIt({ incident }: Explanation, asked: string | undefined, now: number): string {
  if (incident === null || asked === undefined) return "";
  const { from, to } = whenOf(asked, now);
  const isNear = Date.parse(incident.from) <= to + NEAR_MS && Date.parse(incident.to) >= from - NEAR_MS;
  return isNear ? "" : `nothing is known of ${asked}; what happened nearest to it:\n\n`;
}

/** `now`: what times that were typed count from. */
function tell({ output, values }: Invocation, told: Explanation, now: number): ExitStatus {
  const width = Math.min(output.terminal ? (process.stdout.columns ?? USUAL_WIDTH) : USUAL_WIDTH, MOST_WIDTH);
  const text = explanationText(told, { width, paint: output.paint.bind(output) });
  const message = besideIt(told, values["at"], now) + text;
  return tellResult(output, { status: EXIT.done, message, data: told });
}

/** From a snapshot, which may be of another machine: no node is asked. */
function explainFile(invocation: Invocation, file: string, name: string | undefined): ExitStatus {
  const { values } = invocation;
  try {
    if (!existsSync(file)) throw new Error("is not there");
    const snapshot = readSnapshot(readFileSync(file));
    const [only, ...others] = Object.keys(snapshot.modules);
    if (name === undefined && (only === undefined || others.length > 0))
      throw new Error(`say which module: it has ${Object.keys(snapshot.modules).join(", ") || "none"}`);
    const made = Date.parse(snapshot.made);
    const at = values["at"] === undefined ? null : whenOf(values["at"], made);
    return tell(invocation, explainSnapshot(snapshot, name ?? only!, at), made);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(EXIT.usage, `${file}: ${(error as Error).message}`);
  }
}

/** See the top of the file. */
export const EXPLAIN_COMMANDS: readonly Command[] = [
  {
    name: "explain",
    summary: "Tell what happened to a module, and why: what each node saw, decided and did, in order",
    arguments: [
      { name: "NAME", help: "the module; a snapshot with one module needs no name", optional: true },
    ],
    options: {
      at: {
        value: "TIME",
        help: `around this time: 14:05, "2026-11-27 03:10", "10m ago", ISO 8601; without it, the last that happened`,
      },
      snapshot: {
        value: "FILE",
        help: "from a file that holdfast snapshot made, here or elsewhere, in the place of this cluster",
      },
    },
    changes: "Nothing.",
    details:
      "The journals of all nodes are put together, by the clock of the node that is asked; a node that does not answer is named. Journals keep the last 8 to 16 MiB of each module. A snapshot holds the last 1500 decisions of each node; times count from when it was made.",
    examples: [
      "holdfast explain db",
      "holdfast explain db --at 03:10",
      "holdfast explain db --at 2026-11-27T03:10:00Z",
      "holdfast explain --snapshot customer.snapshot",
    ],
    remote: true,
    run: explain,
  },
];
