/**
 * Commands about modules as such: making, checking, loading, removing them.
 */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { moduleJsonSchema } from "../../../modules/mod.ts";
import { TEMPLATES } from "../../../templates/catalog.ts";
import type { CommandResult, Engine } from "../../daemon/engine.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { ask, fetchDocument, loadedModules, request } from "../node.ts";
import { columns } from "../output.ts";
import { APPLY_COMMANDS } from "./module_apply.ts";
import { EDIT_COMMANDS } from "./module_edit.ts";
import { type Findings, findingsOf, tellFindings } from "./module_findings.ts";
import { HISTORY_COMMANDS } from "./module_history.ts";
import { MAKING_COMMANDS } from "./module_make.ts";
import { clusterNames, moduleDirectories, moduleDirectory } from "./module_place.ts";
import { TEST_COMMANDS } from "./module_test.ts";

const NO_MODULE = "no module yet: holdfast module new NAME --template T";

/** Checks the module called so, the one in a directory, or all of this node. */
async function checkModules(invocation: Invocation): Promise<ExitStatus> {
  const { arguments: args, varDir, output } = invocation;
  const names = clusterNames(varDir);
  const reports: ({ directory: string } & Findings)[] = [];
  for (const directory of moduleDirectories(args["NAME"], varDir)) {
    const found = await findingsOf(invocation, directory);
    reports.push({ directory, ...found });
    tellFindings(output, directory, found);
    if (found.errors.length === 0)
      output.say(
        `${directory}: good${names ? "" : " (names of nodes and networks were not checked: no cluster yet)"}`,
      );
  }
  if (reports.length === 0) output.say(NO_MODULE);
  const good = reports.every(({ errors }) => errors.length === 0);
  output.give({ version: 1, status: good ? EXIT.done : EXIT.usage, modules: reports });
  return good ? EXIT.done : EXIT.usage;
}

/** A module as the API lists it. */
type Loaded = ReturnType<Engine["modules"]>[number];

const loadedText = (loaded: Loaded | null): string =>
  loaded ? `${loaded.kind}, ${loaded.revision.slice(0, 12)}` : "not loaded";

async function listModules(invocation: Invocation): Promise<ExitStatus> {
  const { arguments: args, varDir, target, output } = invocation;
  const wanted = args["NAME"];
  if (target.all || target.node !== null) return await listElsewhere(invocation);
  const folder = join(varDir, "modules");
  const here = existsSync(folder) ? readdirSync(folder).sort() : [];
  const loaded = new Map((await loadedModules(varDir))?.map((module) => [module.name, module]) ?? []);
  const modules = here
    .filter((name) => wanted === undefined || name === wanted)
    .map((name) => ({ name, directory: join(folder, name), loaded: loaded.get(name) ?? null }));
  if (wanted !== undefined && modules.length === 0)
    throw new CommandError(EXIT.usage, `no module "${wanted}": ${join(folder, wanted)} is not there`);
  const rows = modules.map(({ name, directory, loaded }) => [name, loadedText(loaded), directory]);
  output.say(rows.length > 0 ? columns([["MODULE", "LOADED", "DIRECTORY"], ...rows]) : NO_MODULE);
  output.give({ version: 1, modules });
  return EXIT.done;
}

/** What other nodes have loaded; files that nobody applied stay their own. */
async function listElsewhere(invocation: Invocation): Promise<ExitStatus> {
  const { arguments: args, target, output } = invocation;
  const wanted = args["NAME"];
  const result = target.all
    ? await output.progress("asking every node", request(invocation, "GET", "/modules"))
    : { data: { [target.node!]: { status: EXIT.done, data: await fetchDocument(invocation, "/modules") } } };
  const answers = Object.entries(result.data as Record<string, CommandResult>);
  const silent = answers.filter(([, { status }]) => status !== EXIT.done);
  for (const [node, { message }] of silent) output.note(`holdfast: ${node}: ${message}`);
  const modules = answers
    .filter(([, { status }]) => status === EXIT.done)
    .flatMap(([node, { data }]) => (data as Loaded[]).map((loaded) => ({ node, name: loaded.name, loaded })))
    .filter(({ name }) => wanted === undefined || name === wanted);
  const rows = modules.map(({ node, name, loaded }) => [name, node, loadedText(loaded)]);
  output.say(rows.length > 0 ? columns([["MODULE", "NODE", "LOADED"], ...rows]) : NO_MODULE);
  output.give({ version: 1, modules });
  return silent[0]?.[1].status ?? EXIT.done;
}

