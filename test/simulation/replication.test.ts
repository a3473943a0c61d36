/**
 * Seeded runs of the data path: G1, G2, G5, G6 and G7 at every step, then peace, in which both copies must come together and serve.
 * A seed that fails: `npm run simulate -- --only replication --seed N` tells a short story of it.
 */
import t from "tap";
import { missingPairs } from "./coverage.ts";
import { REPLICATION_STEPS, run, shrunkRun } from "./replication_fate.ts";
import type { Mutant } from "./replication_node.ts";
import type { Statistics } from "./replication_world.ts";

const SEEDS = 400;
/** Longer lives than the ordinary ones: some mutants need several connections to do harm. */
const MUTANT_STEPS = 1500;
/** A mutant that survives so many seeds would survive the tests. */
const MUTANT_SEEDS = 3000;
t.setTimeout(600_000);

/** Data or names are lost; `model`: so much that a file system in memory cannot go on. */
const LOSES = /^(G[1267]|model)/;

/** What is broken on purpose, and the guarantees of which one must catch it. */
const MUTANTS: Record<Mutant, { what: string; caughtBy: RegExp }> = {
  marksNothing: { what: "trap 2: data without a dirty mark", caughtBy: LOSES },
  admitsBeforeDurable: { what: "trap 2: data changed before its mark is on disk", caughtBy: LOSES },
  clearsAtSend: { what: "trap 3: what was sent counts as safe", caughtBy: LOSES },
  confirmsWithoutTarget: { what: "trap 3: a durable point of one disk only", caughtBy: LOSES },
  targetSyncLies: { what: "trap 3: SECOND's fsync taken out", caughtBy: LOSES },
  acknowledgesAlone: { what: "fsync answered without the peer's word", caughtBy: /^G1/ },
  noUnion: { what: "trap 3: only one log counts after a crash", caughtBy: LOSES },
  sendsUnplaced: { what: "trap 5: live operations on what is not there yet", caughtBy: /^(G2|model)/ },
  noFinalPoint: { what: "trap 5: up to date before its disk holds everything", caughtBy: /^G[167]/ },
  forgetsPeer: {
    what: "trap 3: what was sent stays clean when the peer goes",
    caughtBy: /^(G[17]|liveness|model)/,
  },
  resumesUnlisted: {
    what: "a full copy goes on though the marks do not tell all that is missing",
    caughtBy: LOSES,
  },
  resumesAnyDisk: { what: "a full copy of one disk goes on with another", caughtBy: LOSES },
  appliesOutOfOrder: { what: "trap 6: SECOND applies in another order", caughtBy: /^G2/ },
  copiesTooMuch: { what: "a reintegration copies what did not change", caughtBy: /^G6/ },
  neverClean: { what: "durable points make nothing clean", caughtBy: /^(G6|liveness)/ },
  ignoresDiskErrors: { what: "trap 8: an fsync that failed counts as done", caughtBy: LOSES },
};

t.test("the guarantees hold at every step, whatever happens and whenever", async (t) => {
  const statistics: Partial<Statistics> = {};
  const coverage = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const outcome = run({ seed, steps: REPLICATION_STEPS, coverage });
    for (const [key, count] of Object.entries(outcome.statistics) as [keyof Statistics, number][])
      statistics[key] = (statistics[key] ?? 0) + count;
    if (outcome.violation !== null) t.fail(`seed ${seed}: ${outcome.violation}`);
  }
  t.comment(JSON.stringify(statistics));
  for (const [what, count] of Object.entries(statistics))
    t.ok(count > SEEDS / 50, `the runs saw ${count} ${what}`);
  t.same(missingPairs("replication", coverage), [], "every phase met every event that can come in it");
});

t.test("broken on purpose, each guarantee is caught", async (t) => {
  for (const [mutant, { what, caughtBy }] of Object.entries(MUTANTS) as [
    Mutant,
    (typeof MUTANTS)[Mutant],
  ][]) {
    let seed = 0;
    let violation: string | null = null;
    while (seed < MUTANT_SEEDS && violation === null) {
      seed++;
      ({ violation } = run({ seed, steps: MUTANT_STEPS, mutant }));
    }
    t.match(violation, caughtBy, `${what}: caught by seed ${seed}`);
  }
});

t.test("a failing run is made short: fewer steps that break the same guarantee", async (t) => {
  const settings = { seed: 0, steps: REPLICATION_STEPS, mutant: "marksNothing" as const };
  let whole = run(settings);
  while (whole.violation === null) whole = run({ ...settings, seed: ++settings.seed });
  const short = shrunkRun({ ...settings, story: true });
  t.equal(short.violation?.slice(0, 2), whole.violation.slice(0, 2));
  t.ok(
    short.steps.length * 3 < whole.steps.length,
    `${short.steps.length} of ${whole.steps.length} steps are left`,
  );
  t.same(run({ ...settings, only: short.steps }).violation, short.violation, "and they break it again");
  t.match(short.story.join("\n"), /the application on n1 .*BROKEN/s);
});
