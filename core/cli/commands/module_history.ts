/** Commands about a module's history: reading it, merging into it, writing it to a file. */
import { existsSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import {
  ACTIVE,
  type Commit,
  diffFiles,
  MAIN,
  type Merged,
  type ModuleFiles,
  mergeIn,
  type Repository,
  type Revision,
  readFiles,
  TEMPLATE,
  writeBundle,
} from "../../../modules/history/history.ts";
import { ModuleInvalid } from "../../../modules/mod.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { loadedModules, request } from "../node.ts";
import { columns } from "../output.ts";
import { revisionsOfNodes } from "./module_apply.ts";
import { bringTemplate, TEMPLATE_LINE } from "./module_make.ts";
import { activeRevision, author, repositoryOf, revisionNamed } from "./module_place.ts";

const DEFAULT_COUNT = 20;

/** The revisions of the module itself, newest first: of a merge, not what was merged in. */
function ownLine(revisions: readonly Revision[], from: Commit): Revision[] {
  const byCommit = new Map(revisions.map((revision) => [revision.commit, revision]));
  const line: Revision[] = [];
  for (let next = byCommit.get(from); next; next = byCommit.get(next.parents[0] ?? "")) line.push(next);
  return line;
}

async function showHistory({ arguments: { NAME }, values, varDir, output }: Invocation): Promise<ExitStatus> {
  const name = NAME!;
  const repository = repositoryOf(varDir, name);
  const count = values["count"] === undefined ? DEFAULT_COUNT : Number(values["count"]);
  if (!Number.isInteger(count) || count < 1)
    throw new CommandError(EXIT.usage, `--count ${values["count"]}: expected a whole number from 1`);
  const active = await repository.find(ACTIVE);
  const from = active ?? (await repository.head());
  if (from === null)
    throw new CommandError(EXIT.usage, `${name} has no revision yet: holdfast module apply ${name}`);
  const line = ownLine(await repository.revisions(from), from).slice(0, count);
  const asking = async () =>
    (await loadedModules(varDir)) === null ? {} : await revisionsOfNodes(varDir, name);
  const nodes = await output.progress("asking every node", asking());
  const where = (commit: Commit): string[] =>
    Object.entries(nodes).flatMap(([node, theirs]) => (theirs === commit ? [node] : []));
  const revisions = line.map((revision) => ({ ...revision, nodes: where(revision.commit) }));
  const rows = revisions.map(({ commit, time, author: by, message, nodes: there }) => [
    commit.slice(0, 12),
    time.slice(0, 19).replace("T", " "),
    by,
    message.split("\n")[0]!,
    there.join(", "),
  ]);
  output.say(columns([["REVISION", "TIME (UTC)", "BY", "WHAT", "NODES"], ...rows]));
  output.give({ version: 1, name, active, revisions });
  return EXIT.done;
}

async function showDiff(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, output } = invocation;
  const name = invocation.arguments["NAME"]!;
  const repository = repositoryOf(varDir, name);
  const [from, to] = [invocation.arguments["FROM"], invocation.arguments["TO"]];
  const old =
    from === undefined ? await activeRevision(repository, name) : await revisionNamed(repository, name, from);
  const next = to === undefined ? null : await revisionNamed(repository, name, to);
  const text = await onFiles(async () => {
    const after: ModuleFiles = next === null ? readFiles(repository.directory) : await repository.files(next);
    return diffFiles(await repository.files(old), after);
  });
  if (text !== "") output.say(text.trimEnd());
  else
    output.note(
      `no difference between ${old.slice(0, 12)} and ${next?.slice(0, 12) ?? repository.directory}`,
    );
  output.give({ version: 1, name, from: old, to: next, diff: text });
  return EXIT.done;
}

async function onFiles<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ModuleInvalid) throw new CommandError(EXIT.usage, error.message);
    throw error;
  }
}

async function upgradeModule(invocation: Invocation): Promise<ExitStatus> {
  const { values, flags, varDir, output } = invocation;
  const name = invocation.arguments["NAME"]!;
  const repository = repositoryOf(varDir, name);
  if (!flags.has("applied")) {
    const template = values["template"] ?? (await templateOf(repository, name));
    const commit = await output.progress(`fetching ${template}`, bringTemplate(repository, template));
    const merged = await onFiles(() =>
      mergeIn(repository, commit, `Upgrade to the newest template ${template}`, author()),
    );
    return tellMerged(invocation, repository, name, `template ${template}`, [merged]);
  }
  const merges: Merged[] = [];
  const others = await output.progress("asking every node", fetchApplied(invocation, repository, name));
  for (const [node, commit] of others) {
    const what = `Merge revision ${commit.slice(0, 12)}, applied on ${node}`;
    merges.push(await onFiles(() => mergeIn(repository, commit, what, author())));
    if (merges.at(-1)!.how === "conflict") break;
  }
  return tellMerged(invocation, repository, name, "what the cluster works with", merges);
}

/** Where the module's template came from. */
async function templateOf(repository: Repository, name: string): Promise<string> {
  const tip = await repository.find(TEMPLATE);
  if (tip !== null)
    for (const { message } of await repository.revisions(tip))
      if (message.startsWith(TEMPLATE_LINE)) return message.split("\n")[0]!.slice(TEMPLATE_LINE.length);
  throw new CommandError(
    EXIT.usage,
    `${name} does not say which template it was made from: name it with --template`,
  );
}

