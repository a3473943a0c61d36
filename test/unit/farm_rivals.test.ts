/**
 * Which nodes of a farm go on serving when some do not hear each other: for random networks the farm comes to rest, nobody serves beside a node
 * that he could know of and does not hear, and no part of the network is left without a node that serves.
 */
import t from "tap";
import { type HeardNode, rivalOf } from "../../core/farm/rivals.ts";

/** Numbers from 0 to 1 that are the same in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Does `one` hear `other`? */
type Hears = (one: string, other: string) => boolean;

interface Settled {
  /** Those that serve. */
  open: Set<string>;
  /** How often a node, looking alone, began to serve beside one that it could know of and does not hear. */
  clashes: number;
}

const knows = (nodes: readonly string[], hears: Hears, one: string, other: string): boolean =>
  hears(one, other) || nodes.some((third) => hears(one, third) && hears(third, one) && hears(third, other));

/** Some of the nodes, or all at once, look at what the others say, until none changes its mind any more; null: they never rest. */
function settle(nodes: readonly string[], hears: Hears, draw: () => number): Settled | null {
  const open = new Set(nodes.filter(() => draw() < 0.7));
  const heardBy = (node: string): string[] => nodes.filter((other) => other !== node && hears(node, other));
  const serves = (me: string): boolean => {
    const heard = heardBy(me).map((other): [string, HeardNode] => {
      const told = heardBy(other).filter((node) => open.has(node));
      return [other, { stage: open.has(other) ? "open" : "held", hears: told, hearsUs: hears(other, me) }];
    });
    return rivalOf(me, open.has(me), new Map(heard)) === null;
  };
  let clashes = 0;
  for (let round = 0, calm = 0; round < 1000; round++) {
    const looking = draw() < 0.5 ? [...nodes] : [nodes[Math.floor(draw() * nodes.length)]!];
    const found = looking.map((node) => [node, serves(node)] as const);
    const changed = found.filter(([node, well]) => well !== open.has(node));
    for (const [node, well] of changed) {
      if (well && looking.length === 1)
        clashes += [...open].filter((one) => !hears(node, one) && knows(nodes, hears, node, one)).length;
      if (well) open.add(node);
      else open.delete(node);
    }
    calm = changed.length === 0 ? calm + 1 : 0;
    if (calm > 20 * nodes.length) return { open, clashes };
  }
  return null;
}

const farm = (draw: () => number): string[] =>
  Array.from({ length: 2 + Math.floor(draw() * 8) }, (_, at) => `n${at + 1}`);

t.test("cuts between any two nodes: every part serves, and no two that could know of each other", (t) => {
  const draw = random(5);
  for (let round = 0; round < 400; round++) {
    const nodes = farm(draw);
    const loss = draw() * 0.5;
    const cut = new Set(nodes.flatMap((a) => nodes.filter((b) => a < b && draw() < loss).map((b) => a + b)));
    const hears: Hears = (a, b) => !cut.has(a < b ? a + b : b + a);
    const rest = settle(nodes, hears, draw);
    if (rest === null) {
      t.fail(`round ${round}: never at rest`, { nodes, cut: [...cut] });
      continue;
    }
    const { open, clashes } = rest;
    const both = [...open].filter((a) =>
      [...open].some((b) => a !== b && !hears(a, b) && knows(nodes, hears, a, b)),
    );
    const part = (a: string, seen = new Set([a])): Set<string> => {
      for (const b of nodes) if (!seen.has(b) && hears(a, b)) part(b, seen.add(b));
      return seen;
    };
    const dark = nodes.filter((a) => ![...part(a)].some((b) => open.has(b)));
    if (both.length + dark.length + clashes > 0)
      t.fail(`round ${round}`, { nodes, cut: [...cut], open: [...open], both, dark, clashes });
  }
  t.pass("400 networks");
  t.end();
});

t.test(
  "a network that is cut in two: each side serves whole; one way: the side that is not heard gives in",
  (t) => {
    const draw = random(6);
    for (let round = 0; round < 200; round++) {
      const nodes = farm(draw);
      const left = new Set(nodes.filter(() => draw() < 0.5));
      const same = (a: string, b: string): boolean => left.has(a) === left.has(b);
      const apart = settle(nodes, same, draw)?.open;
      if (apart?.size !== nodes.length)
        t.fail(`round ${round}: cut in two`, { nodes, left: [...left], apart });
      // The right hears nothing from the left.
      const oneWay = settle(nodes, (a, b) => same(a, b) || left.has(a), draw)?.open;
      const expected = left.size === nodes.length ? left : new Set(nodes.filter((node) => !left.has(node)));
      if (oneWay?.symmetricDifference(expected).size !== 0)
        t.fail(`round ${round}: one way`, { nodes, left: [...left], oneWay });
    }
    t.pass("200 networks");
    t.end();
  },
);

t.test("one direction between two of many: they know of each other, and the later one gives in", (t) => {
  const all = ["n1", "n2", "n3", "n4"];
  const draw = random(7);
  for (const deaf of all)
    for (const mute of all.filter((node) => node !== deaf))
      for (let round = 0; round < 10; round++) {
        const open = settle(all, (a, b) => a !== deaf || b !== mute, draw)?.open ?? new Set();
        t.equal(open.size, 3, `${deaf} does not hear ${mute}: the others serve`);
        t.ok(open.has(deaf) !== open.has(mute));
      }
  const told = (me: string, isOpen: boolean, other: string, hears = all): string | null =>
    rivalOf(
      me,
      isOpen,
      new Map<string, HeardNode>([
        [other, { stage: "open", hears, hearsUs: false }],
        ["n3", { stage: "open", hears: all, hearsUs: true }],
      ]),
    );
  t.equal(told("n1", true, "n2"), null, "n2 knows of n1, and is the later one");
  t.equal(told("n2", true, "n1"), "n1");
  t.equal(told("n1", false, "n2"), "n2", "who serves already is not disturbed");
  t.equal(told("n1", true, "n2", []), "n2", "n2 cannot know");
  t.end();
});
