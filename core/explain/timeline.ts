/**
 * The states of all nodes over time, as a picture in characters. Pure.
 *
 * Time runs by what happened and not by the clock: a takeover of a second beside an hour of quiet would be a single column.
 */
import { type Span, UNKNOWN } from "./incidents.ts";

/** Colours as a terminal has them; without one, the text as it is. */
export type Paint = (colour: "green" | "red" | "yellow" | "grey" | "bold" | "blue", text: string) => string;

/** Fewer columns than this for a name and its bar are no picture. */
const CELL_MIN = 9;
const FILL: Readonly<Record<string, string>> = { Ready: "═", Transient: "╌", NotReady: "·" };
const COLOUR: Readonly<Record<string, "green" | "yellow" | "red">> = {
  Ready: "green",
  Transient: "yellow",
  NotReady: "red",
};

interface Cell {
  from: number;
  to: number;
}

/** Lines of at most `width` columns: when, then one for each node. Empty where nothing is known. */
export function timelineText(
  spans: Readonly<Record<string, readonly Span[]>>,
  width: number,
  clock: (at: number) => string,
  paint: Paint,
): string[] {
  const nodes = Object.keys(spans);
  const margin = Math.max(0, ...nodes.map((node) => node.length)) + 4;
  const cells = cellsOf(Object.values(spans).flat(), Math.max(1, Math.floor((width - margin) / CELL_MIN)));
  if (cells.length === 0) return [];
  const widths = widthsOf(cells, width - margin);
  const start = cells[0]!.from;
  let axis = "";
  let column = 0;
  for (const [index, { from }] of cells.entries()) {
    const label = index === 0 ? clock(from) : `+${elapsed(from - start)}`;
    // A label that has no room is left out: the next one has it.
    if (axis.length <= column) axis = `${axis.padEnd(column)}${label} `;
    column += widths[index]!;
  }
  const rows = nodes.map((node) => {
    const states = cells.map((cell) => stateIn(spans[node]!, cell));
    const drawn = states.map((state, index) => draw(state, states[index - 1], widths[index]!, paint));
    return `  ${node.padEnd(margin - 4)}  ${drawn.join("")}`;
  });
  return [`${" ".repeat(margin)}${axis.trimEnd()}`, ...rows];
}

/** Between any two changes of any node; the shortest go where there are more than fit. */
function cellsOf(spans: readonly Span[], most: number): Cell[] {
  const times = [...new Set(spans.flatMap(({ from, to }) => [from, to]))].sort((a, b) => a - b);
  const cells = times.slice(1).map((to, index) => ({ from: times[index]!, to }));
  while (cells.length > most) {
    let shortest = 1;
    for (const [index, cell] of cells.entries())
      if (index > 0 && cell.to - cell.from < cells[shortest]!.to - cells[shortest]!.from) shortest = index;
    const [gone] = cells.splice(shortest, 1);
    cells[shortest - 1]!.to = gone!.to;
  }
  return cells;
}

/** All the same, and what is left over to those that lasted. */
function widthsOf(cells: readonly Cell[], width: number): number[] {
  const spare = width - cells.length * CELL_MIN;
  const shares = cells.map(({ from, to }) => Math.log10(1 + (to - from) / 100));
  const all = shares.reduce((sum, share) => sum + share, 0) || 1;
  return shares.map((share) => CELL_MIN + Math.floor((spare * share) / all));
}

/** What the node was for most of the cell. */
function stateIn(spans: readonly Span[], { from, to }: Cell): Span | undefined {
  const overlap = (span: Span): number => Math.min(span.to, to) - Math.max(span.from, from);
  return spans.toSorted((a, b) => overlap(b) - overlap(a))[0];
}

function draw(span: Span | undefined, before: Span | undefined, width: number, paint: Paint): string {
  const { state = "", readiness = "" } = span ?? {};
  const isSame = before !== undefined && before.state === state && before.readiness === readiness;
  const name = isSame
    ? ""
    : `${state === "" ? "silent" : state === UNKNOWN ? "unknown" : state} `.slice(0, width);
  const bar = name + (FILL[readiness] ?? " ").repeat(width - name.length);
  return paint(COLOUR[readiness] ?? "grey", bar);
}

/** A span of time in few characters: 0.4 s as `0.40s`, and of what is long as much as tells two of them apart. */
function elapsed(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)}s`;
  const minutes = Math.floor(seconds / 60);
  const two = (count: number): string => String(count).padStart(2, "0");
  if (minutes < 60) return `${minutes}m${two(Math.floor(seconds % 60))}s`;
  return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
}
