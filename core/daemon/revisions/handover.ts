/**
 * A revision is handed to every node, in three steps: each takes it in, judges it and keeps it ready; when all that are alive have done so, the
 * config hook runs on all of them at once; when none has failed, this node switches, and with that it is decided. The others switch when they
 * are told, or when they hear it in our heartbeats. A node that is away learns of it when it meets a node that has it.
 *
 * Before the decision a refusal, a crash or a cut leaves everything as it was; after it, whoever did not hear catches up.
 */
import { type Change, type Commit, needsStop } from "../../../modules/history/history.ts";
import { callNode } from "../../api/node_client.ts";
import type { Cluster } from "../../cluster/cluster.ts";
import type { CommandResult, RevisionOffer } from "../engine.ts";
import type { Lack } from "../secrets/node_secrets.ts";
import type { RevisionStore } from "./store.ts";
import { lines, type RevisionSwitch, short } from "./switch.ts";

/** Longest time until all nodes keep it ready, ms. Config hooks have limits of their own, and a node keeps a revision ready for longer than both. */
const LONGEST_MS = 30_000;
const POLL_MS = 100;

/** What a hand-over works with. */
export interface HandOver {
  cluster: Cluster;
  store: RevisionStore;
  revisions: RevisionSwitch;
  /** Nodes whose heartbeats are heard now. */
  heard(): ReadonlySet<string>;
  /** What a module that lists these secrets lacks here. */
  lack(secrets: readonly string[]): Lack | null;
  name: string;
  commit: Commit;
  /** The module's place in the cluster. */
  number: number;
  dryRun: boolean;
}

interface Answered {
  relation: string;
  active: Commit | null;
  changes: Change[];
  /** What its module.yaml lists. */
  secrets: string[];
}

/** See the top of the file. Result data: `{ revision, previous, changes, nodes, away }`. */
export async function handOver(work: HandOver): Promise<CommandResult> {
  const { revisions, name } = work;
  if (!revisions.beginHandOver(name))
    return { status: 1, message: `a revision of ${name} is being applied at this moment: try again` };
  try {
    return await handOverAlone(work);
  } finally {
    revisions.endHandOver(name);
  }
}

async function handOverAlone(work: HandOver): Promise<CommandResult> {
  const { cluster, name, commit, dryRun } = work;
  const begun = performance.now();
  const nodes = new Nodes(work);
  const giveUp = async (result: CommandResult): Promise<CommandResult> => {
    const undone = dryRun ? [] : await tellAll(work, nodes.ready(), "abandon");
    const left = undone.flatMap(([, { status, message }]) => (status === 1 ? [message] : []));
    return { ...result, message: [`nothing was changed: ${result.message}`, ...left].join("\n") };
  };
  const refusal = await nodes.askAll();
  if (refusal) return await giveUp(refusal);
  const own = nodes.answer(cluster.node);
  const lack = work.lack(own.secrets);
  const lacking = lack === null ? [] : [`${lack.reason}, and it does not start without: ${lack.remedy}`];
  const data = { revision: commit, previous: own.active, changes: own.changes, away: nodes.away() };
  if (dryRun) return { status: 0, message: [foretell(work, own, data.away), ...lacking].join("\n"), data };
  if (performance.now() - begun > LONGEST_MS)
    return await giveUp({
      status: 1,
      message: `it took more than ${LONGEST_MS / 1000} s to reach all nodes`,
    });
  const unfit = await nodes.configureAll();
  if (unfit) return await giveUp(unfit);
  const decided = await tell(work, cluster.node, "activate");
  if (decided.status !== 0) return await giveUp(decided);
  const others = nodes.ready().filter((node) => node !== cluster.node);
  const results = [[cluster.node, decided] as const, ...(await tellAll(work, others, "activate"))].sort(
    ([one], [other]) => byName(one, other),
  );
  const away = nodes.away();
  const late = results.filter(([, { status }]) => status !== 0);
  const loaded = results.filter(([, { status }]) => status === 0).map(([node]) => node);
  const message = [
    `${name} ${short(commit)} is loaded on ${loaded.join(", ")}`,
    ...results.flatMap(([node, { status, message: said }]) =>
      status === 0 && said.includes(";") ? [`${node}:${said.slice(said.indexOf(";") + 1)}`] : [],
    ),
    ...late.map(([node, { message: said }]) => `${node} does not say that it has it: ${said}; it catches up`),
    ...away.map((node) => `${node} does not answer: it takes this revision when it is back`),
    ...lacking,
  ].join("\n");
  const done = { ...data, away, nodes: Object.fromEntries(results) };
  return { status: late.length > 0 ? 1 : 0, message, data: done };
}

/** The cluster's nodes, as they have answered so far: each is ready, or away, or ends it. */
class Nodes {
  readonly #answered = new Map<string, Answered>();
  readonly #silent = new Set<string>();

