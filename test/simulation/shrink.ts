/**
 * Makes a failing schedule short: delta debugging (Zeller's ddmin). What is left still breaks, and no single item of it can go.
 *
 * Whoever reads a failure wants the three faults that matter, not the thirty that were drawn.
 */

/** A schedule that breaks after so many runs is as short as it gets for a reader's patience. */
const MOST_RUNS = 1500;

/** The fewest of these items, in the same order, for which `breaks` is still true. `breaks` of all of them must be true. */
export function shrink<T>(items: readonly T[], breaks: (items: readonly T[]) => boolean): readonly T[] {
  let kept = items;
  let parts = 2;
  let runs = 0;
  while (kept.length > 0 && runs < MOST_RUNS) {
    const size = Math.ceil(kept.length / parts);
    let removed = false;
    for (let from = 0; from < kept.length && runs < MOST_RUNS; ) {
      const rest = [...kept.slice(0, from), ...kept.slice(from + size)];
      runs++;
      if (breaks(rest)) {
        kept = rest;
        removed = true;
      } else from += size;
    }
    if (size === 1 && !removed) break;
    parts = Math.min(Math.max(removed ? parts : parts * 2, 2), Math.max(kept.length, 2));
  }
  return kept;
}
