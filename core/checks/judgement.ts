/**
 * When a check is due, and what its findings make of its resource. Pure: the clock is the caller's.
 *
 * A resource begins at `init`. One finding "up" makes it up, unless it was down: then `successes` in a row. `failures` in a row make it down.
 * During the grace after a start failures do not count, until the first success: an application may need its time.
 */
import type { ResourceState } from "./condition.ts";

/** How a check goes about it, all times in ms. */
export interface Rhythm {
  interval: number;
  timeout: number;
  /** Failures in a row before down. */
  failures: number;
  /** Successes in a row before up, once it was down. */
  successes: number;
  /** How long after its start failures do not count. */
  grace: number;
}

/** An application that is about to be there is looked for so often: only once it was seen is its end one. */
const IMPATIENCE_MS = 500;

/** What one look found. `unknown`: it could not look. */
export interface Finding {
  state: "up" | "down" | "unknown";
  detail: string;
}

/** Where a check stands. Times as the caller's monotonic clock has them. */
export interface Judgement {
  state: ResourceState;
  detail: string;
  /** Findings in a row that speak against `state`. */
  against: number;
  graceUntil: number;
  /** When to look next. */
  next: number;
}

/** A check that begins now: it looks at once. */
export function begin({ grace }: Rhythm, now: number): Judgement {
  return { state: "init", detail: "", against: 0, graceUntil: now + grace, next: now };
}

/** A look begins: the next one is due an interval later, however long this one takes. */
export function looks(rhythm: Rhythm, judgement: Judgement, now: number): Judgement {
  return { ...judgement, next: now + rhythm.interval };
}

/** Takes one finding in. */
export function judge(rhythm: Rhythm, judgement: Judgement, finding: Finding, now: number): Judgement {
  const { state } = judgement;
  const settled = (next: ResourceState): Judgement => ({
    ...judgement,
    state: next,
    detail: finding.detail,
    against: 0,
    graceUntil: next === "up" ? now : judgement.graceUntil,
  });
  if (finding.state === "unknown" || finding.state === state) return settled(finding.state);
  if (finding.state === "down" && now < judgement.graceUntil) {
    const next = Math.min(judgement.next, now + IMPATIENCE_MS);
    return { ...judgement, detail: finding.detail, against: 0, next };
  }
  const needed = finding.state === "down" ? rhythm.failures : state === "down" ? rhythm.successes : 1;
  const against = judgement.against + 1;
  if (against >= needed) return settled(finding.state);
  return { ...judgement, against, detail: finding.detail };
}
