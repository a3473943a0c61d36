/** Where a module lies on this node, and who works on it: what the commands about modules share. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { ACTIVE, type Commit, Repository, type Signature } from "../../../modules/history/history.ts";
import { type ClusterNames, moduleNameProblem } from "../../../modules/mod.ts";
import { loadCluster } from "../../cluster/cluster.ts";
import { CommandError, EXIT } from "../command.ts";

/** Where a node keeps the files of a module that people edit. Throws CommandError on a name that is none. */
export function moduleDirectory(varDir: string, name: string): string {
  const problem = moduleNameProblem(name);
  if (problem !== "") throw new CommandError(EXIT.usage, problem);
  return join(resolve(varDir), "modules", name);
}

/** What a module may name; null while this node belongs to no cluster. */
export function clusterNames(varDir: string): ClusterNames | null {
  const cluster = loadCluster(varDir);
  return cluster ? { nodes: Object.keys(cluster.nodes), lans: cluster.lans } : null;
}

/** Who makes a revision. */
export function author(): Signature {
  const user = process.env["SUDO_USER"] ?? process.env["USER"] ?? "root";
  return { name: user, email: `${user}@${hostname()}` };
}

/** The module's repository. Throws CommandError where there is none. */
export function repositoryOf(varDir: string, name: string): Repository {
  const directory = moduleDirectory(varDir, name);
  const repository = Repository.at(directory);
  if (repository) return repository;
  throw new CommandError(
    EXIT.usage,
    existsSync(directory)
      ? `${directory} has no history yet: holdfast module apply ${name} begins it`
      : `there is no module "${name}" here: ${directory} is not there`,
  );
}

/** The revision that works here. Throws CommandError when none was ever applied. */
export async function activeRevision(repository: Repository, name: string): Promise<Commit> {
  const active = await repository.find(ACTIVE);
  if (active !== null) return active;
  throw new CommandError(EXIT.usage, `${name} was never applied: holdfast module apply ${name}`);
}

/** A revision by a name that people use. Throws CommandError. */
export async function revisionNamed(repository: Repository, name: string, revision: string): Promise<Commit> {
  const found = await repository.find(revision);
  if (found !== null) return found;
  throw new CommandError(
    EXIT.usage,
    `${name} has no revision "${revision}" here: holdfast module history ${name} lists them`,
  );
}
