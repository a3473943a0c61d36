/** The report of an import, as text and for programs. */
import { stringify } from "@std/yaml";
import { formatPath } from "../yaml_document.ts";
import type { Verdict } from "./row.ts";
import type { Entry } from "./settings.ts";

/** How many things became what. */
export type Counts = Record<Verdict, number>;

/** One line for programs. */
export interface ReportLine {
  file: string;
  /** From 1; null for a file of the package. */
  line: number | null;
  what: string;
  verdict: Verdict;
  /** The path in module.yaml, or the file that it became; null where there is none. */
  to: string | null;
  say: string;
}

const SHOWN = 100;

function short(text: string): string {
  const quoted = JSON.stringify(text);
  return quoted.length > SHOWN ? `${quoted.slice(0, SHOWN - 2)}…"` : quoted;
}

function whatOf({ element, attribute, text, given }: Entry): string {
  if (attribute === undefined) return text === undefined ? `<${element}>` : `<${element}> ${short(text)}`;
  const pair = `<${element}> ${attribute}=${short(text ?? "")}`;
  return given === false ? `${pair} (not written: SafeKit's default)` : pair;
}

/** `heartbeat.interval: 500ms`, or only the path where the value is more than a word. */
function settingOf({ to, value }: Entry): string {
  if (to === undefined) return "";
  return (
    formatPath(to) + (value === undefined || typeof value === "object" ? "" : `: ${stringify(value).trim()}`)
  );
}

/** The lines of the file in its order, then the package's own files. */
export function reportLines(
  entries: readonly Entry[],
  files: readonly ReportLine[],
  file: string,
): ReportLine[] {
  const own = entries.map((entry) => ({
    file,
    line: entry.line,
    what: whatOf(entry),
    verdict: entry.verdict,
    to: entry.to === undefined ? null : formatPath(entry.to),
    say: [settingOf(entry), entry.say].filter((part) => part !== "").join("; "),
  }));
  return [...own.sort((a, b) => a.line - b.line), ...files];
}

/** How many of each. */
export function countsOf(lines: readonly ReportLine[]): Counts {
  const counts: Counts = { translated: 0, approximated: 0, none: 0 };
  for (const { verdict } of lines) counts[verdict]++;
  return counts;
}

const WORDS: Readonly<Record<Verdict, string>> = {
  translated: "translated",
  approximated: "approximated",
  none: "no equivalent",
};

/** What a terminal obeys instead of showing it: control characters, and those that turn the direction of text. */
const UNSHOWN = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** One line of the report for people. */
export function formatLine({ file, line, what, verdict, say }: ReportLine): string {
  const place = line === null ? file : `${file}:${line}`;
  const text = `${place}: ${WORDS[verdict]}: ${what}${say === "" ? "" : `: ${say}`}`;
  return text.replace(UNSHOWN, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** "12 translated, 3 approximated, 4 without an equivalent". */
export function formatCounts({ translated, approximated, none }: Counts): string {
  return `${translated} translated, ${approximated} approximated, ${none} without an equivalent`;
}
