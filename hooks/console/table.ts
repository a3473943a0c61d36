/** `console.table`. */
import { inspect } from "./inspect.ts";

const INDEX = "(idx)";
const ITER_INDEX = "(iter idx)";
const VALUES = "Values";

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function rowsOf(data: object): { heading: string; rows: [index: string, value: unknown][] } {
  if (data instanceof Map)
    return { heading: ITER_INDEX, rows: [...data.values()].map((value, index) => [String(index), value]) };
  if (data instanceof Set)
    return { heading: ITER_INDEX, rows: [...data].map((value, index) => [String(index), value]) };
  return { heading: INDEX, rows: Object.entries(data) };
}

function line(left: string, middle: string, right: string, widths: readonly number[]): string {
  return `${left}${widths.map((width) => "─".repeat(width + 2)).join(middle)}${right}`;
}

/** The rows of an object or a list as a table; `columns` limits which properties are shown. */
export function tableOf(data: object, columns?: readonly string[]): string {
  const { heading, rows } = rowsOf(data);
  const keys = data instanceof Map ? [...data.keys()] : null;
  const names = new Set<string>(columns);
  let primitives = false;
  for (const [, value] of rows) {
    if (!isObject(value)) primitives = true;
    else if (columns === undefined) for (const name of Object.keys(value)) names.add(name);
  }
  const head = [heading, ...(keys ? ["Key"] : []), ...names, ...(primitives ? [VALUES] : [])];
  const body = rows.map(([index, value], row) => [
    index,
    ...(keys ? [inspect(keys[row])] : []),
    ...[...names].map((name) =>
      isObject(value) && Object.hasOwn(value, name) ? inspect(Reflect.get(value, name), { depth: 1 }) : "",
    ),
    ...(primitives ? [isObject(value) ? "" : inspect(value)] : []),
  ]);
  const widths = head.map((title, column) =>
    Math.max(title.length, ...body.map((cells) => cells[column]!.length)),
  );
  // As Deno has it: a column of whole numbers stands to the right, and what is empty counts as one.
  const toTheRight = head.map((_, column) => body.every((row) => Number.isInteger(Number(row[column]))));
  const cells = (texts: readonly string[], heading: boolean) =>
    `│${texts
      .map((text, column) => {
        const width = widths[column]!;
        return ` ${toTheRight[column] && !heading ? text.padStart(width) : text.padEnd(width)} `;
      })
      .join("│")}│`;
  return [
    line("┌", "┬", "┐", widths),
    cells(head, true),
    line("├", "┼", "┤", widths),
    ...body.map((row) => cells(row, false)),
    line("└", "┴", "┘", widths),
  ].join("\n");
}
