/** The shortest way from one list of lines to another, and its text as git and patch(1) understand it. Pure. */

/** Names in git's order of diffs, near enough: by their characters' codes. */
export const byName = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

/** Lines around a change. */
const CONTEXT = 3;
/** Beyond so many differences the shortest way is not looked for: everything is replaced. */
const MOST_DIFFERENCES = 4000;

type Step = { kind: " " | "-" | "+"; line: string };

/** Myers, "An O(ND) Difference Algorithm and Its Variations" (1986). */
function shortestWay(from: readonly string[], to: readonly string[]): Step[] {
  const reach = new Map<number, number>([[1, 0]]);
  const trail: Map<number, number>[] = [];
  for (let d = 0; d <= Math.min(from.length + to.length, MOST_DIFFERENCES); d++) {
    trail.push(new Map(reach));
    for (let k = -d; k <= d; k += 2) {
      const isDown = k === -d || (k !== d && (reach.get(k - 1) ?? 0) < (reach.get(k + 1) ?? 0));
      let x = isDown ? (reach.get(k + 1) ?? 0) : (reach.get(k - 1) ?? 0) + 1;
      while (x < from.length && x - k < to.length && from[x] === to[x - k]) x++;
      reach.set(k, x);
      if (x >= from.length && x - k >= to.length) return wayBack(trail, from, to);
    }
  }
  return [
    ...from.map((line): Step => ({ kind: "-", line })),
    ...to.map((line): Step => ({ kind: "+", line })),
  ];
}

function wayBack(
  trail: readonly Map<number, number>[],
  from: readonly string[],
  to: readonly string[],
): Step[] {
  const steps: Step[] = [];
  let [x, y] = [from.length, to.length];
  for (let d = trail.length - 1; d >= 0; d--) {
    const reach = trail[d]!;
    const k = x - y;
    const isDown = k === -d || (k !== d && (reach.get(k - 1) ?? 0) < (reach.get(k + 1) ?? 0));
    const before = isDown ? k + 1 : k - 1;
    const startX = d === 0 ? 0 : (reach.get(before) ?? 0);
    const startY = d === 0 ? 0 : startX - before;
    while (x > startX && y > startY) {
      steps.push({ kind: " ", line: from[--x]! });
      y--;
    }
    if (d === 0) break;
    if (isDown) steps.push({ kind: "+", line: to[--y]! });
    else steps.push({ kind: "-", line: from[--x]! });
  }
  return steps.reverse();
}

/** Lines with their ends. */
function linesOf(text: string): string[] {
  return text === "" ? [] : text.split(/(?<=\n)/);
}

/** The hunks of a unified diff; "" when the texts are equal. */
export function unifiedHunks(from: string, to: string): string {
  const steps = shortestWay(linesOf(from), linesOf(to));
  const changed = steps.flatMap(({ kind }, index) => (kind === " " ? [] : [index]));
  const out: string[] = [];
  for (let at = 0; at < changed.length; ) {
    let last = at;
    while (last + 1 < changed.length && changed[last + 1]! - changed[last]! <= 2 * CONTEXT) last++;
    out.push(
      hunk(steps, Math.max(0, changed[at]! - CONTEXT), Math.min(steps.length, changed[last]! + CONTEXT + 1)),
    );
    at = last + 1;
  }
  return out.join("");
}

function hunk(steps: readonly Step[], begin: number, end: number): string {
  const count = (part: readonly Step[], kind: Step["kind"]): number =>
    part.filter((step) => step.kind === " " || step.kind === kind).length;
  const [before, inside] = [steps.slice(0, begin), steps.slice(begin, end)];
  const range = (kind: "-" | "+"): string => {
    const length = count(inside, kind);
    return `${count(before, kind) + (length > 0 ? 1 : 0)},${length}`;
  };
  const body = inside.map(({ kind, line }) =>
    line.endsWith("\n") ? `${kind}${line}` : `${kind}${line}\n\\ No newline at end of file\n`,
  );
  return `@@ -${range("-")} +${range("+")} @@\n${body.join("")}`;
}
