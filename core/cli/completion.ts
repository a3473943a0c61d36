/**
 * Completion for bash, zsh and fish: small scripts that ask the binary, so that they never grow old.
 */
import { readdirSync } from "node:fs";
import { readModule } from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";
import { loadCluster } from "../cluster/cluster.ts";
import { COMMON_OPTIONS, type Command, optionsOf } from "./command.ts";

/** Shells that have a script. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The script to put into the shell's start-up file. */
export function completionScript(shell: Shell): string {
  switch (shell) {
    case "bash":
      return [
        "_holdfast() {",
        "  local IFS=$'\\n'",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's own words
        '  COMPREPLY=($(compgen -o default -W "$(holdfast __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))',
        "}",
        "complete -o default -F _holdfast holdfast",
      ].join("\n");
    case "zsh":
      return [
        "#compdef holdfast",
        "_holdfast() {",
        "  local -a candidates",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's own words
        '  candidates=("${(@f)$(holdfast __complete "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")',
        "  compadd -- $candidates || _files",
        "}",
        "compdef _holdfast holdfast",
      ].join("\n");
    case "fish":
      return "complete -c holdfast -f -a '(holdfast __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'";
  }
}

/** What may stand where the last of `words` is being typed. Names of modules, nodes and secrets come from `varDir`. */
export function candidates(words: readonly string[], table: readonly Command[], varDir: string): string[] {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const command = commandOf(
    before.filter((word) => !word.startsWith("-")),
    table,
  );
  const { names, option } = withoutOptions(before, command);
  return [...new Set(offered(typed, names, option, command, table, varDir))].filter((word) =>
    word.startsWith(typed),
  );
}

function commandOf(names: readonly string[], table: readonly Command[]): Command | undefined {
  return [3, 2, 1]
    .map((count) => table.find(({ name }) => name === names.slice(0, count).join(" ")))
    .find((entry) => entry !== undefined);
}

/** The words that are neither options nor their values; `option`: the one whose value comes next. */
function withoutOptions(
  words: readonly string[],
  command: Command | undefined,
): { names: string[]; option: string | null } {
  const options = command ? optionsOf(command) : COMMON_OPTIONS;
  const names: string[] = [];
  let option: string | null = null;
  for (const word of words) {
    if (option !== null) option = null;
    else if (!word.startsWith("-")) names.push(word);
    else
      option =
        Object.entries(options).find(
          ([name, { short, value }]) => value && (word === `--${name}` || word === `-${short}`),
        )?.[0] ?? null;
  }
  return { names, option };
}

function offered(
  typed: string,
  names: readonly string[],
  option: string | null,
  command: Command | undefined,
  table: readonly Command[],
  varDir: string,
): readonly string[] {
  if (option === "node") return nodesOf(varDir);
  if (option === "template") return TEMPLATES.map(({ name }) => name);
  if (option !== null) return [];
  if (command && typed.startsWith("-")) return Object.keys(optionsOf(command)).map((name) => `--${name}`);
  const found = command
    ? [...argumentCandidates(command, names.slice(command.name.split(" ").length), varDir)]
    : [];
  // A command may also be the name of a group: witness, witness token.
  if (!command || names.join(" ") === command.name)
    for (const entry of table) {
      const parts = entry.name.split(" ");
      if (names.every((word, index) => parts[index] === word) && parts.length > names.length)
        found.push(parts[names.length]!);
    }
  return found;
}

function nodesOf(varDir: string): readonly string[] {
  try {
    return Object.keys(loadCluster(varDir)?.nodes ?? {});
  } catch {
    return []; // Not readable for this user.
  }
}

function argumentCandidates(command: Command, given: readonly string[], varDir: string): readonly string[] {
  const specs = command.arguments ?? [];
  const spec = specs[Math.min(given.length, specs.length - 1)];
  if (spec?.choices) return spec.choices;
  if (spec?.name === "KEY")
    return readModule(`${varDir}/modules/${given[0]}`).definition?.config.secrets ?? [];
  if (spec?.name !== "NAME") return [];
  try {
    return readdirSync(`${varDir}/modules`);
  } catch {
    return []; // No module yet, or not readable for this user: nothing to offer.
  }
}
