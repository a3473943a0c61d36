/**
 * A node that leaves a farm and comes back again and again moves its clients each time: it is held back, for a pause that doubles (trap 24). Pure.
 *
 * Times are the wall clock's, in ms, since they outlive a crash: they decide of nothing but this pause.
 */

/** What is remembered of one node. */
export interface Leavings {
  /** When it left, of late, oldest first. */
  at: readonly number[];
  /** How often in a row it was held back. */
  holds: number;
  /** Until when it is. */
  until: number;
}

/** Of a node that never left. */
export const NEVER_LEFT: Leavings = { at: [], holds: 0, until: 0 };

/** So often it may leave in so long, and is welcome at once. */
export const FREE_LEAVINGS = 3;
export const WINDOW_MS = 600_000;
const FIRST_PAUSE_MS = 20_000;
const LONGEST_PAUSE_MS = 600_000;

/** It has left. Once it was held back, it is again each time, until it has stayed for the whole of a window. */
export function afterLeaving({ at, holds, until }: Leavings, now: number): Leavings {
  const recent = [...at.filter((time) => time > now - WINDOW_MS && time <= now), now];
  const past = now - until > WINDOW_MS || until - now > LONGEST_PAUSE_MS ? 0 : holds;
  if (past === 0 && recent.length <= FREE_LEAVINGS) return { at: recent, holds: 0, until: 0 };
  return {
    at: recent,
    holds: past + 1,
    until: now + Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(past, 10)),
  };
}

/** For how long it is still held back, ms; 0: it is not. A clock that was set back holds nobody. */
export function heldFor({ until }: Leavings, now: number): number {
  const left = until - now;
  return left > LONGEST_PAUSE_MS ? 0 : Math.max(0, left);
}
