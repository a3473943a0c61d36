/** Commands that change which revision of a module the cluster works with. */
import { existsSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  ACTIVE,
  type Commit,
  commitDirectory,
  differences,
  noteApplied,
  Repository,
  readFiles,
} from "../../../modules/history/history.ts";
import { ModuleInvalid } from "../../../modules/mod.ts";
import type { CommandResult, Engine } from "../../daemon/engine.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { fetchDocument, request, tellResult } from "../node.ts";
import { findingsOf } from "./module_findings.ts";
import { activeRevision, author, moduleDirectory, repositoryOf, revisionNamed } from "./module_place.ts";

const SHOWN_PATHS = 3;

/** Makes what no ref names yet durable, and asks the daemon to hand it to every node. */
async function handOver(
  invocation: Invocation,
  name: string,
  repository: Repository,
  commit: Commit,
): Promise<CommandResult> {
  const active = await repository.find(ACTIVE);
  const objects = await repository.objectsBetween([commit], active === null ? [] : [active]);
  if (objects.length > 0) await repository.storePack(await repository.pack(objects));
  const body = { commit, dryRun: invocation.flags.has("dry-run") };
  const path = `/modules/${encodeURIComponent(name)}/apply`;
  return await invocation.output.progress(`applying ${name}`, request(invocation, "POST", path, body));
}

async function applyModule(invocation: Invocation): Promise<ExitStatus> {
  const { values, varDir, output, flags } = invocation;
  const name = invocation.arguments["NAME"]!;
  const own = moduleDirectory(varDir, name);
  const directory = resolve(values["from"] ?? own);
  if (!existsSync(join(directory, "module.yaml")))
    throw new CommandError(
      EXIT.usage,
      `${directory} holds no module.yaml; holdfast module new ${name} --template T makes a module`,
    );
  const { errors, warnings } = await findingsOf(invocation, directory);
  if (errors.length > 0)
    return tellResult(output, { status: 2, message: errors.join("\n"), data: { errors, warnings } });
  const isFirst = !existsSync(own);
  // A daemon that does not answer is told of before anything is made.
  await fetchDocument({ varDir, target: { node: null, all: false } }, "/modules");
  try {
    const repository = await Repository.make(own);
    const active = await repository.find(ACTIVE);
    const message = values["message"] ?? (await describeEdits(repository, directory));
    const made = await commitDirectory(repository, directory, active, message, author());
    const result = await handOver(invocation, name, repository, made.commit);
    if (result.status === 0 && !flags.has("dry-run") && directory !== own)
      noteApplied(directory, made.commit);
    const replaced =
      made.isBaseless && made.commit !== active
        ? [
            `${directory} does not say what it is based on: it replaces revision ${active!.slice(0, 12)} as a whole`,
          ]
        : [];
    return tellResult(output, {
      ...result,
      message: [result.message, ...replaced, ...warnings.map((line) => `${line} (warning)`)].join("\n"),
      data: { ...(result.data as object | undefined), warnings },
    });
  } catch (error) {
    if (error instanceof ModuleInvalid) throw new CommandError(EXIT.usage, error.message);
    throw error;
  } finally {
    if (isFirst && !existsSync(join(own, "module.yaml"))) rmSync(own, { recursive: true, force: true });
  }
}

/** The message of a revision for which nobody wrote one. */
async function describeEdits(repository: Repository, directory: string): Promise<string> {
  const head = await repository.head();
  if (head === null) return "First revision";
  const paths = await differences(repository, readFiles(directory), head);
  const more = paths.length > SHOWN_PATHS ? ` and ${paths.length - SHOWN_PATHS} more` : "";
  return `Change ${paths.slice(0, SHOWN_PATHS).join(", ")}${more}`;
}

/** The revisions that nodes work with, as they say it. A node that does not answer says nothing. */
export async function revisionsOfNodes(varDir: string, name: string): Promise<Record<string, Commit>> {
  const where = { varDir, target: { node: null, all: true } };
  const { data } = await request(where, "GET", "/modules");
  const found: Record<string, Commit> = {};
  for (const [node, answer] of Object.entries(data as Record<string, CommandResult>)) {
    const modules = Array.isArray(answer.data) ? (answer.data as ReturnType<Engine["modules"]>) : [];
    const module = modules.find((one) => one.name === name);
    if (module) found[node] = module.revision;
  }
  return found;
}

async function rollBack(invocation: Invocation): Promise<ExitStatus> {
  const { varDir } = invocation;
  const name = invocation.arguments["NAME"]!;
  const repository = repositoryOf(varDir, name);
  const active = await activeRevision(repository, name);
  const asked = invocation.arguments["REVISION"];
  const before = (await repository.revisions(active, 1))[0]?.parents[0];
  const target = asked === undefined ? before : await revisionNamed(repository, name, asked);
  if (target === undefined)
    throw new CommandError(
      EXIT.usage,
      `${active.slice(0, 12)} is the first revision of ${name}: nothing is before it`,
    );
  // Where nodes applied different revisions while they were apart, this one ends it: it comes after all of them.
  const bases = [active];
  for (const other of Object.values(await revisionsOfNodes(varDir, name)))
    if (
      (await repository.has(other)) &&
      !(await repository.contains(active, other)) &&
      !bases.includes(other)
    )
      bases.push(other);
  const tree = await repository.treeOf(target);
  if (bases.length === 1 && tree === (await repository.treeOf(active)))
    throw new CommandError(EXIT.usage, `${name} has the files of ${target.slice(0, 12)} already`);
  const message = (await repository.revisions(target, 1))[0]?.message ?? "";
  const words = `Back to ${target.slice(0, 12)}: ${message.split("\n")[0]}`;
  const commit = await repository.commit(tree, bases, words, author());
  return tellResult(invocation.output, await handOver(invocation, name, repository, commit));
}

const DRY_RUN = { "dry-run": { help: "only say what would happen" } };

/** See the top of the file. */
export const APPLY_COMMANDS: readonly Command[] = [
  {
    name: "module apply",
    summary: "Check a module, hand it to every node of the cluster, and load it there",
    arguments: [{ name: "NAME", help: "the module" }],
    options: {
      from: { value: "DIR", help: "take the files from this directory (default: VAR/modules/NAME)" },
      message: { value: "TEXT", short: "m", help: "what the revision is for, as its history shows it" },
      ...DRY_RUN,
      "no-types": { help: "do not check the types in hooks, checkers and tests, which module check refuses" },
    },
    changes:
      "Commits the files as a new revision, and every node switches to it, or none does. What may change while the module runs changes at once, without starting the application again; what needs it stopped is said, and nothing is touched. A node that does not answer takes it when it is back.",
    details:
      "Refused when module check would refuse it: that takes some seconds where the code has changed, and --no-types is for the night when they count. Refused when another node has moved on from what the files are based on: holdfast module upgrade NAME --applied gets that into the files.",
    examples: [
      "holdfast module apply db --dry-run",
      "holdfast module apply db --message tuned",
      "holdfast module apply db --from ./db",
    ],
    run: applyModule,
  },
  {
    name: "module rollback",
    summary: "Go back to a former revision of a module, on every node",
    arguments: [
      { name: "NAME", help: "the module" },
      { name: "REVISION", help: "as history shows it (default: the one before)", optional: true },
    ],
    options: DRY_RUN,
    changes:
      "Makes a new revision with the files of the former one and applies it, as module apply does. Files that are being edited stay as they are.",
    examples: ["holdfast module rollback db", "holdfast module rollback db 3f2a91c --dry-run"],
    run: rollBack,
  },
];
