/** `module edit`: the module's file in the editor of whoever types it, and what is wrong with it afterwards. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { relative, resolve } from "node:path";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { findingsOf, tellFindings } from "./module_findings.ts";
import { moduleDirectory } from "./module_place.ts";

/** Where VISUAL and EDITOR say nothing: Debian's choice, POSIX's, and the one that explains itself. */
const USUAL_EDITORS = ["editor", "vi", "nano"];

/** The command line of the editor, for a shell. Throws CommandError. */
function editor(): string {
  const named = process.env["VISUAL"] || process.env["EDITOR"];
  if (named) return named;
  const found = USUAL_EDITORS.find((name) => Bun.which(name) !== null);
  if (found && process.stdin.isTTY) return found;
  throw new CommandError(
    EXIT.usage,
    found
      ? "this is no terminal to edit in: name an editor that needs none in VISUAL or EDITOR, or edit the file and type holdfast module check"
      : "there is no editor here: name one in VISUAL or EDITOR",
  );
}

/** The file that is meant, inside the module. Throws CommandError. */
function fileOf(directory: string, name: string, wanted: string): string {
  if (!existsSync(directory))
    throw new CommandError(EXIT.usage, `no module "${name}": ${directory} is not there`);
  const file = resolve(directory, wanted);
  if (relative(directory, file).startsWith(".."))
    throw new CommandError(EXIT.usage, `FILE: ${wanted} is outside of ${directory}`);
  if (existsSync(file) && statSync(file).isDirectory())
    throw new CommandError(EXIT.usage, `FILE: ${file} is a directory`);
  return file;
}

const contentOf = (file: string): string | null => (existsSync(file) ? readFileSync(file, "latin1") : null);

async function edit(invocation: Invocation): Promise<ExitStatus> {
  const { arguments: args, varDir, output } = invocation;
  const name = args["NAME"]!;
  const directory = moduleDirectory(varDir, name);
  const file = fileOf(directory, name, args["FILE"] ?? "module.yaml");
  const command = editor();
  const before = contentOf(file);
  const child = Bun.spawn(["sh", "-c", `${command} "$1"`, "sh", file], {
    // stdout is for the answer alone.
    stdio: ["inherit", output.json ? 2 : "inherit", "inherit"],
  });
  if ((await child.exited) !== 0)
    throw new CommandError(EXIT.failed, `${command} ended with ${child.exitCode ?? child.signalCode}`);
  if (contentOf(file) === before) {
    output.say(`${file} is as it was`);
    output.give({ version: 1, status: EXIT.done, name, file, changed: false, errors: [], warnings: [] });
    return EXIT.done;
  }
  const found = await findingsOf(invocation, directory);
  tellFindings(output, directory, found);
  const status = found.errors.length === 0 ? EXIT.done : EXIT.usage;
  if (status === EXIT.done)
    output.say(`${file} is changed and good; nothing of it is in force until: holdfast module apply ${name}`);
  output.give({ version: 1, status, name, file, changed: true, ...found });
  return status;
}

/** See the top of the file. */
export const EDIT_COMMANDS: readonly Command[] = [
  {
    name: "module edit",
    summary: "Open a file of a module in an editor, then say what is wrong with the module",
    arguments: [
      { name: "NAME", help: "the module" },
      {
        name: "FILE",
        help: "a file of it, such as hooks/start_prim.ts (default: module.yaml)",
        optional: true,
      },
    ],
    options: { "no-types": { help: "do not type-check the hooks, checkers and tests" } },
    changes:
      "The file in VAR/modules/NAME. Nothing is loaded until module apply. Exit status 2 when something is wrong.",
    details: "The editor is what VISUAL or EDITOR names, else the system's.",
    examples: ["holdfast module edit db", "EDITOR=nano holdfast module edit db hooks/start_prim.ts"],
    run: edit,
  },
];