  constructor(private readonly work: HandOver) {}

  ready(): string[] {
    return [...this.#answered.keys()].sort(byName);
  }

  away(): string[] {
    return [...this.#silent].sort(byName);
  }

  answer(node: string): Answered {
    return this.#answered.get(node)!;
  }

  /** Asks each whether it could take the revision. Returns why it goes no further, or undefined. */
  async askAll(): Promise<CommandResult | undefined> {
    const ask = async (node: string): Promise<CommandResult | undefined> => {
      const answer = await offer(this.work, node);
      if (answer.status === 0) this.#answered.set(node, answer.data as Answered);
      return await this.#judge(node, answer);
    };
    const left = Object.keys(this.work.cluster.nodes).sort(byName);
    // Whoever has the first node that is there asks the others, all at once: of two hand-overs one gets through.
    while (left.length > 0 && this.#answered.size === 0) {
      const refusal = await ask(left.shift()!);
      if (refusal) return refusal;
    }
    return (await Promise.all(left.map(ask))).find((refusal) => refusal !== undefined);
  }

  /** Has each prepared by its config hook, all at once. Returns as `askAll`. */
  async configureAll(): Promise<CommandResult | undefined> {
    const told = await tellAll(this.work, this.ready(), "configure");
    const refusals = await Promise.all(told.map(([node, answer]) => this.#judge(node, answer)));
    return refusals.find((refusal) => refusal !== undefined);
  }

  async #judge(node: string, answer: CommandResult): Promise<CommandResult | undefined> {
    if (answer.status === 0) return undefined;
    if (answer.status !== 3) return answer;
    if (!(await fallsSilent(this.work, node)))
      return {
        status: 1,
        message: `${node} is alive, its heartbeats are heard, but it does not take requests: ${answer.message}`,
      };
    this.#answered.delete(node);
    this.#silent.add(node);
    return undefined;
  }
}

function foretell(
  { name, cluster }: HandOver,
  { active, changes }: Answered,
  away: readonly string[],
): string {
  const there = Object.keys(cluster.nodes).filter((node) => !away.includes(node));
  const head = `${name} is valid and would be loaded on ${there.join(", ")}`;
  const what =
    active === null
      ? "it would be the first"
      : changes.length === 0
        ? "nothing changes"
        : needsStop(changes).length === 0
          ? `all of it while the module runs:\n${lines(changes)}`
          : `the module is stopped everywhere, as this needs:\n${lines(changes)}`;
  return [
    `${head}; ${what}`,
    ...away.map((node) => `${node} does not answer: it would take it when it is back`),
  ].join("\n");
}

const byName = (one: string, other: string): number => (one < other ? -1 : 1);

/** Asks a node whether it could switch; what it lacks is sent once it has said so. */
async function offer(work: HandOver, node: string): Promise<CommandResult> {
  const { cluster, store, revisions, name, commit, number, dryRun } = work;
  const body: RevisionOffer = { commit, pack: null, number, dryRun, from: cluster.node };
  if (node === cluster.node) return await revisions.prepare(name, body);
  const path = `/modules/${name}/prepare`;
  const first = await callNode(cluster, node, "POST", path, body);
  const lacks = first.data as { isMissing?: boolean; active: Commit | null } | undefined;
  if (lacks?.isMissing !== true) return first;
  const send = async (haves: readonly Commit[]): Promise<CommandResult> =>
    await callNode(cluster, node, "POST", path, { ...body, pack: await store.pack(name, commit, haves) });
  if (lacks.active === null) return await send([]);
  const second = await send([lacks.active]);
  // What it has is damaged: all of it is sent.
  return (second.data as typeof lacks | undefined)?.isMissing === true ? await send([]) : second;
}

type Step = "configure" | "activate" | "abandon";

async function tell(work: HandOver, node: string, step: Step): Promise<CommandResult> {
  const { cluster, revisions, name, commit } = work;
  if (node === cluster.node) return await revisions[step](name, commit);
  return await callNode(cluster, node, "POST", `/modules/${name}/${step}`, { commit });
}

/** At once. Returns each node's answer, in the order of `nodes`. */
async function tellAll(
  work: HandOver,
  nodes: readonly string[],
  step: Step,
): Promise<[string, CommandResult][]> {
  return await Promise.all(
    nodes.map(async (node): Promise<[string, CommandResult]> => [node, await tell(work, node, step)]),
  );
}

/** A node that does not take requests may be dead, and its last heartbeats not old enough. */
async function fallsSilent({ cluster, heard }: HandOver, node: string): Promise<boolean> {
  const patience = performance.now() + 2 * cluster.heartbeat.timeoutMs;
  while (heard().has(node) && performance.now() < patience) await Bun.sleep(POLL_MS);
  return !heard().has(node);
}
