/**
 * `npm run simulate`: long campaigns of the failover core and of the data path, or one seed again, with its story in words.
 *
 *   --seeds N (10000)   --from S (1)   --only failover|replication   --coverage   --mutant "words"
 *   --seed S            the story of one failover schedule
 */
import { parseArgs } from "node:util";
import { runSchedule } from "./failover_schedule.ts";
import { MUTANTS, type Mutant } from "./failover_world.ts";
import { World as ReplicationWorld } from "./replication_world.ts";

const SHOWN = 20;
const REPLICATION_STEPS = 400;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
    mutant: { type: "string" },
    coverage: { type: "boolean", default: false },
  },
});
const mutant = MUTANTS.find((name) => name === values.mutant);
if (values.mutant !== undefined && mutant === undefined) {
  console.error(`no such mutant; one of:\n  ${MUTANTS.join("\n  ")}`);
  process.exit(2);
}
const seeds = numberOf("seeds");
const from = numberOf("from");

if (values.seed !== undefined) process.exit(tellOne(Number(values.seed)) ? 0 : 1);
const failover = values.only === "replication" || campaignOfFailover(mutant);
const replication = values.only === "failover" || mutant !== undefined || campaignOfReplication();
process.exit(failover && replication ? 0 : 1);

function numberOf(name: "seeds" | "from"): number {
  const number = Number(values[name]);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`--${name} wants a whole number, not ${values[name]}`);
  process.exit(2);
}

function tellOne(seed: number): boolean {
  const outcome = runSchedule({ seed, story: true, ...(mutant === undefined ? {} : { mutant }) });
  console.log(outcome.story.join("\n"));
  return outcome.violation === null;
}

function campaignOfFailover(broken: Mutant | undefined): boolean {
  const coverage = new Map<string, number>();
  let acknowledged = 0;
  let served = 0;
  const held = campaign("failover", (seed) => {
    const outcome = runSchedule({ seed, coverage, ...(broken === undefined ? {} : { mutant: broken }) });
    acknowledged += outcome.acknowledged;
    served += outcome.served;
    return outcome.violation === null ? null : `${outcome.profile}: ${outcome.violation}`;
  });
  console.log(`  ${acknowledged} acknowledged operations, ${served} times served`);
  if (values.coverage)
    for (const [pair, count] of [...coverage].sort(([a], [b]) => (a < b ? -1 : 1)))
      console.log(`${String(count).padStart(9)}  ${pair}`);
  return held;
}

function campaignOfReplication(): boolean {
  let operations = 0;
  let reintegrations = 0;
  const held = campaign("replication", (seed) => {
    try {
      const statistics = new ReplicationWorld(seed).run(REPLICATION_STEPS);
      operations += statistics.operations;
      reintegrations += statistics.reintegrations;
      return null;
    } catch (error) {
      return String(error);
    }
  });
  console.log(`  ${operations} operations, ${reintegrations} reintegrations`);
  return held;
}

/** Runs each seed; prints the first that fail, and a line at the end. True when none did. */
function campaign(name: string, run: (seed: number) => string | null): boolean {
  const began = performance.now();
  let broken = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const violation = run(seed);
    if (violation === null) continue;
    broken++;
    if (broken <= SHOWN) console.log(`${name} seed ${seed}: ${violation}`);
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${name}: ${seeds} schedules from seed ${from} in ${seconds} s, ${broken} broken`);
  return broken === 0;
}
