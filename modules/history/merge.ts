/**
 * Another line of history comes into a module's files: a newer template, or what the cluster has applied meanwhile. As git does it: merged where
 * the changes do not touch, else with conflict markers in the files and MERGE_HEAD beside them, for people (or plain git) to solve.
 */
import fs, { writeFileSync } from "node:fs";
import { join } from "node:path";
import { git } from "./git_library.ts";
import { byName } from "./line_diff.ts";
import { readFiles } from "./module_files.ts";
import { type Commit, MAIN, type Repository, type Signature } from "./repository.ts";
import { commitDirectory, differences } from "./working_tree.ts";

/** What a merge came to. */
export interface Merged {
  /** Nothing new; main moved on without a merge; merged; or the files that are in conflict. */
  how: "already" | "forward" | "merged" | "conflict";
  conflicts: string[];
  /** A commit that was made first, of what was being edited; null when nothing was. */
  edits: Commit | null;
}

/** Merges `theirs` into the branch main and the files of the repository's directory. `what` names it in the history. */
export async function mergeIn(
  repository: Repository,
  theirs: Commit,
  what: string,
  author: Signature,
): Promise<Merged> {
  const { directory } = repository;
  if ((await repository.merging()) !== null)
    throw new Error(
      `a merge is under way in ${directory}: solve its conflicts and apply, or undo it with git merge --abort`,
    );
  const head = await repository.head();
  const isTheirs = (await differences(repository, readFiles(directory), theirs)).length === 0;
  if (isTheirs && head !== null && (await repository.contains(theirs, head))) {
    await repository.setRef(MAIN, theirs);
    await repository.checkOutMain();
    return { how: head === theirs ? "already" : "forward", conflicts: [], edits: null };
  }
  const { commit: own, isNew } = await commitDirectory(
    repository,
    directory,
    head,
    `Edits before: ${what}`,
    author,
  );
  const edits = isNew ? own : null;
  await repository.setRef(MAIN, own);
  await repository.checkOutMain();
  if (await repository.contains(own, theirs)) return { how: "already", conflicts: [], edits };
  if (await repository.contains(theirs, own)) {
    await repository.setRef(MAIN, theirs);
    await repository.checkOutMain();
    return { how: "forward", conflicts: [], edits };
  }
  const place = { fs, dir: directory, gitdir: repository.gitDirectory, cache: {} };
  try {
    await git.merge({
      ...place,
      ours: "main",
      theirs,
      author,
      message: what,
      abortOnConflict: false,
      allowUnrelatedHistories: true,
      fastForward: false,
    });
  } catch (error) {
    const { Errors } = await import("isomorphic-git");
    if (!(error instanceof Errors.MergeConflictError)) throw error;
    writeFileSync(join(repository.gitDirectory, "MERGE_HEAD"), `${theirs}\n`);
    writeFileSync(join(repository.gitDirectory, "MERGE_MODE"), "");
    writeFileSync(join(repository.gitDirectory, "MERGE_MSG"), `${what}\n`);
    const { filepaths, bothModified, deleteByUs, deleteByTheirs } = error.data;
    const conflicts = new Set([filepaths, bothModified, deleteByUs, deleteByTheirs].flat());
    return { how: "conflict", conflicts: [...conflicts].sort(byName), edits };
  }
  await repository.checkOutMain();
  return { how: "merged", conflicts: [], edits };
}
