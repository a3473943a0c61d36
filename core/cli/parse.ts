/**
 * From words to an invocation. Whatever is wrong is refused before anything runs, with the nearest right name.
 */
import { parseArgs } from "node:util";
import { nearest } from "../../modules/nearest.ts";
import {
  type Command,
  CommandError,
  EXIT,
  type Invocation,
  optionsOf,
  REMOTE_OPTIONS,
  usageOf,
} from "./command.ts";
import { Output } from "./output.ts";

function didYouMean(word: string, candidates: readonly string[]): string {
  const meant = nearest(word, candidates);
  return meant ? `; did you mean "${meant}"?` : "";
}

/** What the words ask for: a command to run, or help about a command, a group of commands or the whole. */
export type Request =
  | { kind: "run"; command: Command; invocation: Invocation }
  | { kind: "help"; about: string; json: boolean };

const WANTS_HELP = new Set(["--help", "-h"]);

/** Finds the command that `words` begin with and parses the rest. Throws CommandError (status 2). */
export function parseWords(
  words: readonly string[],
  table: readonly Command[],
  environment: NodeJS.ProcessEnv,
): Request {
  const json = words.includes("--json");
  const { names, leading, rest } = splitCommonOptions(words);
  if (names.length === 0) return { kind: "help", about: "", json };
  if (names[0] === "help")
    return {
      kind: "help",
      about: rest
        .slice(1)
        .filter((w) => !w.startsWith("-"))
        .join(" "),
      json,
    };

  const command = findCommand(names, table);
  if (command === null) {
    const [first] = names as [string];
    if (!table.some((entry) => entry.name.startsWith(`${first} `)))
      throw new CommandError(
        EXIT.usage,
        `unknown command "${first}"${didYouMean(first, firstWords(table))} (holdfast --help lists all)`,
      );
    return refuseGroup(groupOf(names, table), names, table, rest, json);
  }
  const own = [...leading, ...wordsAfter(command, rest)];
  const untilPassedOn = command.passesOn ? own.slice(0, passedOnFrom(own)) : own;
  if (untilPassedOn.some((word) => WANTS_HELP.has(word))) return { kind: "help", about: command.name, json };
  return { kind: "run", command, invocation: parseInvocation(command, own, environment) };
}

/** First words of all commands, each once. */
function firstWords(table: readonly Command[]): string[] {
  return [...new Set(table.map((command) => command.name.split(" ")[0]!))];
}

/** Most words that name a command. */
const MOST_WORDS = 3;
/** Options whose value is the next word, wherever they stand. */
const TAKES_VALUE = new Set(["--var", "--node"]);

/** Options may stand before the command (`holdfast --var DIR status`); `names` are the words that are no options. */
function splitCommonOptions(words: readonly string[]): {
  names: string[];
  leading: string[];
  rest: string[];
} {
  const names: string[] = [];
  let command = words.length;
  for (let at = 0; at < words.length; at++) {
    if (words[at]!.startsWith("-")) {
      if (TAKES_VALUE.has(words[at]!)) at++;
      continue;
    }
    if (names.length === 0) command = at;
    names.push(words[at]!);
  }
  const leading = words.slice(0, command);
  if (names.length > 0 || !leading.includes("--version"))
    return { names, leading, rest: words.slice(command) };
  return { names: ["version"], leading: leading.filter((word) => word !== "--version"), rest: [] };
}

/** The longest name of a command counts. */
function findCommand(names: readonly string[], table: readonly Command[]): Command | null {
  for (let words = MOST_WORDS; words > 0; words--) {
    const found = table.find((command) => command.name === names.slice(0, words).join(" "));
    if (found) return found;
  }
  return null;
}

/** The longest group of commands that `names` begin with: "cluster witness" of "cluster witness ad". */
function groupOf(names: readonly string[], table: readonly Command[]): string[] {
  for (let words = MOST_WORDS - 1; words > 1; words--) {
    const group = names.slice(0, words);
    if (group.length === words && table.some(({ name }) => name.startsWith(`${group.join(" ")} `)))
      return group;
  }
  return names.slice(0, 1);
}

/** What a group of commands is called with that is no command of it. */
function refuseGroup(
  group: readonly string[],
  names: readonly string[],
  table: readonly Command[],
  rest: readonly string[],
  json: boolean,
): Request {
  const about = group.join(" ");
  if (rest.some((word) => WANTS_HELP.has(word))) return { kind: "help", about, json };
  const next = names[group.length];
  const known = table
    .filter(({ name }) => name.startsWith(`${about} `))
    .map(({ name }) => name.slice(about.length + 1));
  throw new CommandError(
    EXIT.usage,
    next === undefined
      ? `${about} what? ${known.join(", ")} (holdfast ${about} --help tells what they do)`
      : `unknown command "${about} ${next}"${didYouMean(next, known)} (holdfast ${about} --help lists all)`,
  );
}

