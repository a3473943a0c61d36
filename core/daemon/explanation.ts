/**
 * `holdfast explain`, asked of one node: its own side, what the others tell of theirs, and how their clocks differ from its own.
 */
import { callNode, fetchFromNode } from "../api/node_client.ts";
import { checksOf } from "../checks/module_checks.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { type ClockOffset, explain, type Source } from "../explain/explain.ts";
import type { Evidence } from "../explain/snapshot.ts";
import { explanationText, PLAIN } from "../explain/text.ts";
import { readTold } from "../explain/told.ts";
import { parseWhen, type When } from "../explain/when.ts";
import { recordsAnything } from "../witness/config.ts";
import type { CommandResult, NodeStatus } from "./engine.ts";
import type { ModuleRuntime } from "./module/runtime.ts";

/** A node that does not tell its side in this time, ms, is named as missing: one that is not heard is not waited for so long. */
const TELL_MS = 5000;
const SILENT_TELL_MS = 1500;

/** Tells the story of a module around a time, in words that `parseWhen` reads; null: the last that happened. */
export async function explanationOf(
  cluster: Cluster,
  runtime: ModuleRuntime,
  states: Readonly<Record<string, NodeStatus>>,
  at: string | null,
): Promise<CommandResult> {
  let when: When | null;
  try {
    when = at === null ? null : parseWhen(at, Date.now());
  } catch (error) {
    return { status: 2, message: `--at: ${(error as Error).message}` };
  }
  const around = when === null ? null : new Date(when.to).toISOString();
  const { sources, about, now } = await evidenceOf(cluster, runtime, states, around);
  const told = explain(runtime.definition.name, cluster.node, sources, about, now, when);
  return { status: 0, message: explanationText(told, PLAIN), data: told };
}

/** All that a module's story is made of, around an ISO time (null: of late), asked from every node of it. */
export async function evidenceOf(
  cluster: Cluster,
  runtime: ModuleRuntime,
  states: Readonly<Record<string, NodeStatus>>,
  around: string | null,
): Promise<Evidence> {
  const { config, name } = runtime.definition;
  const sources = await Promise.all(
    runtime.nodes.map(async (node): Promise<[string, Source]> => {
      const timeoutMs = states[node]?.state === "UNKNOWN" ? SILENT_TELL_MS : TELL_MS;
      if (node !== cluster.node) return [node, await sideOf(cluster, node, name, around, timeoutMs)];
      return [node, { told: readTold({ node, ...(await runtime.journal.told(around)) }), clock: null }];
    }),
  );
  const about = {
    kind: config.kind,
    lans: config.heartbeat.lans ?? cluster.lans,
    timeoutMs: runtime.timeoutMs,
    onIsolation: config.kind === "mirror" ? config.onIsolation : "",
    isWitnessed: recordsAnything(cluster.witness),
    maxLoop: config.maxLoop.count,
    checks: checksOf(config),
  };
  const now = Object.fromEntries(
    Object.entries(states).map(([node, { state, readiness, reason, remedy }]) => [
      node,
      { state, readiness, reason, ...(remedy === undefined ? {} : { remedy }) },
    ]),
  );
  return { sources: Object.fromEntries(sources), about, now };
}

async function sideOf(
  cluster: Cluster,
  node: string,
  module: string,
  at: string | null,
  timeoutMs: number,
): Promise<Source> {
  const query = at === null ? "" : `?at=${encodeURIComponent(at)}`;
  const options = { timeoutMs };
  const [answer, clock] = await Promise.all([
    callNode(cluster, node, "GET", `/modules/${module}/told${query}`, undefined, options),
    offsetOf(() => fetchFromNode(cluster, node, "/clock", options)),
  ]);
  return { told: answer.status === 0 ? readTold(answer.data) : null, clock };
}

/** Asks another clock twice, and takes the answer that came sooner: half of its way is what is uncertain. */
export async function offsetOf(ask: () => Promise<unknown>): Promise<ClockOffset | null> {
  let best: ClockOffset | null = null;
  for (let time = 0; time < 2; time++) {
    const sent = Date.now();
    const since = performance.now();
    const { now } = ((await ask()) ?? {}) as { now?: unknown };
    const way = performance.now() - since;
    if (typeof now !== "number") return best;
    const offset = { aheadMs: Math.round(now - (sent + way / 2)), uncertainMs: Math.ceil(way / 2) };
    if (best === null || offset.uncertainMs < best.uncertainMs) best = offset;
  }
  return best;
}
