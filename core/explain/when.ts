/**
 * Times as people type them: `14:05`, `2026-11-27 03:10`, ISO 8601, `10m ago`. Pure: the clock is the caller's, the time zone the machine's.
 */
import { parseDuration } from "../../modules/units.ts";

/** What was meant: `14:05` is a whole minute. ms since 1970. */
export interface When {
  from: number;
  to: number;
}

const MINUTE = 60_000;
const CLOCK = /^(?:(yesterday|\d{4}-\d{2}-\d{2})[ T]+)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,3}))?)?$/;
const DAY = /^(yesterday|today|\d{4}-\d{2}-\d{2})$/;
const EXAMPLES = `14:05, yesterday 14:05, 2026-11-27 03:10, 2026-11-27T03:10:00Z, 10m ago`;

/** Reads a time. Throws with examples. */
export function parseWhen(text: string, now: number): When {
  const words = text.trim();
  const found = ago(words, now) ?? clock(words, now) ?? day(words, now) ?? iso(words);
  if (found === null) throw new Error(`"${text}" is no time: ${EXAMPLES}`);
  return found;
}

function ago(words: string, now: number): When | null {
  if (words === "now") return { from: now, to: now };
  const span = /^(.+?)\s*ago$/.exec(words)?.[1];
  if (span === undefined) return null;
  const parts = span.match(/\d+(?:\.\d+)?\s*(?:ms|s|min|m|h|d)/g);
  if (parts === null || parts.join("").replace(/\s/g, "") !== span.replace(/\s/g, "")) return null;
  const ms = parts.reduce((sum, part) => sum + parseDuration(part.replace(/\s/g, "").replace("min", "m")), 0);
  return { from: now - ms, to: now - ms };
}

function clock(words: string, now: number): When | null {
  const [, date, hours, minutes, seconds, fraction] = CLOCK.exec(words) ?? [];
  if (hours === undefined) return null;
  const start = date === undefined ? startOfDay(new Date(now)) : dateOf(date, now);
  const at = start === null ? null : time(start, [hours, minutes!, seconds ?? "0"], fraction);
  if (at === null) return null;
  const span = fraction === undefined ? (seconds === undefined ? MINUTE : 1000) : 1;
  // What has not come yet today was yesterday.
  if (date === undefined && at > now) {
    const before = time(
      new Date(start!.getFullYear(), start!.getMonth(), start!.getDate() - 1),
      [hours, minutes!, seconds ?? "0"],
      fraction,
    )!;
    return { from: before, to: before + span - 1 };
  }
  return { from: at, to: at + span - 1 };
}

function time(day: Date, words: readonly string[], fraction = "0"): number | null {
  const [hours, minutes, seconds] = words.map(Number) as [number, number, number];
  if (hours > 23 || minutes > 59 || seconds > 59) return null;
  const at = new Date(day.getFullYear(), day.getMonth(), day.getDate(), hours, minutes, seconds);
  return at.getTime() + Number(fraction.padEnd(3, "0"));
}

function day(words: string, now: number): When | null {
  if (!DAY.test(words)) return null;
  const start = dateOf(words, now);
  if (start === null) return null;
  const next = new Date(start.getFullYear(), start.getMonth(), start.getDate() + 1);
  return { from: start.getTime(), to: next.getTime() - 1 };
}

function startOfDay(date: Date): Date {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate());
}

function dateOf(words: string, now: number): Date | null {
  const today = startOfDay(new Date(now));
  if (words === "today") return today;
  if (words === "yesterday") return new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  const [year, month, date] = words.split("-").map(Number) as [number, number, number];
  const found = new Date(year, month - 1, date);
  return found.getMonth() === month - 1 && found.getDate() === date ? found : null;
}

/** With a zone, or an interval `FROM/TO` of such. */
function iso(words: string): When | null {
  const [from, to = from, more] = words.split("/");
  if (more !== undefined || !isZoned(from!) || !isZoned(to!)) return null;
  return { from: Date.parse(from!), to: Date.parse(to!) };
}

function isZoned(text: string): boolean {
  return (
    /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/.test(text) &&
    !Number.isNaN(Date.parse(text))
  );
}
