/**
 * Commands about modules as such: making, checking, loading, removing them.
 */
import { existsSync, readdirSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  checkModule,
  moduleJsonSchema,
  moduleNameProblem,
  writeEditorFiles,
  writeSdk,
} from "../../../modules/mod.ts";
import { nearest } from "../../../modules/nearest.ts";
import { TEMPLATES, type Template } from "../../../templates/catalog.ts";
import { instantiate, parseSetting } from "../../../templates/instantiate.ts";
import { loadCluster } from "../../cluster/cluster.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { ask, loadedModules, tellResult } from "../node.ts";
import { columns } from "../output.ts";

/** Where a node keeps a module's files. */
export function moduleDirectory(varDir: string, name: string): string {
  const problem = moduleNameProblem(name);
  if (problem !== "") throw new CommandError(EXIT.usage, problem);
  return join(resolve(varDir), "modules", name);
}

function templateNamed(name: string): Template {
  const found = TEMPLATES.find((template) => template.name === name);
  if (found) return found;
  const names = TEMPLATES.map((template) => template.name);
  const near = nearest(name, names);
  throw new CommandError(
    EXIT.usage,
    `no template "${name}"${near ? `; did you mean "${near}"?` : ""} (templates: ${names.join(", ")})`,
  );
}

async function makeModule({
  arguments: { NAME },
  values,
  lists,
  varDir,
  output,
}: Invocation): Promise<ExitStatus> {
  const directory = moduleDirectory(varDir, NAME!);
  if (values["template"] === undefined)
    throw new CommandError(EXIT.usage, "--template is missing; holdfast module templates lists them");
  const template = templateNamed(values["template"]);
  if (existsSync(directory))
    throw new CommandError(EXIT.usage, `${directory} is there already; remove it or choose another name`);
  const files = withSettings(template, lists["set"] ?? []);
  for (const [path, content] of Object.entries(files)) {
    const file = join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content, { flag: "wx" });
  }
  writeEditorFiles(directory);
  output.say(
    `made ${directory} from template ${template.name}. Edit module.yaml and hooks/, then: holdfast module apply ${NAME}`,
  );
  output.give({ status: 0, name: NAME, directory, template: template.name });
  return EXIT.done;
}

function withSettings(template: Template, settings: readonly string[]): Record<string, string> {
  try {
    return instantiate(template, settings.map(parseSetting));
  } catch (error) {
    if (error instanceof RangeError) throw new CommandError(EXIT.usage, `--set ${error.message}`);
    throw error;
  }
}

/** What a module may name; null while this node belongs to no cluster. */
function clusterNames(varDir: string): { nodes: string[]; lans: readonly string[] } | null {
  const cluster = loadCluster(varDir);
  return cluster ? { nodes: Object.keys(cluster.nodes), lans: cluster.lans } : null;
}

/** Checks the module called so, the one in a directory, or all of this node. */
function checkModules({ arguments: { NAME }, varDir, output }: Invocation): ExitStatus {
  const names = clusterNames(varDir);
  const reports = directoriesOf(NAME, varDir).map((directory) => {
    const { errors, warnings } = checkModule(directory, names);
    if (errors.length === 0) writeSdk(directory);
    return { directory, errors, warnings };
  });
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

function directoriesOf(name: string | undefined, varDir: string): string[] {
  if (name === undefined) {
    const folder = join(varDir, "modules");
    return existsSync(folder)
      ? readdirSync(folder)
          .sort()
          .map((entry) => join(folder, entry))
      : [];
  }
  const directory = /[/.]/.test(name) ? resolve(name) : moduleDirectory(varDir, name);
  if (!existsSync(directory))
    throw new CommandError(
      EXIT.usage,
      `${directory} is not there; a directory elsewhere is named with a slash, such as ./${name}`,
    );
  return [directory];
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
    active ? `${active.kind}, ${active.revision}` : "not loaded",
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
      output.say(columns(TEMPLATES.map(({ name, kind, summary }) => [name, kind, summary])));
      output.give({
        version: 1,
        templates: TEMPLATES.map(({ name, kind, summary }) => ({ name, kind, summary })),
      });
      return EXIT.done;
    },
  },
  {
    name: "module new",
    summary: "Make a module from a template",
    arguments: [{ name: "NAME", help: "the new module's name" }],
    options: {
      template: { value: "T", help: "the template to clone" },
      set: {
        value: "PATH=VALUE",
        many: true,
        help: "set a value of module.yaml; the path's keys are separated by dots",
      },
    },
    changes: "Makes VAR/modules/NAME on this node. Nothing is loaded until module apply.",
    examples: [
      "holdfast module new db --template postgresql --set virtualIps.0.address=10.0.0.100/24",
      "holdfast module new shop --template mirror --set replicate.paths.0.path=/srv/shop --set vars.port=80",
    ],
    run: makeModule,
  },
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
      "Writes the SDK's types into the module's .holdfast folder, for editors. Exit status 2 when something is wrong.",
    examples: ["holdfast module check db", "holdfast module check ./db"],
    run: checkModules,
  },
  {
    name: "module apply",
    summary: "Check a module, hand it to every node of the cluster, and load it there",
    arguments: [{ name: "NAME", help: "the module" }],
    options: {
      from: { value: "DIR", help: "take the files from this directory (default: VAR/modules/NAME)" },
      "dry-run": { help: "only say what would happen" },
    },
    changes: "Every node loads the new revision; refused as a whole when a file is wrong.",
    examples: ["holdfast module apply db", "holdfast module apply db --from ./db --dry-run"],
    run: (invocation) => {
      const name = invocation.arguments["NAME"]!;
      const directory = resolve(invocation.values["from"] ?? moduleDirectory(invocation.varDir, name));
      if (!existsSync(join(directory, "module.yaml")))
        throw new CommandError(
          EXIT.usage,
          `${directory} holds no module.yaml; holdfast module new ${name} --template T makes a module`,
        );
      // Judged here first: a file that is hard to read must not keep the daemon from its heartbeats.
      const { errors, warnings } = checkModule(directory, clusterNames(invocation.varDir));
      if (errors.length > 0)
        return tellResult(invocation.output, {
          status: 2,
          message: errors.join("\n"),
          data: { errors, warnings },
        });
      return ask(invocation, `applying ${name}`, "POST", `/modules/${encodeURIComponent(name)}/apply`, {
        directory,
        dryRun: invocation.flags.has("dry-run"),
      });
    },
  },
  {
    name: "module remove",
    summary: "Remove a stopped module from this node",
    arguments: [{ name: "NAME", help: "the module" }],
    changes: "The module's configuration and records go; the replicated directories stay as they are.",
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
