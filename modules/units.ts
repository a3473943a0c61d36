/**
 * Durations, sizes and rates as people write them: always with a unit.
 *
 * A bare number is refused: `interval: 200` is read as seconds by one half of the world and as milliseconds by the
 * other, and the difference is an outage.
 */

const DURATION_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_BYTES = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;
const RATE_BYTES = {
  "bit/s": 1 / 8,
  "kbit/s": 125,
  "Kbit/s": 125,
  "Mbit/s": 125e3,
  "Gbit/s": 125e6,
  "B/s": 1,
  "kB/s": 1e3,
  "MB/s": 1e6,
  "GB/s": 1e9,
  "KiB/s": 2 ** 10,
  "MiB/s": 2 ** 20,
  "GiB/s": 2 ** 30,
} as const;

/** A text as messages show it: in quotes, and never more than a few words of it. */
function quoted(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 39)}…` : text);
}

/** Reads `NUMBER UNIT`; the number may have a fraction, the result is rounded to a whole base unit. */
function parseUnit(
  value: unknown,
  what: string,
  example: string,
  units: Readonly<Record<string, number>>,
): number {
  const expected = `write a ${what} with its unit, such as ${example}`;
  if (typeof value === "number") throw new RangeError(`${value} has no unit: ${expected}`);
  if (typeof value !== "string") throw new RangeError(`not a ${what}: ${expected}`);
  const match = /^\s*(\d{1,15}(?:\.\d{1,6})?)\s*(\D\S*)?\s*$/.exec(value);
  if (match === null) throw new RangeError(`${quoted(value)} is not a ${what}: ${expected}`);
  const unit = match[2];
  if (unit === undefined) throw new RangeError(`${quoted(value)} has no unit: ${expected}`);
  const scale = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (scale === undefined) {
    const known = Object.keys(units).join(", ");
    throw new RangeError(`${quoted(unit)} is not a unit of a ${what} (${known}): ${expected}`);
  }
  const result = Math.round(Number(match[1]) * scale);
  if (!Number.isSafeInteger(result)) throw new RangeError(`${quoted(value)} is too large a ${what}`);
  return result;
}

/** A duration such as `200ms`, `5s`, `5m`, `24h`, `7d`, in milliseconds. Throws RangeError with the expected form. */
export function parseDuration(value: unknown): number {
  return parseUnit(value, "duration", "200ms, 5s, 5m or 24h", DURATION_MS);
}

/** A size such as `4KiB`, `64MiB`, `1GB`, in bytes. Throws RangeError with the expected form. */
export function parseSize(value: unknown): number {
  return parseUnit(value, "size", "64MiB or 1GB", SIZE_BYTES);
}

/** A rate such as `100Mbit/s` or `50MiB/s`, in bytes per second; `unlimited` is 0. Throws RangeError with the expected form. */
export function parseRate(value: unknown): number {
  if (value === "unlimited") return 0;
  const rate = parseUnit(value, "rate", "100Mbit/s, 50MiB/s or unlimited", RATE_BYTES);
  if (rate === 0) throw new RangeError(`${String(value)} stops everything: write unlimited for no limit`);
  return rate;
}

/** Milliseconds as the shortest exact text that `parseDuration` reads back. */
export function formatDuration(ms: number): string {
  for (const unit of ["d", "h", "m", "s"] as const) {
    if (ms !== 0 && ms % DURATION_MS[unit] === 0) return `${ms / DURATION_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}

/** A duration in ms as people read it: "85 ms", "4.2 s", "3 min 5 s", "2 h 10 min". */
export function durationText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** Bytes for people, with binary units and at most one decimal: `1.5 GiB`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${Number.isInteger(value) || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

/** Bytes per second for people; 0 is `unlimited`. */
export function formatRate(bytesPerSecond: number): string {
  return bytesPerSecond === 0 ? "unlimited" : `${formatSize(bytesPerSecond)}/s`;
}
