/**
 * The figures as a table: medians, and what they are beside the bare directory's.
 */
import { isRate, type Measure } from "./workloads.ts";

/** The figures of one measure: those of each place in the order of the rounds. */
export interface Row {
  measure: Measure;
  /** By the name of the place. */
  figures: Record<string, number[]>;
}

/** One row, condensed. */
export interface Condensed {
  name: string;
  unit: string;
  medians: Record<string, number>;
  /** Median of the rounds' ratios to the first place: of rates the part, of times how many times. */
  ratios: Record<string, number>;
  aim: number | null;
  /** Does the place that is judged reach the aim? Null without one. */
  reached: boolean | null;
  /** All figures, in the order of the rounds. */
  figures: Record<string, number[]>;
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Ratios are taken within each round, since what else the machine does changes from one to the next. `judged`: the place that the aim is for. */
export function condense({ measure, figures }: Row, judged: string): Condensed {
  const places = Object.keys(figures);
  const bare = figures[places[0]!]!;
  const ratios = Object.fromEntries(
    places.slice(1).map((name) => [name, median(figures[name]!.map((value, round) => value / bare[round]!))]),
  );
  const { name, unit, aim } = measure;
  const ratio = ratios[judged];
  const holds = (limit: number, value: number): boolean =>
    isRate(measure) ? value >= limit : value <= limit;
  return {
    name,
    unit,
    medians: Object.fromEntries(places.map((place) => [place, median(figures[place]!)])),
    ratios,
    aim,
    figures,
    reached: aim === null || ratio === undefined ? null : holds(aim, ratio),
  };
}

const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

function cells(row: Condensed): string[] {
  const times = row.unit === "ms";
  const ratio = (value: number): string => (times ? `${value.toFixed(1)} x` : value.toFixed(2));
  const [bare, ...others] = Object.keys(row.medians);
  const aim = row.aim === null ? "" : times ? `<= ${row.aim} x` : `>= ${row.aim}`;
  return [
    row.name,
    row.unit,
    number(row.medians[bare!]!),
    ...others.flatMap((place) => [number(row.medians[place]!), ratio(row.ratios[place]!)]),
    aim,
    row.reached === null ? "" : row.reached ? "yes" : "no",
  ];
}

/** A table for the terminal. */
export function table(rows: readonly Condensed[]): string {
  const [bare, ...others] = Object.keys(rows[0]?.medians ?? {});
  const head = ["", "unit", bare ?? "", ...others.flatMap((place) => [place, "ratio"]), "aim", "reached"];
  const lines = [head, ...rows.map(cells)];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
    )
    .map((line) => line.trimEnd())
    .join("\n");
}
