/**
 * Two nodes and a witness under random misfortunes: whoever is cut from whom, frozen, thawed, killed or without power, never do two nodes acknowledge at the same time,
 * never does the old one speak from the virtual address after the new one, and nothing that was acknowledged is missing.
 *
 * A seed draws schedules that befall a cluster of its own, one after the other; several clusters run side by side, since a schedule is mostly waiting. Nothing about safety is timed.
 */
import { cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { WitnessCluster } from "./witness_cluster.ts";
import { judge, longestGap, takeovers } from "./witness_judge.ts";
import { drawSchedule, kindOf, type Schedule, scheduleInWords } from "./witness_schedule.ts";

/** Why it cannot run here, or null. */
function witnessImpossible(): string | null {
  const [missing] = ["etcd", "tcpdump", "curl"].filter((program) => Bun.which(program) === null);
  return missing === undefined
    ? null
    : `needs the program ${missing} (apt-get install etcd-server tcpdump curl)`;
}

/** What to do. */
export interface WitnessRuns {
  /** Seeds `from`, `from` + 1, … */
  from: number;
  seeds: number;
  /** So many schedules for each seed, one after the other. */
  rounds: number;
  /** So many clusters at a time. */
  lanes: number;
  /** Where the logs of a schedule that broke something go. */
  logs: string;
  tell(line: string): void;
}

/** What came of one schedule that broke nothing. */
interface Figures {
  schedule: Schedule;
  struck: string[];
  takeovers: number;
  /** Takeovers that a node wanted and was refused. */
  refused: number;
  gapMs: number;
  answers: number;
  writes: number;
  frames: number;
  backMs: number;
}

/** Runs the rounds of one seed, and tells of each. Throws, with the story and where the logs are, when a guarantee is broken. */
async function runSeed(
  seed: number,
  { rounds, logs }: WitnessRuns,
  done: (figures: Figures) => void,
): Promise<void> {
  const cluster = await WitnessCluster.build(drawSchedule(seed));
  await using _bed = cluster.mirror.bed;
  let before = { writes: 0, answers: 0, frames: 0, takeovers: 0, refused: 0 };
  let round = 0;
  try {
    for (; round < rounds; round++) {
      const schedule = drawSchedule(seed, round);
      await cluster.suffers(schedule);
      const { ms, prim } = await cluster.comesBack();
      const evidence = await cluster.evidence(prim);
      const broken = judge(evidence);
      if (broken.length > 0) throw new Error(broken.join("\n"));
      const logged = Object.values(cluster.logs()).join("\n");
      const now = {
        writes: evidence.writes.length,
        answers: evidence.answers.length,
        frames: evidence.frames.length,
        takeovers: takeovers(evidence.writes),
        refused: logged.match(/Local state WAIT Transient[^"]*no takeover, since/g)?.length ?? 0,
      };
      done({
        schedule,
        struck: [...cluster.struck].map(kindOf),
        takeovers: now.takeovers - before.takeovers,
        // A power cut takes the end of a log along.
        refused: Math.max(0, now.refused - before.refused),
        gapMs: longestGap(evidence.answers.slice(before.answers)),
        answers: now.answers - before.answers,
        writes: now.writes - before.writes,
        frames: now.frames - before.frames,
        backMs: ms,
      });
      before = now;
    }
  } catch (error) {
    const place = join(logs, `seed-${seed}`);
    await keepLogs(cluster, place);
    const told = Array.from({ length: round + 1 }, (_, number) =>
      scheduleInWords(drawSchedule(seed, number)),
    );
    const words = [...told, (error as Error).message, ...cluster.story];
    const again = `again: npm run campaign -- witness --seed ${seed} --rounds ${round + 1}; logs: ${place}`;
    writeFileSync(join(place, "story"), words.join("\n"));
    throw new Error(`${words.join("\n")}\n${again}`);
  }
}

/** Copies what the machines and the observers wrote down, but no disk. */
async function keepLogs(cluster: WitnessCluster, place: string): Promise<void> {
  const { bed, n1, n2, data } = cluster.mirror;
  mkdirSync(place, { recursive: true });
  for (const { name } of readdirSync(bed.dir, { withFileTypes: true }).filter((entry) => entry.isFile()))
    if (!/\.img$|^holdfast$/.test(name)) cpSync(join(bed.dir, name), join(place, name));
  for (const [name, text] of Object.entries(cluster.logs()))
    writeFileSync(join(place, `${name}.module.log`), text);
  for (const node of [n1, n2]) {
    const save = async (what: string, work: () => Promise<string>): Promise<void> =>
      writeFileSync(join(place, `${node.name}.${what}`), await work().catch(String));
    const option = { mayFail: true, timeoutMs: 20_000 };
    await save("journal", async () => (await node.exec(["cat", `${data}/journal`], option)).stdout);
    await save("explain", async () => (await node.holdfast(["explain", "db"], option)).stdout);
  }
}

/** Runs them all; throws where that is impossible, and, when all have ended, if one broke something. Returns the figures. */
export async function sufferWitnessed(runs: WitnessRuns): Promise<string> {
  const { from, seeds, lanes, tell } = runs;
  const impossible = witnessImpossible();
  if (impossible !== null) throw new Error(impossible);
  const done: Figures[] = [];
  const broken: number[] = [];
  let next = from;
  const lane = async (): Promise<void> => {
    while (next < from + seeds) {
      const seed = next++;
      try {
        await runSeed(seed, runs, (figures) => {
          done.push(figures);
          tell(inWords(figures));
        });
      } catch (error) {
        broken.push(seed);
        tell(`BROKEN by seed ${seed}: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  const summary = summed(done);
  if (broken.length > 0)
    throw new Error(`${summary}\nof ${seeds} seeds, these broke something (see above): ${broken.join(", ")}`);
  return summary;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

function inWords({ schedule, struck, ...figures }: Figures): string {
  const { seed, round, witness, timeoutMs } = schedule;
  return (
    `seed ${seed}, round ${round} (${witness}, ${timeoutMs} ms): ${struck.join(", ")}; ${figures.takeovers} takeovers, ` +
    `${figures.refused} refused, longest gap ${seconds(figures.gapMs)}, ${figures.answers} answers, back after ${seconds(figures.backMs)}`
  );
}

function summed(done: readonly Figures[]): string {
  const total = (of: (figures: Figures) => number): number =>
    done.reduce((sum, figures) => sum + of(figures), 0);
  const most = (of: (figures: Figures) => number): number => Math.max(0, ...done.map(of));
  const tally = (names: readonly string[]): string => {
    const counts = new Map<string, number>();
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    return [...counts]
      .sort(([, one], [, other]) => other - one)
      .map(([name, count]) => `${count} × ${name}`)
      .join(", ");
  };
  return [
    `${done.length} schedules held: ${tally(done.map(({ schedule }) => `${schedule.witness}, ${schedule.timeoutMs} ms`))}`,
    `faults: ${tally(done.flatMap(({ struck }) => struck))}`,
    `${total((one) => one.takeovers)} takeovers, ${total((one) => one.refused)} refused; longest gap ${seconds(most((one) => one.gapMs))}; back after at most ${seconds(most((one) => one.backMs))}`,
    `${total((one) => one.answers)} acknowledgements to the client, ${total((one) => one.writes)} synced writes, ${total((one) => one.frames)} frames from the virtual address`,
  ].join("\n");
}
