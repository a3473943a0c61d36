/**
 * Work on a module's repository in a process of its own: reading, packing and judging thousands of files must not keep the daemon from
 * its heartbeats. One order on standard input, one answer on standard output, both JSON.
 */
import { setPriority } from "node:os";
import { join } from "node:path";
import type { ClusterNames } from "../../../modules/cross_checks.ts";
import {
  ACTIVE,
  bringTo,
  type Commit,
  HistoryMissing,
  layDown,
  type Prepared,
  prepareRevision,
  Repository,
} from "../../../modules/history/history.ts";
import type { HookFile, ModuleHook } from "../../../modules/hook_files.ts";
import { type ModuleDefinition, ModuleInvalid } from "../../../modules/load.ts";

/** What can be asked for. `pack` is base64. */
export type RevisionOrder = { varDir: string; name: string } & (
  | { op: "prepare"; commit: Commit; pack: string | null; names: ClusterNames }
  | { op: "pack"; commit: Commit; haves: readonly Commit[] }
  | { op: "bring"; commit: Commit }
  | { op: "active" }
);

/** A definition as JSON. */
export interface PlainDefinition extends Omit<ModuleDefinition, "hooks" | "checkers"> {
  hooks: [ModuleHook, HookFile][];
  checkers: [string, HookFile][];
}

/** By op. `failure`: `invalid` is the module's author's fault, `missing` wants a larger pack. */
export interface RevisionAnswers {
  prepare: { prepared: Prepared; definition: PlainDefinition };
  pack: { pack: string };
  bring: { left: string };
  active: { commit: Commit; definition: PlainDefinition } | null;
}
/** Why there is no answer. */
export interface RevisionFailure {
  failure: "invalid" | "missing" | "failed";
  message: string;
}

/** The entry of the process. */
export async function runRevisionProcess(): Promise<void> {
  // The daemon's own urgency is not for this.
  setPriority(0);
  const order = (await Bun.stdin.json()) as RevisionOrder;
  let answer: unknown;
  try {
    answer = await carryOut(order);
  } catch (error) {
    const failure =
      error instanceof ModuleInvalid ? "invalid" : error instanceof HistoryMissing ? "missing" : "failed";
    answer = { failure, message: (error as Error).message } satisfies RevisionFailure;
  }
  process.stdout.write(JSON.stringify(answer));
}

async function carryOut(order: RevisionOrder): Promise<unknown> {
  const { varDir, name } = order;
  if (order.op === "prepare") {
    const { commit, pack, names } = order;
    const bytes = pack === null ? null : Buffer.from(pack, "base64");
    const prepared = await prepareRevision(varDir, name, commit, bytes, names);
    const repository = await Repository.make(join(varDir, "modules", name));
    return { prepared, definition: plain(await layDown(repository, varDir, name, commit, names)) };
  }
  const repository = Repository.at(join(varDir, "modules", name));
  if (repository === null) {
    if (order.op === "active") return null;
    throw new Error(`${join(varDir, "modules", name)} is no git repository`);
  }
  switch (order.op) {
    case "pack": {
      const objects = await repository.objectsBetween([order.commit], order.haves);
      return { pack: (await repository.pack(objects)).toString("base64") };
    }
    case "bring":
      return { left: await bringTo(repository, order.commit) };
    case "active": {
      const commit = await repository.find(ACTIVE);
      if (commit === null) return null;
      return { commit, definition: plain(await layDown(repository, varDir, name, commit, null)) };
    }
  }
}

function plain({ hooks, checkers, ...rest }: ModuleDefinition): PlainDefinition {
  return { ...rest, hooks: [...hooks], checkers: [...checkers] };
}
