/**
 * What goes on: `status` and `log`.
 */
import { durationText, formatSize } from "../../../modules/units.ts";
import { DaemonUnreachable } from "../../api/api.ts";
import type { LogLine, NodeStatus, StatusDocument } from "../../daemon/engine.ts";
import { BUCKETS } from "../../farm/assignment.ts";
import { heldText } from "../../farm/word.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { fetchLog, fetchStatus } from "../node.ts";
import { type Colour, columns, type Output, progressBar } from "../output.ts";

/** Pause between two looks of `status --watch`. */
const WATCH_MS = 500;

const READINESS_COLOURS: Record<string, Colour> = { Ready: "green", Transient: "yellow", NotReady: "red" };

/** The document restricted to one module, or as it is. Throws CommandError when there is no such module. */
function onlyModule(document: StatusDocument, name: string | undefined): StatusDocument {
  if (name === undefined) return document;
  const module = document.modules[name];
  if (!module) {
    const known = Object.keys(document.modules);
    throw new CommandError(
      EXIT.usage,
      `no module "${name}" here${known.length ? ` (modules: ${known.join(", ")})` : ""}`,
    );
  }
  return { ...document, modules: { [name]: module } };
}

function reintegrationText(node: NodeStatus): string | null {
  const progress = node.reintegration;
  if (!progress) return null;
  const part = progress.bytesTotal > 0 ? progress.bytesDone / progress.bytesTotal : 0;
  const eta = progress.etaMs === null ? "" : `, ${durationText(progress.etaMs)} to go`;
  const what = progress.full ? "full copy" : "reintegration";
  return `${what} ${progressBar(part)} ${Math.floor(part * 100)} %  ${formatSize(progress.bytesDone)} of ${formatSize(progress.bytesTotal)}, ${progress.filesDone} of ${progress.filesTotal} files${eta}`;
}

/** The whole document as text for people. `now` in ms since 1970. */
export function statusText(document: StatusDocument, output: Output, now: number): string {
  const names = Object.keys(document.modules);
  if (names.length === 0)
    return `cluster ${document.cluster}: no module yet. holdfast module new NAME --template T makes one, holdfast module apply NAME loads it.`;
  const rows: string[][] = [
    ["MODULE", "NODE", "STATE", "READINESS", "DATA", "SINCE"].map((title) => output.paint("bold", title)),
  ];
  const remarks: string[] = [];
  const banners: string[] = [];
  for (const name of names) banners.push(...maintenanceOn(name, document.modules[name]!.nodes, output, now));
  for (const name of names)
    for (const [node, status] of Object.entries(document.modules[name]!.nodes)) {
      const colour = READINESS_COLOURS[status.readiness] ?? "grey";
      const data =
        status.upToDate === null
          ? shareText(status)
          : status.upToDate
            ? "up to date"
            : output.paint("yellow", "not up to date");
      rows.push([
        name,
        node,
        output.paint(colour, status.state),
        output.paint(colour, status.readiness),
        data,
        status.since ? durationText(Math.max(0, now - Date.parse(status.since))) : "-",
      ]);
      remarks.push(...remarksOn(name, node, status, output));
    }
  for (const name of names) {
    const { isolation } = document.modules[name]!;
    if (isolation !== undefined) remarks.push(output.paint("grey", `${name}: ${isolation.words}`));
  }
  return [
    `cluster ${document.cluster}`,
    "",
    ...banners,
    columns(rows),
    ...(remarks.length ? ["", ...remarks] : []),
  ].join("\n");
}

/** Nobody should be able to overlook it, nor forget it. */
function maintenanceOn(
  module: string,
  nodes: StatusDocument["modules"][string]["nodes"],
  output: Output,
  now: number,
): string[] {
  const on = Object.entries(nodes).flatMap(([node, { maintenance }]) =>
    maintenance === undefined ? [] : [{ node, ...maintenance }],
  );
  const [first] = on;
  if (first === undefined) return [];
  const known = Object.entries(nodes).filter(([, { state }]) => state !== "UNKNOWN");
  const where = on.length === known.length ? "" : ` on ${on.map(({ node }) => node).join(", ")} only`;
  const age = durationText(Math.max(0, now - Date.parse(first.since)));
  return [
    output.paint(
      "red",
      `*** MAINTENANCE of ${module}${where}, for ${age}, by ${first.by}: nothing is restarted, failed over or stopped by itself ***`,
    ),
    output.paint("red", `*** to end it: holdfast maintenance ${module} off ***`),
    "",
  ];
}

/** A farm's node has a part of the clients in the place of data. */
function shareText({ buckets }: NodeStatus): string {
  return buckets === undefined ? "-" : `share ${Math.round((100 * buckets) / BUCKETS)} %`;
}

