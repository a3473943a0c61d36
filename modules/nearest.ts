/** The nearest of the known words to a wrong one, for messages that say what was probably meant. */

/** Edit distance where a swap of two neighbours counts one. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, before[j - 2]! + 1);
      row.push(best);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length]!;
}

/** The known word that differs least from `word`, or null when none is near (a third of its letters, at least two, differ). */
export function nearest(word: string, known: readonly string[]): string | null {
  if (word.length > 64) return null;
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let limit = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const steps = distance(wanted, candidate.toLowerCase());
    if (steps < limit) {
      best = candidate;
      limit = steps;
    }
  }
  return best;
}
