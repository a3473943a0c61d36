/** How texts and names are printed inside values: quoted, with what cannot be seen escaped. */
import type { Progress } from "./layout.ts";

/** Control characters, and the backslash. */
const UNSEEN = /[\p{Cc}\\]/gu;
const NAMED: Readonly<Record<string, string>> = {
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\\": "\\\\",
};

function escaped(character: string): string {
  return NAMED[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** A text in quotes; which, depends on those inside. */
export function quote(text: string, escapeSequences = true): string {
  const mark = ['"', "'", "`"].find((one) => !text.includes(one)) ?? '"';
  const inner = escapeSequences ? text.replace(UNSEEN, escaped) : text;
  return `${mark}${mark === '"' ? inner.replaceAll('"', '\\"') : inner}${mark}`;
}

const LONG = 16;

/** A text as a part of something: cut when very long, on several lines when it has them and does not fit. */
export function formatText(progress: Progress, value: string): string {
  const cut = value.length > progress.strAbbreviateSize;
  const text = cut ? value.slice(0, progress.strAbbreviateSize) : value;
  const more = value.length - text.length;
  const rest = cut ? `... ${more} more character${more > 1 ? "s" : ""}` : "";
  const room = progress.breakLength - progress.indentation - 4;
  if (progress.compact >= 1 && text.length > LONG && text.length > room)
    return (
      text
        .split(/(?<=\n)/)
        .map((line) => quote(line, progress.escapeSequences))
        .join(` +\n${" ".repeat(progress.indentation + 2)}`) + rest
    );
  return quote(text, progress.escapeSequences) + rest;
}

/** A property's name. */
export function formatKey(key: string | symbol, hidden: boolean): string {
  const text = typeof key === "symbol" ? formatSymbol(key) : key;
  if (hidden) return `[${text}]`;
  if (typeof key === "symbol") return text;
  return /^[a-zA-Z_][a-zA-Z_0-9]*$/.test(text) ? text : quote(text);
}

/** A symbol; its description in quotes where it is no plain name. */
export function formatSymbol(symbol: symbol): string {
  const { description } = symbol;
  return description === undefined || description === "" || /^[\w.[\]@]+$/.test(description)
    ? String(symbol)
    : `Symbol(${quote(description)})`;
}
