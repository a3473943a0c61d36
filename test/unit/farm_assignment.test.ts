/**
 * The assignment of a farm's buckets: total, balanced, the same on all nodes, and moving little, for random farms of 2 to 32 nodes.
 */
import t from "tap";
import { assign, BUCKETS, elected, type Shares } from "../../core/farm/assignment.ts";
import { virtualMacOf } from "../../core/farm/virtual_mac.ts";
import { planOf, type Stage } from "../../core/farm/word.ts";

/** Numbers from 0 to 1 that are the same in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function farm(draw: () => number, most = 32): Shares {
  const count = 2 + Math.floor(draw() * (most - 1));
  const nodes = Array.from({ length: count }, (_, at) => `n${at + 1}`);
  const isEven = draw() < 0.5;
  const weights = isEven
    ? {}
    : Object.fromEntries(nodes.map((node) => [node, 1 + Math.floor(draw() * 1000)]));
  return { nodes, weights, priority: [] };
}

function shuffled<Item>(items: readonly Item[], draw: () => number): Item[] {
  return items
    .map((item) => ({ item, at: draw() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

const some = (nodes: readonly string[], draw: () => number): string[] => {
  const live = nodes.filter(() => draw() < 0.7);
  return live.length > 0 ? live : [nodes[0]!];
};
const count = (assignment: readonly string[], node: string): number =>
  assignment.filter((owner) => owner === node).length;
const moved = (before: readonly string[], after: readonly string[]): number =>
  before.filter((owner, bucket) => owner !== after[bucket]).length;

t.test("every bucket has one node that serves, each within one bucket of its exact share", (t) => {
  const draw = random(1);
  for (let round = 0; round < 300; round++) {
    const shares = farm(draw);
    const live = some(shares.nodes, draw);
    const assignment = assign(shares, live);
    const total = live.reduce((sum, node) => sum + (shares.weights[node] ?? 1), 0);
    const wrong = live.filter((node) => {
      const exact = (BUCKETS * (shares.weights[node] ?? 1)) / total;
      return Math.abs(count(assignment, node) - exact) >= 1;
    });
    if (assignment.length !== BUCKETS || !assignment.every((node) => live.includes(node)) || wrong.length > 0)
      t.fail(`round ${round}`, { shares, live, wrong });
  }
  t.same(assign({ nodes: ["a", "b"], weights: {}, priority: [] }, []), [], "nobody serves");
  t.end();
});

t.test("it is the same whatever the order, of the nodes in module.yaml too", (t) => {
  const draw = random(2);
  for (let round = 0; round < 100; round++) {
    const shares = farm(draw);
    const live = some(shares.nodes, draw);
    const other = { ...shares, nodes: shuffled(shares.nodes, draw) };
    if (!Bun.deepEquals(assign(shares, live), assign(other, shuffled(live, draw))))
      t.fail(`round ${round}`, { shares, live });
  }
  t.pass("100 farms");
  t.end();
});

t.test("who leaves a full farm takes its own buckets away, and hardly another moves", (t) => {
  const draw = random(3);
  for (let round = 0; round < 200; round++) {
    const shares = farm(draw);
    const full = assign(shares, shares.nodes);
    const gone = shares.nodes[Math.floor(draw() * shares.nodes.length)]!;
    const rest = assign(
      shares,
      shares.nodes.filter((node) => node !== gone),
    );
    const others = moved(full, rest) - count(full, gone);
    const isEven = Object.keys(shares.weights).length === 0;
    // Equal weights move not one too many; others one for each share that is now rounded down.
    if (others > (isEven ? 0 : shares.nodes.length / 2)) t.fail(`round ${round}: ${others} others moved`);
  }
  t.pass("200 farms");
  t.end();
});

t.test("who leaves a farm that lacks others already moves at most what had no home, too", (t) => {
  const draw = random(4);
  let [others, all] = [0, 0];
  for (let round = 0; round < 200; round++) {
    const shares = { ...farm(draw), weights: {} };
    const live = some(shares.nodes, draw);
    if (live.length < 2) continue;
    const before = assign(shares, live);
    const after = assign(shares, live.slice(1));
    const full = assign(shares, shares.nodes);
    others += moved(before, after) - count(before, live[0]!);
    all += BUCKETS;
    const strays = full.filter((home) => !live.includes(home)).length;
    if (moved(before, after) > count(before, live[0]!) + strays) t.fail(`round ${round}`);
  }
  t.ok(
    others / all < 0.1,
    `${((100 * others) / all).toFixed(1)} % of all buckets moved beside those of the node`,
  );
  t.end();
});

t.test("weights: none, zero, and a chain of priority", (t) => {
  const nodes = ["n1", "n2", "n3"];
  const idle = assign({ nodes, weights: { n1: 0 }, priority: [] }, nodes);
  t.equal(count(idle, "n1"), 0, "weight 0 serves nobody");
  t.equal(
    count(assign({ nodes, weights: { n1: 0 }, priority: [] }, ["n1"]), "n1"),
    BUCKETS,
    "unless it is the last",
  );
  const chain: Shares = { nodes, weights: {}, priority: ["n2", "n3"] };
  t.equal(count(assign(chain, nodes), "n2"), BUCKETS);
  t.equal(count(assign(chain, ["n1", "n3"]), "n3"), BUCKETS);
  t.equal(count(assign(chain, ["n1"]), "n1"), BUCKETS);
  const [light, heavy] = [1, 3];
  const uneven = assign({ nodes, weights: { n1: light, n2: heavy, n3: 0 }, priority: [] }, nodes);
  t.same([count(uneven, "n1"), count(uneven, "n2"), count(uneven, "n3")], [64, 192, 0]);
  t.end();
});

t.test("what is wrong with every node does not close the farm", (t) => {
  const shares: Shares = { nodes: ["n1", "n2", "n3"], weights: {}, priority: [] };
  const serving = (...stages: Stage[]): readonly string[] =>
    planOf(shares, new Map(stages.map((stage, at) => [`n${at + 1}`, { stage }] as const))).serving;
  t.same(serving("open", "held", "draining"), ["n1"]);
  t.same(serving("closed", "held", "draining"), ["n2", "n3"]);
  t.same(serving("closed", "unwell", "draining"), ["n3"], "its clients are there, and it is well");
  t.same(serving("unwell", "unwell", "closed"), ["n1", "n2"], "nobody is better off");
  t.same(serving("closed", "closed", "closed"), [], "an application that is not up serves nobody");
  t.end();
});

t.test("a farm's own MAC address is a unicast one that no card has, the same on all nodes", (t) => {
  const mac = virtualMacOf("demo", ["fd77::100/64", "10.77.0.100/24"]);
  t.match(mac, /^02(:[0-9a-f]{2}){5}$/);
  t.equal(virtualMacOf("demo", ["10.77.0.100/24", "fd77::100/64"]), mac);
  t.not(virtualMacOf("other", ["10.77.0.100/24", "fd77::100/64"]), mac);
  t.not(virtualMacOf("demo", ["10.77.0.101/24"]), mac);
  t.end();
});

t.test("one is elected, and stays it while it is there", (t) => {
  const nodes = Array.from({ length: 9 }, (_, at) => `n${at}`);
  const first = elected("10.0.0.1", nodes)!;
  t.equal(elected("10.0.0.1", [...nodes].reverse()), first);
  for (const gone of nodes) {
    const now = elected(
      "10.0.0.1",
      nodes.filter((node) => node !== gone),
    );
    t[gone === first ? "not" : "equal"](now, first);
  }
  t.equal(elected("10.0.0.1", []), null);
  t.end();
});
