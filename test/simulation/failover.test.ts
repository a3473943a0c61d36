/**
 * Ten thousand schedules of crashes, partitions, pauses, failing hooks and disks: G1, G3, G4 and G5 at every step, and peace at the end.
 * A schedule that fails is replayed in words with `npm run simulate -- --seed N`.
 */
import t from "tap";
import { runSchedule } from "./failover_schedule.ts";
import { MUTANTS } from "./failover_world.ts";

const SCHEDULES = 10_000;
const ENOUGH_FOR_A_MUTANT = 3000;
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
  t.same(broken, [], "replay one with: npm run simulate -- --seed N");
  t.comment(`${acknowledged} acknowledged operations, ${served} times served`);
  t.ok(acknowledged > 50 * SCHEDULES, "the application worked");
  t.ok(served > 2 * SCHEDULES, "the role moved");
  for (const [pair, count] of [...coverage].sort(([a], [b]) => (a < b ? -1 : 1)))
    t.comment(`${String(count).padStart(9)}  ${pair}`);
  const states = ["STOP", "WAIT", "ALONE", "PRIM", "SECOND"];
  const events = ["peer", "peerLost", "command stop", "command start", "command forcestop", "done failed"];
  for (const state of states)
    for (const event of events) t.ok(coverage.has(`${state} < ${event}`), `${event} came in state ${state}`);
});

t.test("a seed tells the same story twice", async (t) => {
  for (const seed of [1, 2, 3, 4])
    t.same(runSchedule({ seed, story: true }).story, runSchedule({ seed, story: true }).story);
});

for (const mutant of MUTANTS)
  t.test(`a core that ${mutant} is caught`, async (t) => {
    let caught: string | null = null;
    let seed = 0;
    while (caught === null && seed < ENOUGH_FOR_A_MUTANT) {
      seed++;
      caught = runSchedule({ seed, mutant }).violation;
      if (caught?.startsWith("liveness")) caught = null;
    }
    t.match(caught, /^G[1345]/, `caught with seed ${seed}: ${caught}`);
  });
