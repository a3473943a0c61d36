/** An explanation as people read it: what it is about, the picture, the story in order, what would have prevented it. Pure. */
import { durationText as span } from "../../modules/units.ts";
import type { Explanation, ToldMoment } from "./explain.ts";
import { type Paint, timelineText } from "./timeline.ts";

/** How it is written: the width of the terminal, and its colours. */
export interface Style {
  width: number;
  paint: Paint;
}

/** Without colours, for a log or a file. */
export const PLAIN: Style = { width: 100, paint: (_, text) => text };

/** The text. Times are of the reader's zone. */
export function explanationText(told: Explanation, { width, paint }: Style): string {
  const { incident } = told;
  const lines =
    incident === null
      ? [`nothing has happened to ${told.module} yet, as far as is remembered`, ...sources(told, paint)]
      : [
          paint("bold", `${told.module}: ${incident.title}`),
          `${dateOf(incident.from)} to ${clockOf(incident.to)} (${span(Date.parse(incident.to) - Date.parse(incident.from))}), ${ZONE()}, by the clock of ${told.node}`,
          ...sources(told, paint),
          "",
          ...timelineText(spansOf(told), width, (at) => clockOf(new Date(at).toISOString()), paint),
          "",
          paint("bold", "What happened, in order"),
          ...story(told, incident.moments, width, paint),
          "",
          paint("bold", "What would have prevented it"),
          ...(incident.prevention.length > 0
            ? incident.prevention.flatMap((sentence) => wrap(sentence, width, "  - ", "    "))
            : ["  nothing needed to be: nothing failed"]),
        ];
  return [...lines, ...neighbours(told), ...now(told, paint)].join("\n");
}

function spansOf({ timeline }: Explanation): Parameters<typeof timelineText>[0] {
  return Object.fromEntries(
    Object.entries(timeline).map(([node, spans]) => [
      node,
      spans.map((one) => ({ ...one, from: Date.parse(one.from), to: Date.parse(one.to) })),
    ]),
  );
}

/** Whose word this is, and whose is missing. */
function sources(told: Explanation, paint: Paint): string[] {
  return Object.entries(told.sources).flatMap(([node, { answered, clock, since }]) => {
    if (!answered)
      return [
        paint("red", `${node} does not answer: its side of the story is missing, ask again when it is back`),
      ];
    const late =
      told.incident !== null && since !== null && since > told.incident.from
        ? [paint("yellow", `${node} remembers nothing from before ${dateOf(since)}`)]
        : [];
    if (clock === null) return late;
    const { aheadMs, uncertainMs } = clock;
    const isSame = Math.abs(aheadMs) <= uncertainMs;
    const offset = isSame
      ? `the clock of ${node} is the same, within ${span(uncertainMs)}`
      : `the clock of ${node} is ${span(Math.abs(aheadMs))} ${aheadMs > 0 ? "ahead" : "behind"} (± ${span(uncertainMs)}, measured now): its times are put right here`;
    return [isSame ? offset : paint("yellow", offset), ...late];
  });
}

/**
 * Resources that were found the same way at once are told in one line, and a warning that comes again and again; what a node told of itself is not
 * repeated as the other heard it.
 */
function story(told: Explanation, moments: readonly ToldMoment[], width: number, paint: Paint): string[] {
  const missing = Object.values(told.sources).some(({ answered }) => !answered);
  const warnings = Map.groupBy(
    moments.filter(({ cause }) => cause === "warning"),
    ({ node, saw }) => `${node} ${saw}`,
  );
  const shown = moments.filter((moment) => {
    if (moment.cause === "warning") return warnings.get(`${moment.node} ${moment.saw}`)![0] === moment;
    if (!isBare(moment)) return true;
    if (isPassing(moment, moments)) return false;
    return moment.cause === "resource" ? !/ is init$/.test(moment.saw) : missing || moment.cause !== "peer";
  });
  const lines: string[] = [];
  for (let index = 0; index < shown.length; index++) {
    const moment = shown[index]!;
    const [, name, found] = RESOURCE.exec(moment.saw) ?? [];
    const names = [name];
    while (isBare(moment) && name !== undefined && isSame(moment, found, shown[index + 1]))
      names.push(RESOURCE.exec(shown[++index]!.saw)?.[1]);
    const same = warnings.get(`${moment.node} ${moment.saw}`) ?? [];
    const again = same.length > 1 ? ` (${same.length} times, until ${clockOf(same.at(-1)!.time)})` : "";
    const saw = names.length === 1 ? `${moment.saw}${again}` : `${names.join(", ")} are ${found}`;
    lines.push(...one({ ...moment, saw }, width, paint));
  }
  return lines;
}

