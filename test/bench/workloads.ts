/**
 * What is measured: a table of workloads, each run in a directory by a real program, the same in every place.
 */
import { dataWorkloads } from "./data_workloads.ts";
import { databaseWorkloads } from "./database_workloads.ts";
import type { Place } from "./places.ts";
import { treeWorkloads } from "./tree_workloads.ts";

/** One figure that a workload gives. */
export interface Measure {
  name: string;
  unit: "MB/s" | "/s" | "ms";
  /** What the replicated directory shall reach: at least this part of the bare one's rate, or at most so many times its time. */
  aim: number | null;
}

/** How much is done: all of it, or enough to see that it works. */
export interface Effort {
  /** Seconds of each workload that runs for a time. */
  seconds: number;
  /** MiB of each file that is written from end to end. */
  mebibytes: number;
  smallFiles: number;
  /** pgbench's scale factor. */
  scale: number;
}

/** Something to run; its figures come in the order of `measures`. */
export interface Workload {
  measures: readonly Measure[];
  /** It ends with the removal of many files. */
  removes?: boolean;
  /** Done once in every place before the rounds. */
  prepare?(place: Place, effort: Effort): Promise<void>;
  run(place: Place, effort: Effort): Promise<number[]>;
  /** Done once in every place after the rounds. */
  clean?(place: Place): Promise<void>;
}

/** True when more is better. */
export const isRate = (measure: Measure): boolean => measure.unit !== "ms";

/** All of them. */
export const workloads: readonly Workload[] = [...dataWorkloads, ...treeWorkloads, ...databaseWorkloads];
