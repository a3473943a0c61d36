/** Commands that make a module: from a template, or from a file that another cluster has written. */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  Bounds,
  BundleInvalid,
  fetchTemplate,
  isPlace,
  MAIN,
  Repository,
  readBundle,
  TEMPLATE,
} from "../../../modules/history/history.ts";
import { checkModule, ModuleInvalid, writeEditorFiles } from "../../../modules/mod.ts";
import { nearest } from "../../../modules/nearest.ts";
import {
  formatCounts,
  formatLine,
  importPackage,
  LIMIT_ARCHIVE,
  looksLikeZip,
  PackageInvalid,
} from "../../../modules/safekit/safekit.ts";
import { TEMPLATES, type Template } from "../../../templates/catalog.ts";
import { instantiate, parseSetting, type Setting } from "../../../templates/instantiate.ts";
import { WITNESS_SECRETS } from "../../witness/config.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { author, moduleDirectory } from "./module_place.ts";

/** How the first line of a template's commit begins; what follows is where it comes from. */
export const TEMPLATE_LINE = "Template ";

/** One of our own templates. Throws CommandError, with the nearest name. */
function templateNamed(name: string): Template {
  const found = TEMPLATES.find((template) => template.name === name);
  if (found) return found;
  const names = TEMPLATES.map((template) => template.name);
  const near = nearest(name, names);
  throw new CommandError(
    EXIT.usage,
    `no template "${name}"${near ? `; did you mean "${near}"?` : ""} (templates: ${names.join(", ")}; or the address of a git repository, or a folder, with a slash)`,
  );
}

/**
 * Brings the newest state of a template onto the branch "template": a commit after the last one, or, from a git repository, its own. Throws
 * CommandError.
 */
export async function bringTemplate(repository: Repository, template: string): Promise<string> {
  const previous = await repository.find(TEMPLATE);
  const commit = await newestTemplate(repository, template, previous);
  await repository.setRef(TEMPLATE, commit);
  return commit;
}

async function newestTemplate(
  repository: Repository,
  template: string,
  previous: string | null,
): Promise<string> {
  if (!isPlace(template)) {
    const files = new Map(
      Object.entries(templateNamed(template).files).map(([path, text]) => {
        const content = Buffer.from(text);
        return [path, { content, executable: text.startsWith("#!") }];
      }),
    );
    const tree = await repository.writeTree(files);
    if (previous !== null && (await repository.treeOf(previous)) === tree) return previous;
    const parents = previous === null ? [] : [previous];
    return await repository.commit(tree, parents, `${TEMPLATE_LINE}${template}`, author());
  }
  try {
    return await fetchTemplate(repository, template, previous, author());
  } catch (error) {
    throw new CommandError(EXIT.failed, `--template ${(error as Error).message}`);
  }
}

async function makeModule(invocation: Invocation): Promise<ExitStatus> {
  const { values, lists, varDir, output } = invocation;
  const name = invocation.arguments["NAME"]!;
  const directory = freeDirectory(varDir, name);
  const template = values["template"];
  if (template === undefined)
    throw new CommandError(EXIT.usage, "--template is missing; holdfast module templates lists them");
  if (!isPlace(template)) templateNamed(template);
  const settings = (lists["set"] ?? []).map((text) => onSetting(() => parseSetting(text)));
  await madeWhole(directory, async () => {
    const repository = await Repository.make(directory);
    const commit = await output.progress(`fetching ${template}`, bringTemplate(repository, template));
    const entries = await repository.files(commit);
    const yaml = entries.get("module.yaml")?.content.toString("utf8");
    if (yaml === undefined)
      throw new CommandError(
        EXIT.usage,
        `--template ${template}: it holds no module.yaml, so it is no module`,
      );
    await repository.setRef(MAIN, commit);
    await repository.checkOutMain();
    const files = onSetting(() => instantiate({ files: { "module.yaml": yaml } }, settings));
    await writeFile(join(directory, "module.yaml"), files["module.yaml"]!);
    await writeEditorFiles(directory);
    refuseSettings(directory, settings);
  });
  output.say(
    `made ${directory} from template ${template}. Edit module.yaml and hooks/, then: holdfast module apply ${name}`,
  );
  output.give({ status: 0, name, directory, template });
  return EXIT.done;
}

/** Refuses what a --set has made wrong; what the template leaves to be filled in is module check's. Throws CommandError. */
function refuseSettings(directory: string, settings: readonly Setting[]): void {
  const faults = checkModule(directory).errorPlaces.flatMap(({ path, message }) => {
    const place = path.replaceAll(/\[(\d+)\]/g, ".$1");
    const isOf = (set: string): boolean =>
      place === set ||
      place.startsWith(`${set}.`) ||
      (message.startsWith("unknown key") && set.startsWith(`${place}.`));
    const setting = place === "" ? undefined : settings.find((one) => isOf(one.path.join(".")));
    return setting === undefined ? [] : [`--set ${setting.path.join(".")}=${setting.value}: ${message}`];
  });
  if (faults.length > 0) throw new CommandError(EXIT.usage, faults.join("\n"));
}

/** Where a new module goes. Throws CommandError when something is there. */
function freeDirectory(varDir: string, name: string): string {
  const directory = moduleDirectory(varDir, name);
  if (name === WITNESS_SECRETS)
    throw new CommandError(
      EXIT.usage,
      `"${name}" cannot be a module's name: holdfast secret set ${name} KEY is about the cluster's witness`,
    );
  if (existsSync(directory))
    throw new CommandError(EXIT.usage, `${directory} is there already; remove it or choose another name`);
  return directory;
}

/** Makes the directory by `make`; when that fails, nothing is left of it. */
async function madeWhole(directory: string, make: () => Promise<void>): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  try {
    await make();
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    if (error instanceof ModuleInvalid) throw new CommandError(EXIT.usage, error.message);
    throw error;
  }
}

