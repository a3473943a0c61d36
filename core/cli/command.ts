/**
 * What a command of the terminal is: one row of a table from which parsing, help, completion and the reference are made.
 */
import type { Output } from "./output.ts";

/** Exit statuses of the contract. `no`: done, and the answer is no. */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3, no: 4 } as const;
export type ExitStatus = 0 | 1 | 2 | 3 | 4;

/** An error whose message is meant for the user as it stands: what is wrong, where, what to do. */
export class CommandError extends Error {
  readonly status: ExitStatus;
  constructor(status: ExitStatus, message: string) {
    super(message);
    this.status = status;
  }
}

/** A positional argument. Only the last may be `many`. */
export interface ArgumentSpec {
  name: string;
  help: string;
  optional?: boolean;
  many?: boolean;
  /** Words that are allowed, for completion and checking. */
  choices?: readonly string[];
}

/** An option. Without `value` it is a flag; `many` may be given several times. */
export interface OptionSpec {
  help: string;
  value?: string;
  short?: string;
  many?: boolean;
}

/** What a command is called with, after parsing. Missing arguments and options are absent. */
export interface Invocation {
  arguments: Readonly<Partial<Record<string, string>>>;
  /** What a `many` argument collected, or what followed it verbatim. */
  rest: readonly string[];
  flags: ReadonlySet<string>;
  values: Readonly<Partial<Record<string, string>>>;
  lists: Readonly<Partial<Record<string, readonly string[]>>>;
  /** VAR of the node that is meant. */
  varDir: string;
  /** Names of the nodes to run on: null is this node. */
  target: { node: string | null; all: boolean };
  output: Output;
}

/** A command. */
export interface Command {
  /** "cluster create". */
  name: string;
  summary: string;
  arguments?: readonly ArgumentSpec[];
  options?: Readonly<Record<string, OptionSpec>>;
  /** What it changes, in one or two sentences; "Nothing." is an answer. */
  changes: string;
  details?: string;
  examples: readonly string[];
  /** Takes --node and --all. */
  remote?: boolean;
  /** Everything after the last named argument is passed on untouched, options included. */
  passesOn?: boolean;
  run(invocation: Invocation): Promise<ExitStatus> | ExitStatus;
}

/** Options that every command takes. */
export const COMMON_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  var: { value: "DIR", help: "the node's directory (default: HOLDFAST_VAR, else /var/lib/holdfast)" },
  json: { help: "machine-readable output on stdout, nothing else there" },
  help: { short: "h", help: "show help and exit" },
};

/** Options of commands that can run elsewhere. */
export const REMOTE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  node: { value: "N", help: "run on this node of the cluster instead of the local one" },
  all: { help: "run on every node of the cluster" },
};

/** Every option that `command` takes, common ones last. */
export function optionsOf(command: Command): Record<string, OptionSpec> {
  return { ...command.options, ...(command.remote ? REMOTE_OPTIONS : {}), ...COMMON_OPTIONS };
}

/** "cluster join TOKEN|FILE|- --as NODE": the command line in one line. */
export function usageOf(command: Command): string {
  const parts = [`holdfast ${command.name}`];
  for (const argument of command.arguments ?? []) {
    const name = argument.many ? `${argument.name} …` : argument.name;
    parts.push(argument.optional ? `[${name}]` : name);
  }
  for (const [name, option] of Object.entries(command.options ?? {}))
    parts.push(`[--${name}${option.value ? ` ${option.value}` : ""}${option.many ? " …" : ""}]`);
  if (command.remote) parts.push("[--node N | --all]");
  return parts.join(" ");
}
