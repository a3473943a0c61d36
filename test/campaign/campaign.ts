/**
 * `npm run campaign -- NAME [--option value …]`: long runs with real nodes, and their figures.
 */
import { testbedImpossible } from "../cluster/testbed.ts";
import { countFalseAlarms } from "./alarms.ts";
import { inWords, measureGaps } from "./gap.ts";
import { measureLatency } from "./latency.ts";
import { cutPostgresql } from "./postgresql.ts";
import { measureScale } from "./scale.ts";
import { cutSqlite } from "./sqlite.ts";

const USAGE = `npm run campaign -- postgresql [--cuts 20]
npm run campaign -- sqlite [--cuts 20]
npm run campaign -- gap [--runs 20] [--timeout 1s] [--replicate no]
npm run campaign -- alarms [--minutes 60] [--replicate no]
npm run campaign -- scale [--files 1000000]
npm run campaign -- latency [--minutes 10] [--images DIR[,DIR]] [--logs DIR]
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
  scale: () => measureScale({ files: Number(option("files", "1000000")), tell }),
  alarms: () => countFalseAlarms({ minutes: Number(option("minutes", "60")), replicate, seed, tell }),
  latency: () => {
    const images = option("images", "/var/tmp").split(",");
    const logs = option("logs", "");
    const minutes = Number(option("minutes", "10"));
    return measureLatency({ minutes, images, logs: logs === "" ? null : logs, seed, tell });
  },
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
