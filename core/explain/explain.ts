/**
 * `holdfast explain`: the sides of all nodes become one story, with a picture of their states and what would have prevented it. Pure.
 */
import {
  changesOf,
  type Incident,
  incidentAround,
  incidentsOf,
  isMajor,
  type Span,
  spansOf,
  titleOf,
} from "./incidents.ts";
import { type Change, type Moment, momentsOf, type Side } from "./moments.ts";
import { type Circumstances, preventions } from "./prevention.ts";
import { onOurClock, type Told } from "./told.ts";
import type { When } from "./when.ts";

/** How another node's clock differs from the asker's, as measured when it was asked. */
export interface ClockOffset {
  /** ms; negative: behind. */
  aheadMs: number;
  /** It may be so much more or less, ms. */
  uncertainMs: number;
}

/** What is known of one node's side. */
export interface Source {
  /** Null: it did not answer. */
  told: Told | null;
  /** Null for the node that was asked. */
  clock: ClockOffset | null;
}

/** The document of `explain --json`. All times ISO, on the clock of `node`. */
export interface Explanation {
  version: 1;
  module: string;
  /** The node that was asked. */
  node: string;
  /** By node: did it answer, how far is its clock ahead, from when on does it remember. */
  sources: Record<string, { answered: boolean; clock: ClockOffset | null; since: string | null }>;
  incident: {
    from: string;
    to: string;
    title: string;
    moments: ToldMoment[];
    prevention: string[];
  } | null;
  timeline: Record<string, { from: string; to: string; state: string; readiness: string }[]>;
  /** Incidents before and after it. */
  before: { at: string; title: string }[];
  after: { at: string; title: string }[];
  now: Record<string, { state: string; readiness: string; reason: string; remedy?: string }>;
}

/** A moment as it is told: its times are ISO. */
export type ToldMoment = Omit<Moment, "at" | "became"> & {
  time: string;
  became: (Omit<Change, "at"> & { time: string })[];
};

/** So many other incidents are named on either side. */
const NEIGHBOURS = 4;
/** The picture begins a little before, and ends a little after, ms. */
const MARGIN_MS = 400;

/** Puts the story together. `at`: around when; null: the last. */
export function explain(
  module: string,
  node: string,
  sources: Readonly<Record<string, Source>>,
  about: Omit<Circumstances, "module" | "missing" | "boots">,
  now: Explanation["now"],
  at: When | null,
): Explanation {
  const names = Object.keys(sources);
  const peerOf = (one: string): string | null =>
    about.kind === "mirror" ? (names.find((other) => other !== one) ?? null) : null;
  const sides = new Map<string, Side>();
  for (const [name, { told, clock }] of Object.entries(sources))
    if (told !== null) sides.set(name, momentsOf(onOurClock(told, shiftOf(clock)), peerOf(name)));
  const incidents = incidentsOf([...sides.values()]);
  const incident = incidentAround(incidents, at);
  const others = (list: readonly Incident[]) =>
    list.filter(isMajor).map((one) => ({ at: iso(one.from), title: titleOf(one) }));
  const index = incident === null ? 0 : incidents.indexOf(incident);
  return {
    version: 1,
    module,
    node,
    sources: Object.fromEntries(
      Object.entries(sources).map(([name, { told, clock }]) => [
        name,
        { answered: told !== null, clock, since: told?.since ?? null },
      ]),
    ),
    incident: incident === null ? null : tell(incident, { ...about, module, ...missingOf(sources, sides) }),
    timeline: incident === null ? {} : timelineOf(names, sides, incident),
    before: others(incidents.slice(0, index)).slice(-NEIGHBOURS),
    after: others(incidents.slice(index + 1)).slice(0, NEIGHBOURS),
    now,
  };
}

/** What may be nothing is taken for nothing. */
function shiftOf(clock: ClockOffset | null): number {
  return clock === null || Math.abs(clock.aheadMs) <= clock.uncertainMs ? 0 : clock.aheadMs;
}

const iso = (at: number): string => new Date(at).toISOString();

function missingOf(
  sources: Readonly<Record<string, Source>>,
  sides: ReadonlyMap<string, Side>,
): Pick<Circumstances, "missing" | "boots"> {
  return {
    missing: Object.keys(sources).filter((name) => !sides.has(name)),
    boots: Object.fromEntries(
      [...sides].map(([name, { moments }]) => [
        name,
        moments.filter(({ cause }) => cause === "boot").map(({ at }) => at),
      ]),
    ),
  };
}

function tell(incident: Incident, about: Circumstances): NonNullable<Explanation["incident"]> {
  return {
    from: iso(incident.from),
    to: iso(incident.to),
    title: titleOf(incident),
    moments: incident.moments.map(({ at, became, ...rest }) => ({
      time: iso(at),
      ...rest,
      became: became.map(({ at: since, ...change }) => ({ time: iso(since), ...change })),
    })),
    prevention: preventions(incident, about),
  };
}

function timelineOf(
  names: readonly string[],
  sides: ReadonlyMap<string, Side>,
  { from, to }: Incident,
): Explanation["timeline"] {
  const margin = Math.max(MARGIN_MS, (to - from) / 10);
  const told = (span: Span) => ({ ...span, from: iso(span.from), to: iso(span.to) });
  return Object.fromEntries(
    names.map((name) => {
      const others = [...sides].flatMap(([other, side]) => (other === name ? [] : [side]));
      const changes = changesOf(name, sides.get(name) ?? null, others);
      return [name, spansOf(changes, from - margin, to + margin).map(told)];
    }),
  );
}
