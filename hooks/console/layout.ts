/**
 * Where printed values break into lines. The rules are those of Node's util.inspect, which Deno follows: scripts compare output.
 */

/** How a value is printed; the names are those of Deno.inspect. */
export interface Style {
  depth: number;
  breakLength: number;
  /** Objects with at most this many levels inside may stand on one line; 0 never. */
  compact: number;
  iterableLimit: number;
  strAbbreviateSize: number;
  sorted: boolean;
  getters: boolean;
  showHidden: boolean;
  trailingComma: boolean;
  escapeSequences: boolean;
  colors: boolean;
}

/** What is known while one value is printed. */
export interface Progress extends Style {
  seen: unknown[];
  /** Objects that contain themselves, and their numbers. */
  circular: Map<unknown, number>;
  indentation: number;
  /** Depth of the value that was printed last. */
  currentDepth: number;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are made of them.
const COLOUR = /\u001b\[\d+m/g;

/** How wide a text is, colours left out. */
export const width = (text: string): number => text.replaceAll(COLOUR, "").length;

const SEPARATOR = 2;
const CHARACTER_HEIGHT = 2.5;
/** Taken off a cell: short entries get more columns. */
const AIR = 3;
const MAX_COLUMNS = 15;
/** Shorter lists are not put into columns. */
const FEW = 6;

/** How many columns suit the entries: about a square on the screen. */
function columnsFor(progress: Progress, widths: readonly number[], entries: number): number {
  const total = widths.reduce((sum, one) => sum + one + SEPARATOR, 0);
  const longest = Math.max(...widths);
  const cell = longest + SEPARATOR;
  const fits = cell * 3 + progress.indentation < progress.breakLength;
  if (!fits || !(total / cell > 5 || longest <= FEW)) return 1;
  const biased = Math.max(cell - AIR - Math.sqrt(cell - total / entries), 1);
  return Math.min(
    Math.round(Math.sqrt(CHARACTER_HEIGHT * biased * widths.length) / biased),
    Math.floor((progress.breakLength - progress.indentation) / cell),
    progress.compact * 4,
    MAX_COLUMNS,
  );
}

/** Puts the entries of a long list into columns; `numbers` aligns them to the right. `more`: the last one is "… more items". */
function inColumns(progress: Progress, output: string[], numbers: boolean, more: boolean): string[] {
  const count = more ? output.length - 1 : output.length;
  const widths = output.slice(0, count).map(width);
  const columns = columnsFor(progress, widths, output.length);
  if (columns <= 1) return output;
  const columnWidths = Array.from({ length: columns }, (_, column) =>
    Math.max(...widths.filter((_width, index) => index % columns === column), 0),
  );
  const lines: string[] = [];
  for (let start = 0; start < count; start += columns) {
    const end = Math.min(start + columns, count);
    let line = "";
    for (let index = start; index < end; index++) {
      const last = index === end - 1;
      const text = output[index]! + (last ? "" : ", ");
      const room = columnWidths[index - start]! + (last ? 0 : SEPARATOR) + text.length - width(text);
      line += numbers ? text.padStart(room) : last ? text : text.padEnd(room);
    }
    lines.push(line);
  }
  if (more) lines.push(output[count]!);
  return lines;
}

/** What is put together. */
export interface Parts {
  output: string[];
  /** Stands before the opening brace. */
  base: string;
  braces: [open: string, close: string];
  /** Of a list: may go into columns. */
  list?: { numbers: boolean; more: boolean };
  depth: number;
}

function fitsOnOneLine(progress: Progress, { output, base, braces }: Parts): boolean {
  let length = output.length + output.length + progress.indentation + braces[0].length + base.length + 10;
  if (length + output.length > progress.breakLength) return false;
  for (const entry of output) {
    length += width(entry);
    if (length > progress.breakLength) return false;
  }
  return !base.includes("\n") && !output.some((entry) => entry.includes("\n"));
}

/** The entries of one value as text, on one line where the rules allow it. */
export function layOut(progress: Progress, parts: Parts): string {
  const { base, braces, list, depth } = parts;
  const before = base === "" ? "" : `${base} `;
  let { output } = parts;
  if (progress.compact >= 1) {
    const entries = output.length;
    if (list && entries > FEW) output = inColumns(progress, output, list.numbers, list.more);
    const shallow = progress.currentDepth - depth < progress.compact;
    if (shallow && entries === output.length && fitsOnOneLine(progress, parts))
      return `${before}${braces[0]} ${output.join(", ")} ${braces[1]}`;
  }
  const indent = `\n${" ".repeat(progress.indentation)}`;
  const comma = progress.trailingComma ? "," : "";
  return `${before}${braces[0]}${indent}  ${output.join(`,${indent}  `)}${comma}${indent}${braces[1]}`;
}
