/**
 * Where a module's first files come from: a git repository somewhere (over http or https in this program, over ssh by the system's git), one on
 * this machine, or a plain folder. The template becomes a branch of the module's repository.
 */
import { spawnSync } from "node:child_process";
import fs, { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import * as http from "./git_http.ts";
import { git } from "./git_library.ts";
import { readFiles } from "./module_files.ts";
import { type Commit, Repository, type Signature } from "./repository.ts";
import { copyHistory } from "./working_tree.ts";

const SSH = /^(ssh:\/\/|[\w.-]+@[\w.-]+:)/;
const HTTP = /^https?:\/\//;

/** Does a template's name stand for a place rather than for one of ours? */
export function isPlace(template: string): boolean {
  return HTTP.test(template) || SSH.test(template) || /[/.]/.test(template);
}

/**
 * Brings the template at `place` into `repository`; returns its commit, which no ref names yet. A plain folder becomes a commit after `previous`.
 * Throws an Error that says what is wrong with the place.
 */
export async function fetchTemplate(
  repository: Repository,
  place: string,
  previous: Commit | null,
  author: Signature,
): Promise<Commit> {
  if (HTTP.test(place)) return await viaTemporary(repository, (directory) => cloneHttp(place, directory));
  if (SSH.test(place)) return await viaTemporary(repository, async (directory) => cloneSsh(place, directory));
  const folder = resolve(place);
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw new Error(`${folder} is no directory`);
  const source = Repository.at(folder);
  const head = (await source?.head()) ?? null;
  if (source && head !== null) {
    await copyHistory(source, head, repository);
    return head;
  }
  const tree = await repository.writeTree(readFiles(folder));
  if (previous !== null && (await repository.treeOf(previous)) === tree) return previous;
  return await repository.commit(tree, previous === null ? [] : [previous], `Template ${folder}`, author);
}

async function viaTemporary(
  repository: Repository,
  clone: (directory: string) => Promise<void>,
): Promise<Commit> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-template-"));
  try {
    await clone(directory);
    const source = Repository.at(directory);
    const head = (await source?.head()) ?? null;
    if (!source || head === null) throw new Error("the repository is empty");
    await copyHistory(source, head, repository);
    return head;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function cloneHttp(url: string, dir: string): Promise<void> {
  try {
    await git.clone({ fs, http, dir, url, singleBranch: true, noTags: true, noCheckout: true });
  } catch (error) {
    throw new Error(`${url} cannot be cloned: ${(error as Error).message}`);
  }
}

function cloneSsh(url: string, directory: string): void {
  const program = Bun.which("git");
  if (program === null)
    throw new Error(
      `${url}: ssh needs git on this machine, and there is none; clone it elsewhere, and name the folder`,
    );
  const { status, stderr } = spawnSync(
    program,
    ["clone", "--quiet", "--single-branch", "--no-tags", "--", url, directory],
    {
      encoding: "utf8",
      // Nobody answers questions here.
      env: {
        ...process.env,
        GIT_TERMINAL_PROMPT: "0",
        GIT_SSH_COMMAND: process.env["GIT_SSH_COMMAND"] ?? "ssh -o BatchMode=yes",
      },
    },
  );
  if (status !== 0) throw new Error(`${url} cannot be cloned: ${stderr.trim()}`);
}