/** Who comes is heard before it hears: for the moment in between a network looks as if it carried one way only. */
function isPassing({ node, saw, time }: ToldMoment, moments: readonly ToldMoment[]): boolean {
  const name = /^(heartbeat\.\S+) is down: \S+ is heard here/.exec(saw)?.[1];
  return (
    name !== undefined &&
    moments.some(
      (next) =>
        next.node === node &&
        next.saw === `${name} is up` &&
        next.time >= time &&
        Date.parse(next.time) - Date.parse(time) < PASSING_MS,
    )
  );
}

const PASSING_MS = 1000;
const RESOURCE = /^(\S+) is (.*)$/s;

function isSame({ node }: ToldMoment, found: string | undefined, next: ToldMoment | undefined): boolean {
  if (next === undefined || next.node !== node || next.cause !== "resource" || !isBare(next)) return false;
  const [, , also = ""] = RESOURCE.exec(next.saw) ?? [];
  return also === found || (/^up\b/.test(also) && /^up\b/.test(found ?? ""));
}

/** Nothing was decided, and nothing came of it. */
function isBare({ decided, ran, became }: ToldMoment): boolean {
  return decided === "" && ran.length === 0 && became.length === 0;
}

const WHEN = 12;
/** What programs print may move the cursor of whoever reads it. */
const CONTROL = /\p{Cc}/gu;

function one(moment: ToldMoment, width: number, paint: Paint): string[] {
  const { time, node, saw, decided, ran, became } = moment;
  const lead = `  ${clockOf(time)}  ${node}  `;
  const indent = " ".repeat(lead.length);
  const parts: [string, string][] = [];
  if (saw !== "") parts.push([moment.cause === "command" ? "told" : "sees", saw]);
  if (decided !== "") parts.push(["decides", decided]);
  if (ran.length > 0) parts.push(["runs", ran.map(ranText).join(", ")]);
  const last = became.at(-1);
  if (last !== undefined) {
    const took = Date.parse(last.time) - Date.parse(time);
    const after = took > 0 ? ` after ${span(took)}` : "";
    parts.push(["is", `${last.state} ${last.readiness}${after}`]);
  }
  const lines = parts.flatMap(([verb, words], index) =>
    wrap(words, width, `${index === 0 ? lead : indent}${verb.padEnd(8)}`, `${indent}        `),
  );
  const printed = ran.flatMap((step) =>
    (step.printed ?? []).map((line) => `${indent}        | ${line.replace(CONTROL, " ")}`),
  );
  const isBad =
    moment.cause === "lost" || moment.cause === "fenced" || ran.some(({ trouble }) => trouble !== "");
  const [first = "", ...rest] = lines;
  return [
    isBad ? paint("red", first) : first,
    ...rest.map((line) => (decided !== "" && line.includes("decides ") ? paint("bold", line) : line)),
    ...printed.map((line) => paint("grey", line)),
  ];
}

function ranText({ what, tookMs, trouble }: ToldMoment["ran"][number]): string {
  return trouble === "" ? `${what} (${span(tookMs)})` : `${what} (${span(tookMs)}): ${trouble}`;
}

function neighbours({ before, after, module }: Explanation): string[] {
  if (before.length + after.length === 0) return [];
  const line = ({ at, title }: Explanation["before"][number]): string => `  ${dateOf(at)}  ${title}`;
  return [
    "",
    `Before and after it (holdfast explain ${module} --at "TIME")`,
    ...before.map(line),
    ...after.map(line),
  ];
}

function now({ now: nodes }: Explanation, paint: Paint): string[] {
  return [
    "",
    paint("bold", "Now"),
    ...Object.entries(nodes).flatMap(([node, { state, readiness, reason, remedy }]) => [
      `  ${node}  ${state} ${readiness}${reason === "" ? "" : `: ${reason}`}`,
      ...(remedy === undefined ? [] : [paint("yellow", `      to do: ${remedy}`)]),
    ]),
  ];
}

const pad = (value: number, digits = 2): string => `${value}`.padStart(digits, "0");

/** 03:10:14.120 */
function clockOf(time: string): string {
  const at = new Date(time);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`.padEnd(
    WHEN,
  );
}

function dateOf(time: string): string {
  const at = new Date(time);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clockOf(time)}`;
}

const ZONE = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Breaks a sentence between words. */
function wrap(text: string, width: number, lead: string, indent: string): string[] {
  const lines: string[] = [];
  let line = lead;
  let isEmpty = true;
  for (const word of text.replace(CONTROL, " ").split(/\s+/)) {
    if (!isEmpty && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}