function onSetting<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) throw new CommandError(EXIT.usage, `--set ${error.message}`);
    throw error;
  }
}

async function importModule(invocation: Invocation): Promise<ExitStatus> {
  const file = resolve(invocation.arguments["FILE"]!);
  const name = invocation.values["as"] ?? basename(file).replace(/\.[^.]*$/, "");
  const directory = freeDirectory(invocation.varDir, name);
  if (!existsSync(file)) throw new CommandError(EXIT.usage, `${file} is not there`);
  const bytes = await readWhole(file);
  try {
    return looksLikeZip(bytes)
      ? await importSafekit(invocation, file, bytes, name, directory)
      : await importBundle(invocation, file, bytes, name, directory);
  } catch (error) {
    if (!(error instanceof BundleInvalid || error instanceof PackageInvalid)) throw error;
    throw new CommandError(EXIT.usage, `${file} cannot be imported: ${error.message}`);
  }
}

/** The file, or of one that begins like a zip and is too long for a package, only its beginning: enough to be refused. */
async function readWhole(file: string): Promise<Buffer> {
  const start = Buffer.from(await Bun.file(file).slice(0, 4).arrayBuffer());
  return looksLikeZip(start)
    ? Buffer.from(
        await Bun.file(file)
          .slice(0, LIMIT_ARCHIVE + 1)
          .arrayBuffer(),
      )
    : await readFile(file);
}

async function importSafekit(
  { output }: Invocation,
  file: string,
  bytes: Buffer,
  name: string,
  directory: string,
): Promise<ExitStatus> {
  const { files, report, counts } = importPackage(bytes);
  await madeWhole(directory, async () => {
    const bounds = new Bounds();
    for (const [path, { content }] of files) bounds.add(path, content.length);
    const repository = await Repository.make(directory);
    const tree = await repository.writeTree(files);
    const commit = await repository.commit(tree, [], `Imported from ${basename(file)}`, author());
    await repository.setRef(MAIN, commit);
    await repository.checkOutMain();
    await writeEditorFiles(directory);
  });
  for (const line of report) output.say(formatLine(line));
  output.say(
    `made ${directory} from ${file}: ${formatCounts(counts)} (the lines above are in safekit/report.txt). Read them, fit module.yaml, then: holdfast module check ${name}`,
  );
  output.give({ status: 0, name, directory, counts, report });
  return EXIT.done;
}

async function importBundle(
  { output }: Invocation,
  file: string,
  bytes: Buffer,
  name: string,
  directory: string,
): Promise<ExitStatus> {
  const bundle = readBundle(bytes);
  const commit = bundle.refs[MAIN] ?? bundle.refs["HEAD"] ?? bundle.refs["refs/heads/master"];
  if (commit === undefined)
    throw new CommandError(EXIT.usage, `${file} cannot be imported: it has neither main, master nor HEAD`);
  await madeWhole(directory, async () => {
    const repository = await Repository.make(directory);
    try {
      await repository.storePack(bundle.pack);
      await repository.files(commit);
    } catch (error) {
      if (error instanceof ModuleInvalid) throw error;
      throw new CommandError(
        EXIT.usage,
        `${file} cannot be imported: it is damaged (${(error as Error).message})`,
      );
    }
    const template = bundle.refs[TEMPLATE];
    if (template !== undefined && (await repository.has(template)))
      await repository.setRef(TEMPLATE, template);
    await repository.setRef(MAIN, commit);
    await repository.checkOutMain();
    await writeEditorFiles(directory);
  });
  output.say(
    `made ${directory} from ${file}, with its history. Fit module.yaml to this cluster, then: holdfast module apply ${name}`,
  );
  output.give({ status: 0, name, directory, revision: commit });
  return EXIT.done;
}

/** See the top of the file. */
export const MAKING_COMMANDS: readonly Command[] = [
  {
    name: "module new",
    summary: "Make a module from a template",
    arguments: [{ name: "NAME", help: "the new module's name" }],
    options: {
      template: {
        value: "T",
        help: "the template to clone: one of ours, the address of a git repository (https, ssh), or a folder (with a slash)",
      },
      set: {
        value: "PATH=VALUE",
        many: true,
        help: "set a value of module.yaml; the path's keys are separated by dots",
      },
    },
    changes: "Makes VAR/modules/NAME on this node, a git repository. Nothing is loaded until module apply.",
    details:
      "The template is the branch \"template\" of the module's repository: holdfast module upgrade merges a newer one. An address with ssh is cloned by the system's git.",
    examples: [
      "holdfast module new db --template postgresql --set virtualIps.0.address=10.0.0.100/24",
      "holdfast module new shop --template mirror --set replicate.paths.0.path=/srv/shop --set vars.port=80",
      "holdfast module new wiki --template https://git.example.com/ha/wiki.git",
      "holdfast module new wiki --template ./wiki",
    ],
    run: makeModule,
  },
  {
    name: "module import",
    summary: "Make a module from a file that module export has written, or from a SafeKit package",
    arguments: [
      { name: "FILE", help: "a .hf file, or any git bundle with a module in it; or a .safe file of SafeKit" },
    ],
    options: { as: { value: "NAME", help: "the module's name here (default: the file's)" } },
    changes: "Makes VAR/modules/NAME on this node, with its history. Nothing is loaded until module apply.",
    details:
      "A SafeKit package becomes an equivalent module.yaml and hooks that run its scripts; what became of each line is printed, and kept in safekit/report.txt.",
    examples: [
      "holdfast module import db.hf",
      "holdfast module import db.hf --as db2",
      "holdfast module import mirror.safe --as db",
    ],
    run: importModule,
  },
];