function remarksOn(module: string, node: string, status: NodeStatus, output: Output): string[] {
  const lines: string[] = [];
  if (status.reason) lines.push(`${module} on ${node}: ${status.reason}`);
  if (status.held) lines.push(`  ${output.paint("yellow", heldText(status.held, status.buckets))}`);
  const reintegration = reintegrationText(status);
  if (reintegration) lines.push(`  ${reintegration}`);
  for (const [name, resource] of Object.entries(status.resources))
    if (resource.state === "down")
      lines.push(
        `  ${output.paint("red", `${name} is down`)}${resource.detail ? `: ${resource.detail}` : ""}`,
      );
  for (const path of status.saved ?? [])
    lines.push(
      `  ${output.paint("yellow", "kept aside:")} what ${node} had written while both nodes ran alone, in ${path} (remove it when you have seen to it)`,
    );
  if (status.remedy) lines.push(`  ${output.paint("yellow", "to do:")} ${status.remedy}`);
  return lines;
}

async function showStatus(invocation: Invocation): Promise<ExitStatus> {
  const { output } = invocation;
  const look = async () => onlyModule(await fetchStatus(invocation), invocation.arguments["NAME"]);
  if (!invocation.flags.has("watch")) {
    const document = await output.progress("asking the node's daemon", look());
    output.say(statusText(document, output, Date.now()));
    output.give(document);
    return EXIT.done;
  }
  await watch(look, output);
  return EXIT.done;
}

/** Shows the document again and again; a daemon that goes away while it is watched is waited for. */
async function watch(look: () => Promise<StatusDocument>, output: Output): Promise<void> {
  let shown = "";
  while (!output.unread) {
    let document: StatusDocument | null = null;
    try {
      document = await look();
    } catch (error) {
      if (!(error instanceof DaemonUnreachable) || shown === "") throw error;
    }
    if (output.terminal) {
      const text = document
        ? statusText(document, output, Date.now())
        : "the daemon does not answer; waiting for it";
      process.stdout.write(`\x1b[H\x1b[2J${text}\n`);
    }
    // Ages change all the time: for a pipe, only a change of the document itself is news.
    const seen = JSON.stringify(document);
    if (document && seen !== shown && !output.terminal) {
      output.give(document);
      output.say(`${new Date().toISOString()}\n${statusText(document, output, Date.now())}\n`);
    }
    shown = seen;
    await Bun.sleep(WATCH_MS);
  }
}

const LEVEL_COLOURS: Partial<Record<LogLine["level"], Colour>> = {
  error: "red",
  warning: "yellow",
  script: "grey",
  event: "blue",
};

function printLine(line: LogLine, output: Output): void {
  output.give(line);
  const whose = line.module === undefined ? line.node : `${line.node} ${line.module}`;
  const colour = LEVEL_COLOURS[line.level];
  output.say(
    `${line.time} ${whose} ${line.level.padEnd(7)} ${colour ? output.paint(colour, line.text) : line.text}`,
  );
}

async function showLog(invocation: Invocation): Promise<ExitStatus> {
  const lines = Number(invocation.values["lines"] ?? 300);
  if (!Number.isSafeInteger(lines) || lines < 0)
    throw new CommandError(EXIT.usage, "--lines must be a whole number, 0 or more");
  const follow = invocation.flags.has("follow");
  const module = invocation.arguments["NAME"] ?? null;
  for await (const line of fetchLog(invocation, module, lines, follow)) {
    printLine(line, invocation.output);
    if (invocation.output.unread) break;
  }
  return EXIT.done;
}

/** See the top of the file. */
export const STATUS_COMMANDS: readonly Command[] = [
  {
    name: "status",
    summary: "Show every module on every node: state, data, why, and what to do",
    arguments: [{ name: "NAME", help: "only this module", optional: true }],
    options: { watch: { help: "go on showing it; with --json one object a line, at each change" } },
    changes: "Nothing.",
    examples: ["holdfast status", "holdfast status db --watch", "holdfast status --json"],
    remote: true,
    run: showStatus,
  },
  {
    name: "log",
    summary: "Show the log of a module, or of the node",
    arguments: [
      {
        name: "NAME",
        help: "the module; without it, every one of this node, and the node itself",
        optional: true,
      },
    ],
    options: {
      follow: { short: "f", help: "go on showing new lines" },
      lines: { value: "N", help: "how many past lines (default 300)" },
    },
    changes: "Nothing.",
    examples: ["holdfast log db", "holdfast log db -f --json"],
    remote: true,
    run: showLog,
  },
];
