/**
 * Both nodes' moments put together, and cut into incidents: what belongs together follows soon, or while a node is on its way. Pure.
 */
import { byName } from "../../modules/history/line_diff.ts";
import type { Change, Moment, Side } from "./moments.ts";

/** Moments that belong together. Times in ms since 1970. */
export interface Incident {
  from: number;
  to: number;
  moments: Moment[];
}

/** Where every node has come to rest, what follows after so long, ms, is something else; where one is on its way, it may belong to that for long. */
const RESTING_MS = 1000;
const MOVING_MS = 120_000;
/** What changed nothing is the end of what came before it, or the beginning of what comes next, ms. */
const TAIL_MS = 15_000;
const LEAD_MS = 3000;
/** Something that changed no state counts as so much further away. */
const MINOR = 6;

/** All incidents, the oldest first. */
export function incidentsOf(sides: readonly Side[]): Incident[] {
  const moments = sides.flatMap((side) => side.moments).sort((a, b) => a.at - b.at || byName(a.node, b.node));
  const incidents: Incident[] = [];
  for (const piece of pieces(moments)) {
    const last = incidents.at(-1);
    const gap = last === undefined ? Number.POSITIVE_INFINITY : piece.from - last.to;
    const belongs = isMajor(piece) ? last !== undefined && !isMajor(last) && gap <= LEAD_MS : gap <= TAIL_MS;
    if (last === undefined || !belongs) incidents.push(piece);
    else {
      last.moments.push(...piece.moments);
      last.to = Math.max(last.to, piece.to);
    }
  }
  return incidents;
}

function pieces(moments: readonly Moment[]): Incident[] {
  const found: Incident[] = [];
  const moving = new Map<string, boolean>();
  for (const moment of moments) {
    const last = found.at(-1);
    const patience = [...moving.values()].includes(true) ? MOVING_MS : RESTING_MS;
    if (last !== undefined && moment.at - last.to <= patience) {
      last.moments.push(moment);
      last.to = Math.max(last.to, endOf(moment));
    } else found.push({ from: moment.at, to: endOf(moment), moments: [moment] });
    // Whoever is gone will not arrive: the end of its journal may have gone with its power.
    if (moment.cause === "lost")
      for (const node of moving.keys()) if (node !== moment.node) moving.delete(node);
    const now = moment.became.at(-1);
    if (now !== undefined) moving.set(moment.node, now.readiness === "Transient");
  }
  return found;
}

function endOf({ at, ran, became }: Moment): number {
  const took = ran.reduce((sum, { tookMs }) => sum + tookMs, 0);
  return Math.max(at + took, became.at(-1)?.at ?? at);
}

/** Also where nothing came of it. */
const FELT: ReadonlySet<Moment["cause"]> = new Set(["lost", "fenced", "rule"]);

/** Did anything happen that people feel: a decision with steps, another state, a failure? */
export function isMajor({ moments }: Incident): boolean {
  return moments.some(
    ({ became, cause, ran }) => ran.length > 0 || FELT.has(cause) || (cause !== "boot" && became.length > 0),
  );
}

/** The incident around a time, or the last one where none is asked for. Null when there is none. */
export function incidentAround(
  incidents: readonly Incident[],
  at: { from: number; to: number } | null,
): Incident | null {
  if (at === null) return incidents.findLast(isMajor) ?? incidents.at(-1) ?? null;
  let best: Incident | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const incident of incidents) {
    const apart = Math.max(0, incident.from - at.to, at.from - incident.to);
    // Of two that are as near, the one that people felt.
    const distance = (apart + 1) * (isMajor(incident) ? 1 : MINOR);
    if (distance > least) continue;
    least = distance;
    best = incident;
  }
  return best;
}

/** What matters most comes first. */
const WEIGHT: Readonly<Record<Moment["cause"], number>> = {
  fenced: 9,
  split: 9,
  lost: 8,
  failed: 7,
  rule: 6,
  replication: 3,
  command: 5,
  warning: 2,
  boot: 4,
  peer: 1,
  resource: 1,
  other: 1,
};

/** What an incident is about, in one sentence. */
export function titleOf({ moments }: Incident): string {
  const felt = moments.filter(({ decided, became }) => decided !== "" && became.length > 0);
  const from = felt.length > 0 ? felt : moments;
  const [main] = from.toSorted((a, b) => WEIGHT[b.cause] - WEIGHT[a.cause] || a.at - b.at);
  if (main === undefined) return "";
  const saw = main.lost === undefined ? main.saw : `${main.lost} is silent`;
  const words = main.cause === "command" ? main.saw : main.decided || saw;
  return `${main.node}: ${firstSentence(words)}`;
}

/** The core puts several sentences behind each other; of a split brain it says who stays in the same. */
function firstSentence(text: string): string {
  const sentence = /split brain: .*/.exec(text)?.[0] ?? text.split("; ").at(-1)!;
  return sentence.length > 160 ? `${sentence.slice(0, 157)}…` : sentence;
}

/** What is said of a node of which nothing is remembered. */
export const UNKNOWN = "?";

/** A span of one node's timeline. State "": it was silent. */
export interface Span extends Omit<Change, "at"> {
  from: number;
  to: number;
}

/** What a node was from `from` to `to`. */
export function spansOf(changes: readonly Change[], from: number, to: number): Span[] {
  const spans: Span[] = [];
  const ordered = changes.toSorted((a, b) => a.at - b.at);
  for (const [index, { at, state, readiness }] of ordered.entries()) {
    const start = Math.max(at, from);
    const end = Math.min(ordered[index + 1]?.at ?? Number.POSITIVE_INFINITY, to);
    if (end < start || (end === start && at !== to)) continue;
    const last = spans.at(-1);
    if (last !== undefined && last.state === state && last.readiness === readiness) last.to = end;
    else spans.push({ from: start, to: end, state, readiness });
  }
  const first = spans[0]?.from ?? to;
  return first > from ? [{ from, to: first, state: UNKNOWN, readiness: "" }, ...spans] : spans;
}

/**
 * A node's changes, with its own silence: from when another noticed that it was gone until its daemon began again. Where its own side is missing, what
 * the others heard of it.
 */
export function changesOf(node: string, own: Side | null, others: readonly Side[]): Change[] {
  const heard = others
    .flatMap((side) => side.heard)
    .filter(({ peer }) => peer === node)
    .sort((a, b) => a.at - b.at);
  if (own === null) return heard.map(({ at, state, readiness }) => ({ at, state, readiness }));
  const silences = own.moments
    .filter(({ cause }) => cause === "boot")
    .flatMap(({ at }) => {
      const last = own.changes.findLast((change) => change.at < at);
      const lost = heard.findLast((word) => word.state === "" && word.at < at && word.at > (last?.at ?? 0));
      return lost === undefined || last === undefined ? [] : [{ at: lost.at, state: "", readiness: "" }];
    });
  return [...own.changes, ...silences].sort((a, b) => a.at - b.at);
}
