/** What an examination of `holdfast doctor` says. */

/** One thing examined. */
export interface Finding {
  what: string;
  level: "good" | "warning" | "problem";
  detail: string;
}
