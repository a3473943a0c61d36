/**
 * What a node does with a revision that is handed to it: takes its objects in, lays its files down beside those of the revision that works now,
 * judges them, and says how the two relate and what the change from one to the other means. Nothing of it is in use before the ref is moved.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ClusterNames } from "../cross_checks.ts";
import { type ModuleDefinition, ModuleInvalid, readModule } from "../load.ts";
import { readRules } from "../rules_file.ts";
import { sdkSources, writeSdkSources } from "../sdk_files.ts";
import { blobId, readFiles, writeFiles } from "./module_files.ts";
import { type Change, type Contents, planChange } from "./plan.ts";
import { ACTIVE, type Commit, Repository } from "./repository.ts";

/** How a revision relates to the one that works here: `first` where none does; `apart`: neither contains the other. */
export type Relation = "first" | "same" | "newer" | "older" | "apart";

/** A revision that lies ready. */
export interface Prepared {
  commit: Commit;
  relation: Relation;
  /** The revision that worked here when this was found out. */
  active: Commit | null;
  changes: Change[];
}

/** The objects of a revision are not all here: its past is unknown on this node. */
export class HistoryMissing extends Error {
  override name = "HistoryMissing";
}

/** Where a node keeps the files of a module's revisions, each for good: what runs was started from one of them. */
export function revisionDirectory(varDir: string, name: string, commit: Commit): string {
  return join(varDir, "state", name, "revisions", commit);
}

/**
 * Lays the files of a revision down, durably. Harmless when they are there; what is there and makes no module any more gives way to what the
 * revision says. Throws ModuleInvalid when that makes none either.
 */
export async function layDown(
  repository: Repository,
  varDir: string,
  name: string,
  commit: Commit,
  names: ClusterNames | null,
): Promise<ModuleDefinition> {
  const directory = revisionDirectory(varDir, name, commit);
  const judge = (place: string): ModuleDefinition => {
    const { definition, problems } = readModule(place, names, name);
    if (definition === null) throw new ModuleInvalid(problems);
    return definition;
  };
  const laid = existsSync(directory) ? readModule(directory, names, name).definition : null;
  if (laid !== null) return laid;
  const files = await repository.files(commit);
  const sdk = await sdkSources();
  writeFiles(directory, files, (staging) => {
    writeSdkSources(staging, sdk);
    judge(staging);
  });
  return judge(directory);
}

/** How `commit` relates to `active`. */
export async function relate(
  repository: Repository,
  commit: Commit,
  active: Commit | null,
): Promise<Relation> {
  if (active === null) return "first";
  if (active === commit) return "same";
  if (await repository.contains(commit, active)) return "newer";
  return (await repository.contains(active, commit)) ? "older" : "apart";
}

/**
 * Takes a revision in. `pack`: what may be missing here of its objects. Throws ModuleInvalid, or HistoryMissing when the pack does not go with
 * what is here.
 */
export async function prepareRevision(
  varDir: string,
  name: string,
  commit: Commit,
  pack: Uint8Array | null,
  names: ClusterNames,
): Promise<Prepared> {
  const repository = await Repository.make(join(varDir, "modules", name));
  if (pack !== null) await repository.storePack(pack);
  await demandWhole(repository, commit);
  const active = await repository.find(ACTIVE);
  const relation = await relate(repository, commit, active);
  const { config } = await layDown(repository, varDir, name, commit, names);
  const before = active === null ? null : contentsOf(varDir, name, active);
  const after = contentsAt(revisionDirectory(varDir, name, commit), config);
  return { commit, relation, active, changes: planChange(before, after) };
}

/** Every object of the commit, and every commit before it, is here. */
async function demandWhole(repository: Repository, commit: Commit): Promise<void> {
  try {
    await repository.objectsBetween([commit], []);
    await repository.files(commit);
  } catch (error) {
    if (error instanceof ModuleInvalid) throw error;
    throw new HistoryMissing(
      `revision ${commit.slice(0, 12)} is not whole here: ${(error as Error).message}`,
    );
  }
}

/** Null where its files cannot be read any more. */
function contentsOf(varDir: string, name: string, commit: Commit): Contents | null {
  const directory = revisionDirectory(varDir, name, commit);
  // The cluster may have changed since: its names are not this question.
  const { definition } = readModule(directory, null, name);
  return definition === null ? null : contentsAt(directory, definition.config);
}

function contentsAt(directory: string, config: Contents["config"]): Contents {
  const files = [...readFiles(directory)].map(([path, { content, executable }]): [string, string] => [
    path,
    `${blobId(content)}${executable ? " executable" : ""}`,
  ]);
  const rules = readRules(directory)?.rules;
  const yaml = readFileSync(join(directory, "module.yaml"), "utf8");
  return { config, yaml, files: new Map(files), ...(rules === undefined ? {} : { rules }) };
}

/** Removes the files of revisions that nothing can have been started from. Their history stays. */
export function pruneRevisions(varDir: string, name: string, keep: readonly Commit[]): void {
  const folder = join(varDir, "state", name, "revisions");
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder))
    if (!keep.includes(entry)) rmSync(join(folder, entry), { recursive: true, force: true });
}
