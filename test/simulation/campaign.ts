/**
 * `npm run simulate -- --seeds N --from S`: many schedules of the failover core; `--seed S` replays one with its story in words.
 */
import { runSchedule } from "./failover_schedule.ts";
import type { Mutant } from "./failover_world.ts";

const option = (name: string) => {
  const index = process.argv.indexOf(`--${name}`);
  return index < 0 ? null : (process.argv[index + 1] ?? null);
};
const mutant = option("mutant") as Mutant | null;
const one = option("seed");
if (one !== null) {
  const outcome = runSchedule({ seed: Number(one), story: true, ...(mutant === null ? {} : { mutant }) });
  console.log(outcome.story.join("\n"));
  process.exit(outcome.violation === null ? 0 : 1);
}
const seeds = Number(option("seeds") ?? 10_000);
const from = Number(option("from") ?? 1);
const coverage = new Map<string, number>();
const began = performance.now();
let broken = 0;
let acknowledged = 0;
let served = 0;
for (let seed = from; seed < from + seeds; seed++) {
  const outcome = runSchedule({ seed, coverage, ...(mutant === null ? {} : { mutant }) });
  acknowledged += outcome.acknowledged;
  served += outcome.served;
  if (outcome.violation === null) continue;
  broken++;
  if (broken <= 20) console.log(`seed ${seed} (${outcome.profile}): ${outcome.violation}`);
}
const seconds = (performance.now() - began) / 1000;
console.log(
  `failover: ${seeds} schedules from seed ${from} in ${seconds.toFixed(1)} s, ${acknowledged} acknowledged operations, ${served} times served, ${broken} broken`,
);
if (process.argv.includes("--coverage"))
  for (const [pair, count] of [...coverage].sort()) console.log(`${String(count).padStart(9)}  ${pair}`);
process.exit(broken === 0 ? 0 : 1);
