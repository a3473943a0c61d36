/**
 * Ten thousand schedules of crashes, partitions, pauses, failing hooks and disks: G1, G3, G4 and G5 at every step, and peace at the end.
 * A schedule that fails is replayed, made short and told with `npm run simulate -- --seed N`.
 */
import t from "tap";
import { missingPairs } from "./coverage.ts";
import { guaranteeOf, runSchedule, shrunk } from "./failover_schedule.ts";
import { MUTANTS, type Mutant, WITNESS_MUTANTS } from "./failover_world.ts";

const SCHEDULES = 10_000;
const FARMS = 700;
const ENOUGH_FOR_A_MUTANT = 8000;
/** A frozen primary was granted a lease again while its peer wrote down, on a slow disk, that it takes over. */
const BROKEN_ONCE = [400021447];
t.setTimeout(600_000);

t.test(`${SCHEDULES} schedules hold every guarantee`, async (t) => {
  const coverage = new Map<string, number>();
  const broken: string[] = [];
  let acknowledged = 0;
  let served = 0;
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const outcome = runSchedule({ seed, coverage });
    acknowledged += outcome.acknowledged;
    served += outcome.served;
    if (outcome.violation !== null) broken.push(`seed ${seed}: ${outcome.violation}`);
  }
  // Few of those are farms: some more, where hooks and disks fail (every fourth seed).
  for (let seed = 2; seed < 4 * FARMS; seed += 4) {
    const { violation } = runSchedule({ seed, coverage, config: { kind: "farm" } });
    if (violation !== null) broken.push(`farm, seed ${seed}: ${violation}`);
  }
  t.same(broken, [], "replay one with: npm run simulate -- --seed N");
  t.comment(`${acknowledged} acknowledged operations, ${served} times served`);
  t.ok(acknowledged > 50 * SCHEDULES, "the application worked");
  t.ok(served > 2 * SCHEDULES, "the role moved");
  t.same(missingPairs("failover", coverage), [], "every state met every event that can come in it");
});

t.test("schedules that were broken once", async (t) => {
  for (const seed of BROKEN_ONCE) t.equal(runSchedule({ seed }).violation, null, `seed ${seed}`);
});

t.test("a seed tells the same story twice", async (t) => {
  for (const seed of [1, 2, 3, 4])
    t.same(runSchedule({ seed, story: true }).story, runSchedule({ seed, story: true }).story);
});

t.test("a failing schedule is made short: fewer faults that break the same guarantee", async (t) => {
  const mutant = "forgets that it is outdated";
  let seed = 1;
  let whole = runSchedule({ seed, mutant });
  while (guaranteeOf(whole.violation) !== "G3" || whole.faults.length < 6)
    whole = runSchedule({ seed: ++seed, mutant });
  const short = shrunk({ seed, mutant, story: true });
  t.equal(guaranteeOf(short.violation), "G3");
  t.ok(
    short.faults.length < whole.faults.length,
    `${short.faults.length} of ${whole.faults.length} faults are left`,
  );
  for (const [index] of short.faults.entries()) {
    const fewer = short.faults.toSpliced(index, 1);
    t.not(
      guaranteeOf(runSchedule({ seed, mutant, faults: fewer }).violation),
      "G3",
      `fault ${index + 1} is needed`,
    );
  }
  t.match(short.story.at(-1), /BROKEN: G3/);
});

const isAboutWitness = new Set<Mutant>(WITNESS_MUTANTS);

for (const mutant of MUTANTS)
  t.test(`a core that ${mutant} is caught`, async (t) => {
    let caught: string | null = null;
    let seed = 0;
    const witness = isAboutWitness.has(mutant) ? ({ witness: "records" } as const) : {};
    while (caught === null && seed < ENOUGH_FOR_A_MUTANT) {
      seed++;
      caught = runSchedule({ seed, mutant, ...witness }).violation;
      if (caught?.startsWith("liveness")) caught = null;
    }
    t.match(caught, /^G[1345]/, `caught with seed ${seed}: ${caught}`);
  });
