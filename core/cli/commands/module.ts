/**
 * Commands about modules as such: making, checking, loading, removing them.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { examineModule, moduleJsonSchema } from "../../../modules/mod.ts";
import { TEMPLATES } from "../../../templates/catalog.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { ask, loadedModules } from "../node.ts";
import { columns } from "../output.ts";
import { APPLY_COMMANDS } from "./module_apply.ts";
import { HISTORY_COMMANDS } from "./module_history.ts";
import { MAKING_COMMANDS } from "./module_make.ts";
import { clusterNames, moduleDirectories, moduleDirectory } from "./module_place.ts";
import { TEST_COMMANDS } from "./module_test.ts";

/** Checks the module called so, the one in a directory, or all of this node. */
async function checkModules({ arguments: { NAME }, flags, varDir, output }: Invocation): Promise<ExitStatus> {
  const names = clusterNames(varDir);
  const reports: { directory: string; errors: string[]; warnings: string[] }[] = [];
  for (const directory of moduleDirectories(NAME, varDir)) {
    const { errors, warnings } = await examineModule(directory, names, !flags.has("no-types"));
    reports.push({ directory, errors, warnings });
  }
  for (const { directory, errors, warnings } of reports) {
    for (const error of errors) output.note(`${directory}/${error}`);
    for (const warning of warnings) output.note(`${directory}/${warning} (warning)`);
    if (errors.length === 0)
      output.say(
        `${directory}: good${names ? "" : " (names of nodes and networks were not checked: no cluster yet)"}`,
      );
  }
  const good = reports.every(({ errors }) => errors.length === 0);
  output.give({ version: 1, status: good ? EXIT.done : EXIT.usage, modules: reports });
  return good ? EXIT.done : EXIT.usage;
}

async function listModules({ varDir, output }: Invocation): Promise<ExitStatus> {
  const folder = join(varDir, "modules");
  const here = existsSync(folder) ? readdirSync(folder).sort() : [];
  const loaded = new Map((await loadedModules(varDir))?.map((module) => [module.name, module]) ?? []);
  const modules = here.map((name) => ({
    name,
    directory: join(folder, name),
    loaded: loaded.get(name) ?? null,
  }));
  const rows = modules.map(({ name, directory, loaded: active }) => [
    name,
    active ? `${active.kind}, ${active.revision.slice(0, 12)}` : "not loaded",
    directory,
  ]);
  output.say(
    rows.length > 0
      ? columns([["MODULE", "LOADED", "DIRECTORY"], ...rows])
      : "no module yet: holdfast module new NAME --template T",
  );
  output.give({ version: 1, modules });
  return EXIT.done;
}

export const MODULE_COMMANDS: readonly Command[] = [
  {
    name: "module templates",
    summary: "List what a module can be made from",
    changes: "Nothing.",
    examples: ["holdfast module templates"],
    run: ({ output }) => {
      output.say(
        columns(
          TEMPLATES.map(({ name, kind, systems, summary }) => [name, kind, systems.join(", "), summary]),
        ),
      );
      output.give({
        version: 1,
        templates: TEMPLATES.map(({ name, kind, systems, summary }) => ({ name, kind, systems, summary })),
      });
      return EXIT.done;
    },
  },
  ...MAKING_COMMANDS,
  {
    name: "module list",
    summary: "List the modules of this node",
    changes: "Nothing.",
    examples: ["holdfast module list"],
    run: listModules,
  },
  {
    name: "module path",
    summary: "Print the directory of a module",
    arguments: [{ name: "NAME", help: "the module" }],
    changes: "Nothing.",
    examples: ["cd $(holdfast module path db)"],
    run: ({ arguments: { NAME }, varDir, output }) => {
      const directory = moduleDirectory(varDir, NAME!);
      if (!existsSync(directory))
        throw new CommandError(EXIT.usage, `no module "${NAME}": ${directory} is not there`);
      output.say(directory);
      output.give({ name: NAME, directory });
      return EXIT.done;
    },
  },
  {
    name: "module check",
    summary: "Say what is wrong with a module, with file, line and column",
    arguments: [
      {
        name: "NAME",
        help: "a module, or a directory (with a slash); without it, every module of this node",
        optional: true,
      },
    ],
    changes:
      "Writes the SDK and its types into the module's .holdfast folder, for editors and for Deno. Exit status 2 when something is wrong.",
    options: { "no-types": { help: "do not type-check the hooks, checkers and tests" } },
    details:
      "Hooks, checkers and tests are type-checked with the TypeScript in this program, whatever is installed. What has not changed since it was good is not checked again. rules.ts is run, without any permission, and what it comes to is written to rules.json.",
    examples: [
      "holdfast module check db",
      "holdfast module check ./db",
      "holdfast module check db --no-types",
    ],
    run: checkModules,
  },
  ...TEST_COMMANDS,
  ...APPLY_COMMANDS,
  ...HISTORY_COMMANDS,
  {
    name: "module remove",
    summary: "Remove a stopped module from this node",
    arguments: [{ name: "NAME", help: "the module" }],
    changes:
      "The module's configuration, its history and its records go; the replicated directories stay as they are. Without --all, other nodes keep it.",
    details: "Its history is gone with it: holdfast module export keeps it in a file.",
    examples: ["holdfast module remove db", "holdfast module remove db --all"],
    remote: true,
    run: (invocation) =>
      ask(invocation, "removing", "DELETE", `/modules/${encodeURIComponent(invocation.arguments["NAME"]!)}`),
  },
  {
    name: "module schema",
    summary: "Print the JSON Schema of module.yaml, for editors",
    changes: "Nothing.",
    examples: ["holdfast module schema > module.schema.json"],
    run: ({ output }) => {
      output.say(JSON.stringify(moduleJsonSchema(), null, 2));
      output.give(moduleJsonSchema());
      return EXIT.done;
    },
  },
];
