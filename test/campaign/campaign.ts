/**
 * `npm run campaign -- NAME [--option value …]`: long runs with real nodes, and their figures.
 */
import { testbedImpossible } from "../cluster/testbed.ts";
import { countFalseAlarms } from "./alarms.ts";
import { inWords, measureGaps } from "./gap.ts";
import { cutUnderOperations, type ModelCuts } from "./model.ts";
import { cutPostgresql } from "./postgresql.ts";
import { cutSqlite } from "./sqlite.ts";

const USAGE = `npm run campaign -- postgresql [--cuts 20]
npm run campaign -- sqlite [--cuts 20]
npm run campaign -- model [--seeds 4] [--cuts 8] [--workers 3] [--durability fsync|write]
npm run campaign -- gap [--runs 20] [--timeout 1s] [--replicate no]
npm run campaign -- alarms [--minutes 60] [--replicate no]
Each takes --seed N, to repeat the same moments.`;

const [name = "", ...words] = process.argv.slice(2);
function option(key: string, otherwise: string): string {
  const index = words.indexOf(`--${key}`);
  return index < 0 ? otherwise : (words[index + 1] ?? otherwise);
}
const seed = Number(option("seed", String(Date.now() % 1_000_000)));
const replicate = option("replicate", "yes") === "yes";
const tell = (line: string): void => console.log(line);

const campaigns: Record<string, () => Promise<string>> = {
  postgresql: () => cutPostgresql({ cuts: Number(option("cuts", "20")), seed, tell }),
  sqlite: async () => {
    const cuts = Number(option("cuts", "20"));
    const wal = await cutSqlite({ cuts, seed, tell, journal: "wal" });
    return `${wal}\n${await cutSqlite({ cuts, seed, tell, journal: "delete" })}`;
  },
  model: async () => {
    const lines: string[] = [];
    for (let i = 0; i < Number(option("seeds", "4")); i++) {
      // Either durability in turn, unless one was asked for.
      const durability = option("durability", i % 2 === 0 ? "fsync" : "write") as ModelCuts["durability"];
      const [cuts, workers] = [Number(option("cuts", "8")), Number(option("workers", "3"))];
      lines.push(await cutUnderOperations({ seed: seed + i, durability, cuts, workers, tell }));
    }
    return lines.join("\n");
  },
  alarms: () => countFalseAlarms({ minutes: Number(option("minutes", "60")), replicate, seed, tell }),
  gap: async () => {
    const timeout = option("timeout", "1s");
    const { cuts, swaps } = await measureGaps({
      runs: Number(option("runs", "20")),
      timeout,
      replicate,
      seed,
      tell,
    });
    return `timeout ${timeout}, ${replicate ? "with" : "without"} replication\npower cuts: ${inWords(cuts)}\nswaps: ${inWords(swaps)}`;
  },
};

const run = campaigns[name];
const impossible = testbedImpossible();
if (!run || impossible !== null) {
  console.error(impossible ?? USAGE);
  process.exit(2);
}
console.log(await run());
process.exit(0);
