/**
 * The revisions of this node's modules, as the daemon sees them: it asks a process of its own for all that takes time, one request a module
 * at a time, and moves the one ref that says which revision works here.
 */
import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { ClusterNames } from "../../../modules/cross_checks.ts";
import { ACTIVE, type Commit, type Prepared, Repository } from "../../../modules/history/history.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import { selfCommand } from "../../platform/self.ts";
import type { PlainDefinition, RevisionAnswers, RevisionFailure, RevisionOrder } from "./process.ts";

/** An order that was not carried out. */
export class RevisionRefused extends Error {
  readonly failure: RevisionFailure["failure"];
  constructor({ failure, message }: RevisionFailure) {
    super(message);
    this.failure = failure;
  }
}

/** A revision that lies ready, as the daemon can load it. */
export interface Ready extends Prepared {
  definition: ModuleDefinition;
}

/** See the top of the file. */
export class RevisionStore {
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(
    private readonly varDir: string,
    private readonly names: () => ClusterNames,
  ) {}

  /** Takes a revision in and judges it. `pack` (base64) holds what may be missing. Throws RevisionRefused. */
  async prepare(name: string, commit: Commit, pack: string | null): Promise<Ready> {
    const order = { op: "prepare", varDir: this.varDir, name, commit, pack, names: this.names() } as const;
    const { prepared, definition } = await this.#ask<"prepare">(order);
    return { ...prepared, definition: lively(definition) };
  }

  /** What a node that holds `haves` needs to have `commit`, base64. Throws RevisionRefused. */
  async pack(name: string, commit: Commit, haves: readonly Commit[]): Promise<string> {
    return (await this.#ask<"pack">({ op: "pack", varDir: this.varDir, name, commit, haves })).pack;
  }

  /** Brings the files that people edit to a revision. Returns "" or why they stay as they are. */
  async bring(name: string, commit: Commit): Promise<string> {
    try {
      return (await this.#ask<"bring">({ op: "bring", varDir: this.varDir, name, commit })).left;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** The revision that works here and its definition; null where there is none. Throws RevisionRefused. */
  async active(name: string): Promise<{ commit: Commit; definition: ModuleDefinition } | null> {
    const found = await this.#ask<"active">({ op: "active", varDir: this.varDir, name });
    return found === null ? null : { commit: found.commit, definition: lively(found.definition) };
  }

  /** From now on, also after a crash, this revision works here. */
  async activate(name: string, commit: Commit): Promise<void> {
    const repository = Repository.at(join(this.varDir, "modules", name));
    if (repository === null) throw new Error(`${join(this.varDir, "modules", name)} is no git repository`);
    await repository.setRef(ACTIVE, commit);
  }

  /** Forgets what came for a module that does not work here; files that people have put there stay. */
  async discard(name: string): Promise<void> {
    await this.#last.get(name);
    const directory = join(this.varDir, "modules", name);
    if (await Repository.at(directory)?.find(ACTIVE)) return;
    await rm(join(this.varDir, "state", name, "revisions"), { recursive: true, force: true });
    await rmdir(join(this.varDir, "state", name)).catch(() => undefined);
    const entries = await readdir(directory).catch(() => []);
    if (entries.every((entry) => entry === ".git")) await rm(directory, { recursive: true, force: true });
  }

  async #ask<Op extends RevisionOrder["op"]>(order: RevisionOrder): Promise<RevisionAnswers[Op]> {
    const before = this.#last.get(order.name) ?? Promise.resolve();
    const answer = before.then(() => run(order));
    this.#last.set(
      order.name,
      answer.catch(() => undefined),
    );
    const found = (await answer) as RevisionAnswers[Op] | RevisionFailure;
    if (found !== null && "failure" in found) throw new RevisionRefused(found);
    return found;
  }
}

function lively({ hooks, checkers, ...rest }: PlainDefinition): ModuleDefinition {
  return { ...rest, hooks: new Map(hooks), checkers: new Map(checkers) };
}

async function run(order: RevisionOrder): Promise<unknown> {
  const child = Bun.spawn(selfCommand("__revision"), {
    stdin: new Blob([JSON.stringify(order)]),
    stdout: "pipe",
    stderr: "pipe",
    // A session of its own: the scheduler weighs the daemon's above all others.
    detached: true,
  });
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  if (text === "")
    return { failure: "failed", message: `the process for git ended without an answer: ${errors}` };
  return JSON.parse(text) as unknown;
}
