/**
 * `npm run simulate`: long campaigns of the failover core and of the data path on all processors, or one seed again, made short and told in words.
 *
 *   --seeds N (10000)   --from S (1)   --only failover|replication   --jobs N (processors)   --coverage
 *   --seed S            the shortest story of one seed (--only says of which world; failover if it does not); --whole: of all of it
 *   --mutant "words"    with this broken on purpose (failover)
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { coverageTable, missingPairs, type Subject } from "./coverage.ts";
import { runSchedule, shrunk } from "./failover_schedule.ts";
import { faultInWords } from "./failover_words.ts";
import { MUTANTS, type Mutant } from "./failover_world.ts";
import { REPLICATION_STEPS, run, shrunkRun } from "./replication_fate.ts";

const SUBJECTS = ["failover", "replication"] as const;
/** Its last stage compiles this code, which takes another way with each seed, over and over, and takes more time than it saves. */
const COMPILER = { BUN_JSC_useFTLJIT: "0" };
/** Failing seeds of each world that are named, and told. */
const NAMED = 20;
const TOLD = 2;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
    jobs: { type: "string", default: String(availableParallelism()) },
    mutant: { type: "string" },
    coverage: { type: "boolean", default: false },
    whole: { type: "boolean", default: false },
    part: { type: "boolean", default: false },
  },
});

/** What a stretch of seeds came to. Sums, so that parts can be added. */
interface Sum {
  schedules: number;
  broken: { seed: number; violation: string }[];
  counts: Record<string, number>;
  coverage: Record<string, number>;
}

const mutant = mutantOf(values.mutant);
const subjects = SUBJECTS.filter((subject) => values.only === undefined || values.only === subject);
if (subjects.length === 0) refuse(`--only is failover or replication, not ${values.only}`);
const seeds = numberOf("seeds");
const from = numberOf("from");
if (values.seed !== undefined) process.exit(tell(subjects[0]!, Number(values.seed), values.whole) ? 0 : 1);
else if (values.part) console.log(JSON.stringify(stretch(subjects[0]!, from, seeds)));
else {
  let held = true;
  for (const subject of subjects) if (!(await campaign(subject))) held = false;
  process.exit(held ? 0 : 1);
}

function refuse(text: string): never {
  console.error(text);
  process.exit(2);
}

function numberOf(name: "seeds" | "from" | "jobs"): number {
  const number = Number(values[name]);
  return Number.isSafeInteger(number) && number >= 0
    ? number
    : refuse(`--${name} wants a whole number, not ${values[name]}`);
}

function mutantOf(name: string | undefined): Mutant | undefined {
  const found = MUTANTS.find((known) => known === name);
  if (name !== undefined && found === undefined) refuse(`no such mutant; one of:\n  ${MUTANTS.join("\n  ")}`);
  return found;
}

/** Runs these seeds here. */
function stretch(subject: Subject, first: number, count: number): Sum {
  const sum: Sum = { schedules: count, broken: [], counts: {}, coverage: {} };
  const coverage = new Map<string, number>();
  const broken = mutant === undefined ? {} : { mutant };
  for (let seed = first; seed < first + count; seed++) {
    const { violation, counts } =
      subject === "failover" ? failoverSeed({ seed, coverage, ...broken }) : replicationSeed(seed, coverage);
    for (const [what, number] of Object.entries(counts)) sum.counts[what] = (sum.counts[what] ?? 0) + number;
    if (violation !== null) sum.broken.push({ seed, violation });
  }
  sum.coverage = Object.fromEntries(coverage);
  return sum;
}

function failoverSeed(settings: Parameters<typeof runSchedule>[0]) {
  const { violation, acknowledged, served } = runSchedule(settings);
  return { violation, counts: { acknowledged, served } };
}

function replicationSeed(seed: number, coverage: Map<string, number>) {
  const { violation, statistics } = run({ seed, steps: REPLICATION_STEPS, coverage });
  return { violation, counts: { ...statistics } };
}

/** Shares the seeds among processes, adds up, tells. True when every guarantee held. */
async function campaign(subject: Subject): Promise<boolean> {
  const began = performance.now();
  const jobs = Math.max(1, Math.min(numberOf("jobs"), seeds));
  const share = Math.ceil(seeds / jobs);
  const parts = await Promise.all(
    Array.from({ length: jobs }, (_, job) =>
      inProcess(subject, from + job * share, Math.max(0, Math.min(share, seeds - job * share))),
    ),
  );
  const seconds = (performance.now() - began) / 1000;
  const coverage = new Map<string, number>();
  const counts: Record<string, number> = {};
  for (const part of parts) {
    for (const [pair, count] of Object.entries(part.coverage))
      coverage.set(pair, (coverage.get(pair) ?? 0) + count);
    for (const [what, count] of Object.entries(part.counts)) counts[what] = (counts[what] ?? 0) + count;
  }
  const broken = parts.flatMap((part) => part.broken).sort((a, b) => a.seed - b.seed);
  for (const { seed, violation } of broken.slice(0, NAMED))
    console.log(`${subject} seed ${seed}: ${violation}`);
  for (const { seed } of broken.slice(0, TOLD)) tell(subject, seed, false);
  const pace = (seeds / seconds).toFixed(0);
  console.log(
    `${subject}: ${seeds} schedules, seeds ${from} to ${from + seeds - 1}, in ${seconds.toFixed(1)} s with ${jobs} processes (${pace}/s): ${broken.length} violations`,
  );
  console.log(
    `  ${Object.entries(counts)
      .map(([what, count]) => `${what} ${count}`)
      .join(", ")}`,
  );
  console.log(
    `  ${coverage.size} pairs of state and event met, ${missingPairs(subject, coverage).length} missing`,
  );
  if (values.coverage) console.log(coverageTable(subject, coverage).join("\n"));
  return broken.length === 0;
}

async function inProcess(subject: Subject, first: number, count: number): Promise<Sum> {
  const words = ["--part", "--only", subject, "--from", String(first), "--seeds", String(count)];
  if (mutant !== undefined) words.push("--mutant", mutant);
  const child = Bun.spawn([process.execPath, import.meta.path, ...words], {
    env: { ...process.env, ...COMPILER },
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0)
    throw new Error(`a process of the campaign ended with status ${child.exitCode}`);
  return JSON.parse(text) as Sum;
}

/** Prints a seed's schedule and story, made short if it breaks something. True when every guarantee held. */
function tell(subject: Subject, seed: number, whole: boolean): boolean {
  const replay = `npm run simulate -- --only ${subject} --seed ${seed}`;
  if (subject === "replication") {
    const settings = { seed, steps: REPLICATION_STEPS, story: true };
    const { violation, steps, story } = whole ? run(settings) : shrunkRun(settings);
    console.log(`${replay}: ${steps.length} of ${REPLICATION_STEPS} steps\n${story.join("\n")}`);
    return violation === null;
  }
  const settings = { seed, story: true, ...(mutant === undefined ? {} : { mutant }) };
  const { violation, faults, story } = whole ? runSchedule(settings) : shrunk(settings);
  console.log(
    `${replay}: ${faults.length} faults\n${faults.map(faultInWords).join("\n")}\n${story.join("\n")}`,
  );
  return violation === null;
}
