/**
 * Notices that the machine's wall clock was set. No decision goes by it; but logs and certificates do, and people who read what two nodes
 * wrote down at the same moment.
 */

import { sharedClock } from "../platform/shared_clock.ts";
import type { ClockStep } from "./engine.ts";

/** What a time service that only makes the clock run faster or slower does not do between two ticks, ms. */
const STEP_MS = 500;
/** Two clocks that were not read at the same moment tell nothing, ms. */
const READ_MS = 50;

/** The wall clock, one that nobody sets, and how long reading them took; ms. */
interface Reading {
  wall: number;
  steady: number;
  took: number;
}

function readClocks(): Reading {
  const steady = sharedClock();
  const wall = Date.now();
  return { wall, steady, took: sharedClock() - steady };
}

/** See the top of the file. */
export class WallClock {
  #ahead: number | null = null;
  #last: ClockStep | null = null;

  constructor(private readonly read: () => Reading = readClocks) {}

  /** The last time that it was set since this daemon began; null: never. */
  get last(): ClockStep | null {
    return this.#last;
  }

  /** Call at each tick. Returns a sentence when it was set since the one before, else null. */
  tick(): string | null {
    const { wall, steady, took } = this.read();
    if (took > READ_MS) return null;
    const ahead = wall - steady;
    const byMs = this.#ahead === null ? 0 : Math.round(ahead - this.#ahead);
    this.#ahead = ahead;
    if (Math.abs(byMs) < STEP_MS) return null;
    this.#last = { at: new Date(wall).toISOString(), byMs };
    return `the clock of this machine was set ${stepText(byMs)}: no decision goes by it, but the times in this log do`;
  }
}

/** "3.2 s forward", "3600.0 s back". */
export function stepText(byMs: number): string {
  return `${(Math.abs(byMs) / 1000).toFixed(1)} s ${byMs > 0 ? "forward" : "back"}`;
}
