/**
 * Which pairs of state and event a run must have met. What cannot be is listed with its reason: all else must be reached, so a
 * simulator that stops producing something is noticed.
 */

/** Pairs are written "state < event". */
export type Subject = "failover" | "replication";

interface Plan {
  states: readonly string[];
  events: readonly string[];
  /** Pairs that cannot be: state, event, why. */
  impossible: readonly { states: RegExp; events: RegExp; why: string }[];
}

const COMMANDS = ["start", "stop", "restart", "stopstart", "swap", "forcestop", "prim", "second"];
const REPORTS = ["inSync", "reintegrating", "caughtUp", "peerGone", "diskFailed", "refused", "died"];

const PLANS: Record<Subject, Plan> = {
  failover: {
    states: ["STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP"],
    events: [
      "boot",
      "peer",
      "peerLost",
      "done ok",
      "done failed",
      "fenced",
      "timer",
      ...COMMANDS.map((name) => `command ${name}`),
      ...REPORTS.map((kind) => `replication ${kind}`),
      "promised",
      ...["granted", "refused", "recorded", "changed", "record", "unknown"].map((kind) => `witness ${kind}`),
    ],
    impossible: [
      {
        states: /^(?!STOP)/,
        events: /^boot$/,
        why: "boot is the first event, before there is any other state",
      },
      {
        states: /^UP$/,
        events: /^(peer|promised|witness)/,
        why: "a farm's core has no peer, it is told how all the others are; and it asks no witness",
      },
      {
        states: /^STOP$/,
        events: /^witness/,
        why: "who does not run asks nothing: at most a late answer",
      },
      {
        states: /^ALONE$/,
        events: /^witness refused$/,
        why: "who is alone by its record needs no lease: at most a late answer",
      },
      {
        states: /^UP$/,
        events: /^replication/,
        why: "a farm replicates nothing",
      },
      {
        states: /^(STOP|WAIT)$/,
        events: /^replication/,
        why: "no data path runs there: at most a late word of one that ended",
      },
      {
        states: /^ALONE$/,
        events: /^replication inSync$/,
        why: "the step that precedes it has made the node PRIM",
      },
      { states: /^(ALONE|PRIM)$/, events: /^replication refused$/, why: "only who follows is refused" },
    ],
  },
  replication: {
    states: ["no primary", "alone", "held", "handshake", "reintegrating", "together", "inSync"],
    events: [
      ...["create", "write", "truncate", "chmod", "fsync", "link", "unlink", "rename"],
      ...["the link is cut", "PRIM loses power", "SECOND loses power", "both nodes lose power"],
      ...["PRIM: fsync fails", "PRIM: disk full", "SECOND: fsync fails", "SECOND: disk full", "swap"],
      ...["SECOND connects", "SECOND connects, full copy demanded", "goes on alone", "the other is promoted"],
      ...["ACK", "MARKS", "MARKS_END", "NEED", "SYNC_DONE", "DURABLE_DONE", "CAUGHT_UP_DONE"].map(fromSecond),
      ...["CREATE", "WRITE", "SETATTR", "SYNC", "LINK", "UNLINK", "RENAME", "DURABLE_POINT", "CAUGHT_UP"].map(
        toSecond,
      ),
      ...["PLACE_RANGE", "PLACE", "PLACES_END", "DIR_NAMES", "DIR_END", "OBJECT", "DATA", "OBJECT_END"].map(
        toSecond,
      ),
    ],
    impossible: [
      {
        states: /^no primary$/,
        events: /^(?!the other is promoted)/,
        why: "nobody serves, so nothing happens to who serves",
      },
      { states: /^(?!no primary|held)/, events: /^the other is promoted$/, why: "somebody serves" },
      { states: /^(?!held)/, events: /^goes on alone$/, why: "only who waits for that word is told" },
      {
        states: /^held$/,
        events: /^[a-z]+$/,
        why: "the application waits until somebody recorded who goes on",
      },
      {
        states: /^(?!inSync)/,
        events: /^(swap|PRIM: )/,
        why: "only a peer in sync can take over from a disk that failed",
      },
      {
        states: /^(?!alone)/,
        events: /^SECOND connects/,
        why: "there is a connection, or nobody to connect to",
      },
      {
        states: /^(alone|held)$/,
        events: /^(the link|from SECOND|to SECOND|SECOND: )/,
        why: "there is no connection",
      },
      {
        states: /^handshake$/,
        events: /^(to SECOND|from SECOND: (?!MARKS))/,
        why: "nothing is sent before the target's marks are in",
      },
      { states: /^(?!handshake)/, events: /^from SECOND: MARKS/, why: "marks come first" },
      {
        states: /^(reintegrating|inSync)$/,
        events: /CAUGHT_UP/,
        why: "the last step of a reintegration, once all is copied",
      },
      { states: /^reintegrating$/, events: /SYNC/, why: "alone still: an fsync waits for nobody" },
      { states: /^(together|inSync)$/, events: /NEED|PLACE|DIR_|OBJECT|DATA/, why: "all is copied" },
    ],
  },
};

function fromSecond(frame: string): string {
  return `from SECOND: ${frame}`;
}
function toSecond(frame: string): string {
  return `to SECOND: ${frame}`;
}

/** Pairs that can be and were not met. */
export function missingPairs(subject: Subject, met: ReadonlyMap<string, number>): string[] {
  const { states, events, impossible } = PLANS[subject];
  const missing: string[] = [];
  for (const state of states)
    for (const event of events) {
      const isImpossible = impossible.some((row) => row.states.test(state) && row.events.test(event));
      if (!isImpossible && !met.has(`${state} < ${event}`)) missing.push(`${state} < ${event}`);
    }
  return missing;
}

/** A table of how often each pair was met, then what cannot be and why. */
export function coverageTable(subject: Subject, met: ReadonlyMap<string, number>): string[] {
  const { states, impossible } = PLANS[subject];
  const events = new Set([...PLANS[subject].events, ...[...met.keys()].map((pair) => pair.split(" < ")[1]!)]);
  const width = 38;
  const cells = (of: (state: string) => string) => states.map((state) => of(state).padStart(14)).join("");
  return [
    `${"".padEnd(width)}${cells((state) => state)}`,
    ...[...events].map(
      (event) => `${event.padEnd(width)}${cells((state) => String(met.get(`${state} < ${event}`) ?? "-"))}`,
    ),
    ...impossible.map((row) => `cannot be: ${row.states.source} with ${row.events.source}: ${row.why}`),
    ...missingPairs(subject, met).map((pair) => `MISSING: ${pair}`),
  ];
}