/** `rest` without the words that name the command. */
function wordsAfter(command: Command, rest: readonly string[]): string[] {
  const own = [...rest];
  for (const word of command.name.split(" ")) {
    const at = own.indexOf(word);
    if (at >= 0) own.splice(at, 1);
  }
  return own;
}

/** Index of the first word after the first positional: from there on, words belong to what is run. */
function passedOnFrom(words: readonly string[]): number {
  for (let at = 0; at < words.length; at++) {
    if (words[at] === "--var") at++;
    else if (!words[at]!.startsWith("-")) return at + 1;
  }
  return words.length;
}

function parseInvocation(
  command: Command,
  words: readonly string[],
  environment: NodeJS.ProcessEnv,
): Invocation {
  const options = optionsOf(command);
  const from = command.passesOn ? passedOnFrom(words) : words.length;
  const parsed = parseOptions(command, words.slice(0, from));
  const flags = new Set<string>();
  const values: Record<string, string> = {};
  const lists: Record<string, string[]> = {};
  for (const [name, value] of Object.entries(parsed.values)) {
    if (Array.isArray(value)) lists[name] = value.map(String);
    else if (typeof value === "string") values[name] = value;
    else if (value) flags.add(name);
  }
  for (const [name, value] of Object.entries(values))
    if (value === "") throw new CommandError(EXIT.usage, `--${name} needs a value (${options[name]?.value})`);
  if (values["node"] && flags.has("all"))
    throw new CommandError(EXIT.usage, "--node and --all exclude each other");
  const positionals = takeArguments(command, parsed.positionals);
  return {
    ...positionals,
    rest: [...positionals.rest, ...words.slice(from)],
    flags,
    values,
    lists,
    varDir: values["var"] ?? (environment["HOLDFAST_VAR"] || "/var/lib/holdfast"),
    target: { node: values["node"] ?? null, all: flags.has("all") },
    output: new Output(flags.has("json")),
  };
}

function parseOptions(command: Command, words: readonly string[]) {
  const options = optionsOf(command);
  const known = Object.fromEntries(
    Object.entries(options).map(([name, spec]) => [
      name,
      {
        type: spec.value ? ("string" as const) : ("boolean" as const),
        multiple: spec.many ?? false,
        ...(spec.short ? { short: spec.short } : {}),
      },
    ]),
  );
  try {
    return parseArgs({ args: [...words], options: known, allowPositionals: true, strict: true });
  } catch (error) {
    const unknown = words.find((word) => /^--?[a-z]/i.test(word) && !isKnown(word, options));
    if (unknown) {
      const name = unknown.split("=")[0]!;
      if (name.slice(2) in REMOTE_OPTIONS)
        throw new CommandError(
          EXIT.usage,
          `${name}: holdfast ${command.name} runs on this machine only; type it on the other one (${usageOf(command)})`,
        );
      const candidates = Object.keys(options).map((option) => `--${option}`);
      throw new CommandError(
        EXIT.usage,
        `unknown option ${name}${didYouMean(name, candidates)} (${usageOf(command)})`,
      );
    }
    const message = (error as Error).message.split(". ")[0]!;
    throw new CommandError(EXIT.usage, `${message} (${usageOf(command)})`);
  }
}

function isKnown(word: string, options: ReturnType<typeof optionsOf>): boolean {
  const name = word.replace(/^--?/, "").split("=")[0]!;
  return name in options || Object.values(options).some((spec) => spec.short === name);
}

function takeArguments(command: Command, words: readonly string[]): Pick<Invocation, "arguments" | "rest"> {
  const taken: Record<string, string> = {};
  const left = [...words];
  for (const spec of command.arguments ?? []) {
    if (spec.many) {
      if (left.length === 0 && !spec.optional)
        throw new CommandError(EXIT.usage, `${spec.name} is missing: ${usageOf(command)}`);
      return { arguments: taken, rest: left };
    }
    const word = left.shift();
    if (word === undefined) {
      if (spec.optional) continue;
      throw new CommandError(EXIT.usage, `${spec.name} is missing: ${usageOf(command)}`);
    }
    if (spec.choices && !spec.choices.includes(word))
      throw new CommandError(
        EXIT.usage,
        `${spec.name} must be one of ${spec.choices.join(", ")}, not "${word}"${didYouMean(word, spec.choices)}`,
      );
    taken[spec.name] = word;
  }
  if (left.length > 0)
    throw new CommandError(EXIT.usage, `"${left[0]}" is one argument too many: ${usageOf(command)}`);
  return { arguments: taken, rest: [] };
}