/** The revisions that nodes work with, their objects taken in here. */
async function fetchApplied(
  { varDir }: Invocation,
  repository: Repository,
  name: string,
): Promise<Map<string, Commit>> {
  const found = new Map<string, Commit>();
  const head = await repository.head();
  for (const [node, commit] of Object.entries(await revisionsOfNodes(varDir, name))) {
    if (!(await repository.has(commit))) {
      const where = { varDir, target: { node, all: false } };
      const path = `/modules/${encodeURIComponent(name)}/revision`;
      const { status, message, data } = await request(where, "POST", path, {
        haves: head === null ? [] : [head],
      });
      if (status !== EXIT.done) throw new CommandError(status, message);
      const { pack } = data as { pack: string | null };
      if (pack !== null) await repository.storePack(Buffer.from(pack, "base64"));
    }
    if (![...found.values()].includes(commit)) found.set(node, commit);
  }
  return found;
}

function tellMerged(
  { output }: Invocation,
  repository: Repository,
  name: string,
  what: string,
  merges: readonly Merged[],
): ExitStatus {
  const conflicts = merges.flatMap((merge) => merge.conflicts);
  const edits = merges.map((merge) => merge.edits).find((commit) => commit !== null) ?? null;
  const saved = edits === null ? [] : [`your edits are kept as ${edits.slice(0, 12)}`];
  const isNew = merges.some(({ how }) => how !== "already");
  const message = [
    ...saved,
    ...(conflicts.length > 0
      ? [
          `${what} does not fit in everywhere: solve the conflicts (<<<<<<< … >>>>>>>) in ${repository.directory}, then: holdfast module apply ${name}`,
          ...conflicts.map((path) => `  ${path}`),
        ]
      : isNew
        ? [
            `${what} is merged into ${repository.directory}; look at it with holdfast module diff ${name}, then: holdfast module apply ${name}`,
          ]
        : [`${what} is in ${name} already`]),
  ].join("\n");
  const status = conflicts.length > 0 ? EXIT.no : EXIT.done;
  output.say(message);
  output.give({ status, message, data: { how: merges.map(({ how }) => how), conflicts, edits } });
  return status;
}

async function exportModule(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, output } = invocation;
  const name = invocation.arguments["NAME"]!;
  const repository = repositoryOf(varDir, name);
  const file = resolve(invocation.arguments["FILE"] ?? `${name}.hf`);
  const commit = (await repository.find(ACTIVE)) ?? (await repository.head());
  if (commit === null)
    throw new CommandError(EXIT.usage, `${name} has no revision yet: holdfast module apply ${name}`);
  const template = await repository.find(TEMPLATE);
  const refs = { HEAD: commit, [MAIN]: commit, ...(template === null ? {} : { [TEMPLATE]: template }) };
  const bytes = await writeBundle(repository, refs);
  if (!existsSync(dirname(file))) throw new CommandError(EXIT.failed, `${dirname(file)} is not there`);
  await writeFile(`${file}.new`, bytes);
  await rename(`${file}.new`, file);
  output.say(
    `${file} holds ${name} ${commit.slice(0, 12)} with its history (${bytes.length} bytes); elsewhere: holdfast module import ${basename(file)}, or git clone ${basename(file)}`,
  );
  output.give({ status: 0, name, file, revision: commit, bytes: bytes.length });
  return EXIT.done;
}

/** See the top of the file. */
export const HISTORY_COMMANDS: readonly Command[] = [
  {
    name: "module history",
    summary: "List the revisions of a module, and which nodes work with which",
    arguments: [{ name: "NAME", help: "the module" }],
    options: { count: { value: "N", short: "n", help: `how many (default: ${DEFAULT_COUNT})` } },
    changes: "Nothing.",
    details:
      "A module is a git repository: git log in $(holdfast module path NAME) shows the same, and what was merged.",
    examples: ["holdfast module history db", "holdfast module history db --count 100 --json"],
    run: showHistory,
  },
  {
    name: "module diff",
    summary:
      "Show what differs between two revisions, or between one and the files in the module's directory",
    arguments: [
      { name: "NAME", help: "the module" },
      { name: "FROM", help: "a revision (default: the one that works)", optional: true },
      { name: "TO", help: "another one (default: the files in VAR/modules/NAME)", optional: true },
    ],
    changes: "Nothing.",
    examples: [
      "holdfast module diff db",
      "holdfast module diff db 3f2a91c",
      "holdfast module diff db 3f2a91c 77b0e12",
    ],
    run: showDiff,
  },
  {
    name: "module upgrade",
    summary: "Merge a newer template into a module's files, or what another node has applied",
    arguments: [{ name: "NAME", help: "the module" }],
    options: {
      template: { value: "T", help: "the template (default: the one that the module was made from)" },
      applied: {
        help: "merge what the cluster works with, where it has moved on from what the files are based on",
      },
    },
    changes:
      "Only the files in VAR/modules/NAME and their history; what was being edited is committed first. Conflicts are marked in the files as git does it, and the exit status is 4. Nothing is loaded until module apply.",
    examples: [
      "holdfast module upgrade db",
      "holdfast module upgrade db --applied",
      "holdfast module upgrade wiki --template https://git.example.com/ha/wiki.git",
    ],
    run: upgradeModule,
  },
  {
    name: "module export",
    summary: "Write a module with its history to one file, for another cluster",
    arguments: [
      { name: "NAME", help: "the module" },
      { name: "FILE", help: "the file (default: NAME.hf)", optional: true },
    ],
    changes: "Writes the file. Edits that were not applied are not in it.",
    details: "The file is a git bundle: git clone, git log and git bundle verify read it.",
    examples: ["holdfast module export db", "holdfast module export db /mnt/usb/db.hf"],
    run: exportModule,
  },
];
