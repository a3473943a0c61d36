/**
 * Why this daemon was late: what people ask first when a module was fenced, and what nobody can find out afterwards.
 *
 * The kernel counts for how long a thread was ready and had to wait for a processor (proc(5), /proc/pid/schedstat); what is left of a gap, the process was
 * stopped, or its machine was, or it waited in a system call.
 */
import { readFileSync } from "node:fs";

const SCHEDULER = "/proc/self/schedstat";
/** Share of the gap that must be explained by waiting for a processor, to be called its cause. */
const MOST = 0.5;

/** Watches the ticks of one loop. */
export class Lateness {
  #at: number | null = null;
  #waited = waitedMs();

  /** `limitMs`: a gap between two ticks that is worth a word. */
  constructor(private readonly limitMs: number) {}

  /** Call at each tick; `now` is monotonic, ms. Returns a sentence after a long gap, else null. */
  tick(now: number): string | null {
    const gap = this.#at === null ? 0 : now - this.#at;
    this.#at = now;
    if (gap < this.limitMs) return null;
    return `this node's daemon did not run for ${Math.round(gap)} ms: ${causeOf(gap, waitedMs() - this.#waited)}`;
  }

  /** Call now and then, at least once in `limitMs`: a gap is explained by what was counted since. */
  mark(): void {
    this.#waited = waitedMs();
  }
}

/** What a gap came from, in words; both in ms. */
export function causeOf(gap: number, waited: number): string {
  if (waited >= gap * MOST)
    return `it waited ${Math.round(waited)} ms for a processor, this machine is overloaded`;
  return "it was stopped, its machine was, or a system call took that long";
}

/** For how long this thread has waited for a processor in all, ms; 0 where the kernel does not count. */
function waitedMs(): number {
  try {
    return Number(readFileSync(SCHEDULER, "latin1").split(" ")[1]) / 1e6;
  } catch {
    return 0;
  }
}
