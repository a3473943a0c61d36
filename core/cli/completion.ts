/**
 * Completion for bash, zsh and fish: small scripts that ask the binary, so that they never grow old.
 */
import { readdirSync } from "node:fs";
import { readModule } from "../../modules/mod.ts";
import { type Command, optionsOf } from "./command.ts";

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

/** What may stand where the last of `words` is being typed. Names of modules and of their secrets come from `varDir`. */
export function candidates(words: readonly string[], table: readonly Command[], varDir: string): string[] {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1).filter((word) => !word.startsWith("-"));
  const command = [3, 2, 1]
    .map((count) => table.find(({ name }) => name === before.slice(0, count).join(" ")))
    .find((entry) => entry !== undefined);
  const found: string[] = [];
  if (command && typed.startsWith("-"))
    found.push(...Object.keys(optionsOf(command)).map((name) => `--${name}`));
  else if (command)
    found.push(...argumentCandidates(command, before.slice(command.name.split(" ").length), varDir));
  // A command may also be the name of a group: witness, witness token.
  if (!command || (!typed.startsWith("-") && before.join(" ") === command.name))
    for (const entry of table) {
      const names = entry.name.split(" ");
      if (before.every((word, index) => names[index] === word) && names.length > before.length)
        found.push(names[before.length]!);
    }
  return [...new Set(found)].filter((word) => word.startsWith(typed));
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