async function removeModule(invocation: Invocation): Promise<ExitStatus> {
  const { target, varDir } = invocation;
  const name = invocation.arguments["NAME"]!;
  const directory = moduleDirectory(varDir, name);
  const loaded = target.node === null && !target.all ? await loadedModules(varDir) : null;
  if (loaded?.every((module) => module.name !== name) && existsSync(directory))
    throw new CommandError(
      EXIT.usage,
      `${name} was never applied here, and its files are all there is of it: rm -r ${directory} removes them`,
    );
  return await ask(invocation, "removing", "DELETE", `/modules/${encodeURIComponent(name)}`);
}

/** See the top of the file. */
export const MODULE_COMMANDS: readonly Command[] = [
  {
    name: "module templates",
    summary: "List what a module can be made from",
    changes: "Nothing.",
    examples: ["holdfast module templates"],
    run: ({ output }) => {
      output.say(
        columns([
          ["TEMPLATE", "KIND", "ON", "WHAT IT RUNS"],
          ...TEMPLATES.map(({ name, kind, systems, summary }) => [name, kind, systems.join(", "), summary]),
        ]),
      );
      output.give({
        version: 1,
        templates: TEMPLATES.map(({ name, kind, systems, summary, real = null, standIn = null }) => ({
          ...{ name, kind, systems, summary },
          tested: { real, standIn },
        })),
      });
      return EXIT.done;
    },
  },
  ...MAKING_COMMANDS,
  {
    name: "module list",
    summary: "List the modules of this node",
    arguments: [{ name: "NAME", help: "only this one", optional: true }],
    changes: "Nothing.",
    examples: ["holdfast module list", "holdfast module list --all"],
    remote: true,
    run: listModules,
  },
  {
    name: "module path",
    summary: "Print the directory of a module, or the one that holds all of this node's",
    arguments: [{ name: "NAME", help: "the module", optional: true }],
    changes: "Nothing.",
    examples: ["cd $(holdfast module path db)"],
    run: ({ arguments: { NAME }, varDir, output }) => {
      if (NAME === undefined) {
        const directory = join(resolve(varDir), "modules");
        output.say(directory);
        output.give({ directory });
        return EXIT.done;
      }
      const directory = moduleDirectory(varDir, NAME);
      if (!existsSync(directory))
        throw new CommandError(EXIT.usage, `no module "${NAME}": ${directory} is not there`);
      output.say(directory);
      output.give({ name: NAME, directory });
      return EXIT.done;
    },
  },
  ...EDIT_COMMANDS,
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
      "Hooks, checkers and tests are type-checked with the TypeScript in this program, whatever is installed. What has not changed since it was good is not checked again, and nothing is before module.yaml is right. rules.ts is run, without any permission, and what it comes to is written to rules.json.",
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
      "The module's configuration, its history, its secrets and its records go; the replicated directories stay as they are. Without --all, other nodes keep it.",
    details: "Its history is gone with it: holdfast module export keeps it in a file.",
    examples: ["holdfast module remove db", "holdfast module remove db --all"],
    remote: true,
    run: removeModule,
  },
  {
    name: "module schema",
    summary: "Print the JSON Schema of module.yaml, for editors",
    arguments: [{ name: "NAME", help: "a module: the schema is the same for each", optional: true }],
    changes: "Nothing.",
    examples: ["holdfast module schema > module.schema.json"],
    run: ({ arguments: { NAME }, varDir, output }) => {
      moduleDirectories(NAME, varDir);
      output.say(JSON.stringify(moduleJsonSchema(), null, 2));
      output.give(moduleJsonSchema());
      return EXIT.done;
    },
  },
];
