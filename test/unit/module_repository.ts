/** Modules with git repositories in a scratch directory, and plain git beside them. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { ACTIVE, bringTo, commitDirectory, Repository } from "../../modules/history/history.ts";
import { scratch, writeFiles } from "../fixtures/scratch.ts";

/** Removed when the file's tests are done. */
export const root = scratch("history");

export const yaml = "kind: mirror\nreplicate: { paths: [{ path: /srv/a }] }\n";
export const hook = `export default async () => { console.log("hook"); };\n`;
/** Whose commits they are. */
export const me = { name: "tester", email: "tester@example.com" };
/** Why plain git cannot be asked, or false. */
export const noGit = Bun.which("git") === null ? "plain git is not installed here" : false;

/** Runs plain git; returns what it prints. */
export function git(directory: string, ...args: string[]): string {
  const settings = ["-c", "user.name=plain", "-c", "user.email=plain@example.com"];
  const { status, stdout, stderr } = spawnSync("git", [...settings, ...args], {
    cwd: directory,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`git ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout.trim();
}

/** A module's directory with a repository and one revision, applied. */
export async function made(name: string, files: Record<string, string> = { "module.yaml": yaml }) {
  const directory = writeFiles(join(root, name), files);
  const repository = await Repository.make(directory);
  const first = (await commitDirectory(repository, directory, null, "First", me)).commit;
  await repository.setRef(ACTIVE, first);
  t.equal(await bringTo(repository, first), "");
  return { directory, repository, first };
}

/** Commits what lies in the repository's directory, based on nothing that is applied. */
export async function commit(repository: Repository, message: string): Promise<string> {
  return (await commitDirectory(repository, repository.directory, null, message, me)).commit;
}
