/**
 * The files of a module's directory, against its history: what is edited there, what it is based on, and how another revision comes in
 * without ever throwing an edit away.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ModuleInvalid } from "../load.ts";
import { writeSdk } from "../sdk_files.ts";
import { blobId, type ModuleFiles, readFiles } from "./module_files.ts";
import { type Commit, MAIN, Repository, type Signature } from "./repository.ts";

/** In a directory that is no clone: the revision that it was last applied as. */
const BASE_FILE = ".holdfast/base";
const CONFLICT = /^(<{7} |>{7} )/m;

/** The paths at which files differ from a commit (null: from nothing). */
export async function differences(
  repository: Repository,
  files: ModuleFiles,
  commit: Commit | null,
): Promise<string[]> {
  const entries = commit === null ? new Map() : await repository.entries(commit);
  const paths = new Set([...files.keys(), ...entries.keys()]);
  return [...paths].filter((path) => {
    const [file, entry] = [files.get(path), entries.get(path)];
    if (file === undefined || entry === undefined) return true;
    return blobId(file.content) !== entry.oid || file.executable !== entry.executable;
  });
}

/** Throws ModuleInvalid, with the place, when a merge has left a conflict that nobody has solved. */
export function refuseConflicts(files: ModuleFiles): void {
  const problems = [...files].flatMap(([file, { content }]) => {
    const at = content
      .subarray(0, 1 << 20)
      .toString("latin1")
      .search(CONFLICT);
    if (at < 0) return [];
    const line = content.subarray(0, at).toString("latin1").split("\n").length;
    return [{ file, line, column: 1, path: "", message: "a conflict of a merge is not solved" }];
  });
  if (problems.length > 0) throw new ModuleInvalid(problems);
}

/** The commits that the files of a directory are based on: its HEAD, what is merged into it, or what it was last applied as. */
async function basesOf(directory: string, repository: Repository): Promise<Commit[]> {
  const bases = new Set<Commit>();
  const own = Repository.at(directory);
  if (own) for (const base of [await own.head(), await own.merging()]) if (base !== null) bases.add(base);
  const noted = join(directory, BASE_FILE);
  if (existsSync(noted)) {
    const base = readFileSync(noted, "utf8").trim();
    if (/^[0-9a-f]{40}$/.test(base) && (await repository.has(base))) bases.add(base);
  }
  return [...bases];
}

/** Leaves out what another of the commits contains. */
async function newest(repository: Repository, commits: readonly Commit[]): Promise<Commit[]> {
  const kept: Commit[] = [];
  for (const commit of commits) {
    const others = commits.filter((other) => other !== commit);
    const isOld = await Promise.all(others.map((other) => repository.contains(other, commit)));
    if (!isOld.includes(true)) kept.push(commit);
  }
  return kept;
}

/** What `commitDirectory` made. */
export interface Committed {
  commit: Commit;
  /** False when the files are just what they are based on. */
  isNew: boolean;
  /** Nothing says what the files are based on. */
  isBaseless: boolean;
}

/**
 * The files of `directory` as a commit of `repository`, named by no ref yet. They are based on what the directory says (a repository's HEAD, or
 * what was last applied from there), else on `fallback`. Throws ModuleInvalid.
 */
export async function commitDirectory(
  repository: Repository,
  directory: string,
  fallback: Commit | null,
  message: string,
  author: Signature,
): Promise<Committed> {
  const files = readFiles(directory);
  refuseConflicts(files);
  const source = Repository.at(directory);
  const head = (await source?.head()) ?? null;
  if (source && head !== null && source.gitDirectory !== repository.gitDirectory)
    await copyHistory(source, head, repository);
  const bases = await newest(repository, await basesOf(directory, repository));
  const parents = bases.length > 0 ? bases : fallback === null ? [] : [fallback];
  const isBaseless = bases.length === 0 && fallback !== null;
  if (parents.length === 1 && (await differences(repository, files, parents[0]!)).length === 0)
    return { commit: parents[0]!, isNew: false, isBaseless };
  const tree = await repository.writeTree(files);
  return { commit: await repository.commit(tree, parents, message, author), isNew: true, isBaseless };
}

/** Takes a commit with all its past over from another repository. */
export async function copyHistory(from: Repository, commit: Commit, to: Repository): Promise<void> {
  if (await to.has(commit)) return;
  await to.storePack(await from.pack(await from.objectsBetween([commit], [])));
}

/** Notes in a directory which revision it was applied as: its base, next time. */
export function noteApplied(directory: string, commit: Commit): void {
  mkdirSync(join(directory, ".holdfast"), { recursive: true });
  writeFileSync(join(directory, BASE_FILE), `${commit}\n`);
}

/**
 * Brings the directory of a module to a revision that comes after what it is based on, where nothing would be lost by that. Returns "" or why the
 * files stay as they are.
 */
export async function bringTo(repository: Repository, commit: Commit): Promise<string> {
  const head = await repository.head();
  if (!(await repository.isOnMain())) return "a branch other than main is checked out";
  if (head !== null && !(await repository.contains(commit, head)))
    return "they are based on what was never applied";
  const files = readFiles(repository.directory);
  if ((await differences(repository, files, commit)).length > 0) {
    if ((await repository.merging()) !== null) return "a merge is under way";
    const isEdited = head === null ? files.size > 0 : (await differences(repository, files, head)).length > 0;
    if (isEdited) return "they are being edited";
  }
  endMerge(repository);
  await repository.setRef(MAIN, commit);
  await repository.checkOutMain();
  writeSdk(repository.directory);
  return "";
}

/** The merge that the directory was in is over. */
function endMerge(repository: Repository): void {
  for (const name of ["MERGE_HEAD", "MERGE_MSG", "MERGE_MODE"])
    rmSync(join(repository.gitDirectory, name), { force: true });
}
