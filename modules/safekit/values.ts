/**
 * SafeKit's values as Holdfast writes them. Each function throws RangeError with the reason why a value cannot be carried over.
 */
import { isIP } from "node:net";
import { formatDuration } from "../units.ts";

const UNIT_US = { d: 86_400e6, h: 3600e6, m: 60e6, s: 1e6, ms: 1000, us: 1 } as const;
type Unit = keyof typeof UNIT_US;

function isUnit(text: string): text is Unit {
  return Object.hasOwn(UNIT_US, text);
}

/** A duration in ms; a bare number counts in `unit`, and what rounds to 0 in it is refused, as SafeKit refuses it. */
export function milliseconds(text: string, unit: Unit): number {
  const match = /^\s*(\d{1,12})\s*([a-z]{0,2})\s*$/.exec(text);
  const written = match?.[2] === "" ? unit : (match?.[2] ?? "");
  if (match === null || !isUnit(written)) throw new RangeError(`${JSON.stringify(text)} is not a duration`);
  const value = Number(match[1]) * UNIT_US[written];
  if (value > 0 && Math.round(value / UNIT_US[unit]) === 0)
    throw new RangeError(`${text} is less than one ${unit}, in which SafeKit counts here`);
  return Math.round(value / 1000);
}

/** As `milliseconds`, the way module.yaml writes it. */
export const duration =
  (unit: Unit) =>
  (text: string): string =>
    formatDuration(milliseconds(text, unit));

/** A whole number. */
export function whole(text: string): number {
  if (!/^\s*-?\d{1,9}\s*$/.test(text)) throw new RangeError(`${JSON.stringify(text)} is not a whole number`);
  return Number(text);
}

/** A word as a name in module.yaml: what cannot stand in one becomes _. */
export function resourceName(text: string): string {
  const name = text.replace(/[^A-Za-z0-9_-]/g, "_").slice(0, 32);
  return /^[A-Za-z]/.test(name) ? name : `r_${name}`.slice(0, 32);
}

/** An address and its port. IPv6 gets its brackets. */
export function hostPort(host: string, port: string): string {
  const plain = host.replace(/^\[(.*)\]$/, "$1");
  return `${isIP(plain) === 6 ? `[${plain}]` : plain}:${whole(port)}`;
}

/** The length of a prefix, from a netmask such as 255.255.255.0, or a length. */
export function prefixLength(netmask: string): number {
  if (/^\d{1,3}$/.test(netmask)) return Number(netmask);
  const parts = netmask.split(".").map(Number);
  const bits = parts.map((part) => part.toString(2).padStart(8, "0")).join("");
  if (isIP(netmask) !== 4 || !/^1*0*$/.test(bits))
    throw new RangeError(`${JSON.stringify(netmask)} is no netmask`);
  return bits.indexOf("0") < 0 ? 32 : bits.indexOf("0");
}

/** An absolute directory in its shortest form. */
export function directory(text: string): string {
  if (!text.startsWith("/")) throw new RangeError(`${JSON.stringify(text)} is no absolute path of Linux`);
  return text.replace(/\/+/g, "/").replace(/(.)\/$/, "$1");
}

/** A name to leave out: patterns are matched with single names, at any depth. */
export function singleName(text: string): string {
  const name = text.replace(/^\.?\/+|\/+$/g, "");
  if (name.includes("/"))
    throw new RangeError(
      "Holdfast leaves out by single names, not by paths: name its last part, if no other has that name",
    );
  if (/[*?]/.test(name)) throw new RangeError("a name with * or ? would be read as a pattern");
  return name;
}

/** The few regular expressions that say no more than a pattern does: `.*\.tmp$`. */
export function patternOf(expression: string): string {
  const [, ending] = /^(?:\^?\.\*|)\\\.([A-Za-z0-9_-]+)\$$/.exec(expression) ?? [];
  if (ending === undefined)
    throw new RangeError(
      "Holdfast takes patterns of names (*.tmp), no regular expressions: write them by hand under exclude or only",
    );
  return `*.${ending}`;
}

/** A regular expression that matches exactly this text. */
export function exactly(text: string): string {
  return `^${text.replace(/[.*+?^${}()|[\]\\/-]/g, (sign) => (sign === "-" || sign === "/" ? sign : `\\${sign}`))}$`;
}

/** A POSIX extended regular expression, where JavaScript reads it in the same way. */
export function expression(text: string): string {
  if (/\[[[:.=]/.test(text))
    throw new RangeError("character classes such as [[:digit:]] are not JavaScript's: write them out");
  return text;
}

/** One of a few words, given what each becomes. */
export const choice =
  (words: Readonly<Record<string, string | boolean>>) =>
  (text: string): string | boolean => {
    const word = Object.hasOwn(words, text) ? words[text] : undefined;
    if (word === undefined)
      throw new RangeError(`${JSON.stringify(text)} is none of ${Object.keys(words).join(", ")}`);
    return word;
  };
