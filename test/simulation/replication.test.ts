import t from "tap";
import { type Mutant, Violation } from "./replication_node.ts";
import { type Statistics, World } from "./replication_world.ts";

const STEPS = 1500;
/** Seeds of the ordinary run; more: HOLDFAST_SEEDS=5000. One again: HOLDFAST_SEED=17. */
const SEEDS = Number(process.env["HOLDFAST_SEEDS"] ?? 120);
const FIRST = Number(process.env["HOLDFAST_SEED"] ?? 0);
const LAST = process.env["HOLDFAST_SEED"] === undefined ? SEEDS : FIRST + 1;
/** A mutant that survives so many seeds would survive the tests. */
const MUTANT_SEEDS = 1200;

const MUTANTS: Record<Mutant, string> = {
  marksNothing: "trap 2: data without a dirty mark",
  admitsBeforeDurable: "trap 2: data changed before its mark is on disk",
  clearsAtSend: "trap 3: what was sent counts as safe",
  confirmsWithoutTarget: "trap 3: a durable point of one disk only",
  targetSyncLies: "trap 3: SECOND's fsync taken out",
  acknowledgesAlone: "G1: fsync answered without the peer's word",
  noUnion: "trap 3: only one log counts after a crash",
  sendsUnplaced: "trap 5: live operations on what is not there yet",
  noFinalPoint: "trap 5: up to date before its disk holds everything",
  forgetsPeer: "trap 3: what was sent stays clean when the peer goes",
  resumesUnlisted: "a full copy goes on though the marks do not tell all that is missing",
  resumesAnyDisk: "a full copy of one disk goes on with another",
};

/** The violation that a seed leads to, or null. */
function violationOf(seed: number, mutant: Mutant | null, statistics: Partial<Statistics>): string | null {
  try {
    const seen = new World(seed, mutant).run(STEPS);
    for (const [key, count] of Object.entries(seen) as [keyof Statistics, number][]) {
      statistics[key] = (statistics[key] ?? 0) + count;
    }
    return null;
  } catch (error) {
    // A mutant may break the model itself (an object that should be there is not): caught all the same.
    if (error instanceof Violation || mutant !== null) return (error as Error).message;
    throw error;
  }
}

t.test("G1, G2, G5, G6 hold at every step, whatever happens and whenever", async (t) => {
  const statistics: Partial<Statistics> = {};
  for (let seed = FIRST; seed < LAST; seed++) {
    const violation = violationOf(seed, null, statistics);
    if (violation !== null) t.fail(`HOLDFAST_SEED=${seed} shows it again: ${violation}`);
  }
  t.comment(JSON.stringify(statistics));
  if (FIRST === LAST - 1) return;
  for (const [what, count] of Object.entries(statistics))
    t.ok(count > (LAST - FIRST) / 4, `the runs saw ${count} ${what}`);
});

t.test("broken on purpose, each guarantee is caught", async (t) => {
  for (const [mutant, what] of Object.entries(MUTANTS) as [Mutant, string][]) {
    let seed = 0;
    while (seed < MUTANT_SEEDS && violationOf(seed, mutant, {}) === null) seed++;
    t.ok(seed < MUTANT_SEEDS, `${what}: caught by seed ${seed}`);
  }
});
