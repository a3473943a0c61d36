/**
 * Help, made from the table: for the whole, for a group, for one command; and the same as a page of the documentation.
 */
import {
  COMMON_OPTIONS,
  type Command,
  type OptionSpec,
  optionsOf,
  REMOTE_OPTIONS,
  usageOf,
} from "./command.ts";
import { columns } from "./output.ts";

const STATUSES: readonly (readonly [string, string])[] = [
  ["0", "done"],
  ["1", "failed"],
  ["2", "wrong usage or wrong configuration; nothing was changed"],
  ["3", "the node's daemon is not reachable"],
  ["4", "done, and the answer is no"],
];

function optionName(name: string, spec: OptionSpec): string {
  return `${spec.short ? `-${spec.short}, ` : ""}--${name}${spec.value ? ` ${spec.value}` : ""}`;
}

function indented(rows: readonly (readonly string[])[]): string {
  return columns(rows.map((row) => [`  ${row[0]}`, ...row.slice(1)]));
}

/** Help for everything, or for the group of commands that begin with `group`. */
export function overview(table: readonly Command[], group = ""): string {
  const shown = table.filter((command) => group === "" || command.name.startsWith(`${group} `));
  const title =
    group === ""
      ? "holdfast: keeps applications running when machines, networks and processes fail"
      : `holdfast ${group}`;
  return [
    title,
    "",
    "Commands:",
    indented(shown.map((command) => [command.name, command.summary])),
    "",
    "Options of every command:",
    indented(Object.entries(COMMON_OPTIONS).map(([name, spec]) => [optionName(name, spec), spec.help])),
    "",
    "Exit status:",
    indented(STATUSES.map((row) => [...row])),
    "",
    "holdfast COMMAND --help tells what a command does, takes and changes.",
  ].join("\n");
}

/** Help for one command. */
export function commandHelp(command: Command): string {
  const parts = [`${usageOf(command)}`, "", `${command.summary}.`];
  if (command.details) parts.push("", command.details);
  if (command.arguments?.length)
    parts.push("", "Arguments:", indented(command.arguments.map((spec) => [spec.name, spec.help])));
  parts.push("", "Options:");
  parts.push(
    indented(Object.entries(optionsOf(command)).map(([name, spec]) => [optionName(name, spec), spec.help])),
  );
  parts.push("", `Changes: ${command.changes}`);
  parts.push("", "Examples:", ...command.examples.map((example) => `  ${example}`));
  return parts.join("\n");
}

/** Help for programs: the table without its functions. */
export function describeTable(table: readonly Command[]): unknown {
  return table.map(({ run: _run, ...command }) => ({
    ...command,
    usage: usageOf(command as Command),
    options: optionsOf(command as Command),
  }));
}

/** The commands reference of docs/, in Markdown. */
export function referencePage(table: readonly Command[]): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  const optionRows = (options: Readonly<Record<string, OptionSpec>>) =>
    Object.entries(options).map(
      ([name, spec]) => `| \`${cell(optionName(name, spec))}\` | ${cell(spec.help)} |`,
    );
  const lines = [
    "# Commands",
    "",
    "<!-- Made from the command table by `bun core/cli/reference.ts`; edit the table, not this page. -->",
    "",
    "Every command takes:",
    "",
    "| option | |",
    "| --- | --- |",
    ...optionRows(COMMON_OPTIONS),
    "",
    "Commands marked *remote* also take:",
    "",
    "| option | |",
    "| --- | --- |",
    ...optionRows(REMOTE_OPTIONS),
    "",
    "| exit status | |",
    "| --- | --- |",
    ...STATUSES.map(([status, meaning]) => `| ${status} | ${meaning} |`),
    "",
  ];
  for (const command of table) {
    lines.push(
      `## ${command.name}`,
      "",
      "```",
      usageOf(command),
      "```",
      "",
      `${command.summary}.${command.remote ? " *Remote.*" : ""}`,
      "",
    );
    if (command.details) lines.push(command.details, "");
    for (const spec of command.arguments ?? []) lines.push(`- \`${spec.name}\`: ${spec.help}`);
    for (const [name, spec] of Object.entries(command.options ?? {}))
      lines.push(`- \`${optionName(name, spec)}\`: ${spec.help}`);
    if (command.arguments?.length || Object.keys(command.options ?? {}).length) lines.push("");
    lines.push(`Changes: ${command.changes}`, "", "```sh", ...command.examples, "```", "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}
