/**
 * A revision is handed to every node, in two steps: each takes it in, judges it and keeps it ready; when all that are alive have done so, this
 * node switches, and with that it is decided. The others switch when they are told, or when they hear it in our heartbeats. A node that
 * is away learns of it when it meets a node that has it.
 *
 * Before the decision a crash or a cut leaves everything as it was; after it, whoever did not hear catches up.
 */
import { type Change, type Commit, needsStop } from "../../modules/history/history.ts";
import { callNode } from "../api/node_client.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { CommandResult, RevisionOffer } from "./engine.ts";
import type { Lack } from "./node_secrets.ts";
import type { RevisionStore } from "./revision_store.ts";
import { lines, type RevisionSwitch, short } from "./revision_switch.ts";

/** Longest time from the first "ready" to the decision, ms: well below the time for which a node keeps a revision ready. */
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
  const ready: string[] = [];
  const away: string[] = [];
  let own: Answered | null = null;
  const giveUp = async (result: CommandResult): Promise<CommandResult> => {
    await Promise.all(ready.map((node) => tell(work, node, "abandon")));
    return { ...result, message: `nothing was changed: ${result.message}` };
  };
  // Every node asks in the same order, so that of two at once one gets through.
  for (const node of Object.keys(cluster.nodes).sort(byName)) {
    const answer = await offer(work, node);
    if (answer.status === 0) {
      if (!dryRun) ready.push(node);
      if (node === cluster.node) own = answer.data as Answered;
    } else if (answer.status !== 3) return await giveUp(answer);
    else if (await fallsSilent(work, node)) away.push(node);
    else
      return await giveUp({
        status: 1,
        message: `${node} is alive, its heartbeats are heard, but it does not take requests: ${answer.message}`,
      });
  }
  const { active, changes, secrets } = own!;
  const lack = work.lack(secrets);
  const lacking = lack === null ? [] : [`${lack.reason}, and it does not start without: ${lack.remedy}`];
  const data = { revision: commit, previous: active, changes, away };
  if (dryRun) return { status: 0, message: [foretell(work, own!, away), ...lacking].join("\n"), data };
  if (performance.now() - begun > LONGEST_MS)
    return await giveUp({
      status: 1,
      message: `it took more than ${LONGEST_MS / 1000} s to reach all nodes`,
    });
  const decided = await tell(work, cluster.node, "activate");
  if (decided.status !== 0) return await giveUp(decided);
  const results = await Promise.all(
    ready.map(
      async (node): Promise<[string, CommandResult]> => [
        node,
        node === cluster.node ? decided : await tell(work, node, "activate"),
      ],
    ),
  );
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
  return { status: late.length > 0 ? 1 : 0, message, data: { ...data, nodes: Object.fromEntries(results) } };
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

async function tell(work: HandOver, node: string, what: "activate" | "abandon"): Promise<CommandResult> {
  const { cluster, revisions, name, commit } = work;
  if (node === cluster.node)
    return what === "activate" ? await revisions.activate(name, commit) : revisions.abandon(name, commit);
  return await callNode(cluster, node, "POST", `/modules/${name}/${what}`, { commit });
}

/** A node that does not take requests may be dead, and its last heartbeats not old enough. */
async function fallsSilent({ cluster, heard }: HandOver, node: string): Promise<boolean> {
  const patience = performance.now() + 2 * cluster.heartbeat.timeoutMs;
  while (heard().has(node) && performance.now() < patience) await Bun.sleep(POLL_MS);
  return !heard().has(node);
}
