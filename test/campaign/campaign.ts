/**
 * `npm run campaign -- NAME [--option value …]`: long runs with real nodes, and their figures.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { docker, podman } from "../cluster/containers.ts";
import { testbedImpossible } from "../cluster/testbed.ts";
import { countFalseAlarms } from "./alarms.ts";
import { ACTS, countThrough } from "./containers.ts";
import { measureFarm } from "./farm.ts";
import { measureShares } from "./farm_shares.ts";
import { inWords, measureGaps } from "./gap.ts";
import { measureLatency } from "./latency.ts";
import { cutUnderOperations, type ModelCuts } from "./model.ts";
import { cutPostgresql } from "./postgresql.ts";
import { measureReactions } from "./reactions.ts";
import { measureReintegration } from "./reintegration.ts";
import { measureScale } from "./scale.ts";
import { interruptAtScale } from "./scale_interrupted.ts";
import { cutSqlite } from "./sqlite.ts";
import { torture } from "./torture.ts";
import { sufferWitnessed } from "./witness.ts";

const USAGE = `npm run campaign -- postgresql [--cuts 20]
npm run campaign -- sqlite [--cuts 20]
npm run campaign -- containers [--rounds 3]
npm run campaign -- model [--seeds 4] [--cuts 8] [--workers 3] [--durability fsync|write]
npm run campaign -- gap [--runs 20] [--timeout 1s] [--replicate no]
npm run campaign -- alarms [--minutes 60] [--replicate no]
npm run campaign -- reactions [--rounds 20]
npm run campaign -- scale [--files 1000000]
npm run campaign -- scale --interrupted yes [--files 200000]
npm run campaign -- torture [--seconds 3] [--only WORD,…]   "application": the power cut and the swap
npm run campaign -- reintegration [--gib 4] [--files 10000] [--part 0.01]
npm run campaign -- farm [--rounds 20] [--mode directed|invisible]   default: directed
npm run campaign -- farm --shares yes [--clients 100000] [--mode directed|invisible]   default: both
npm run campaign -- witness [--seeds 50] [--from N] [--rounds 4] [--lanes 4] [--logs DIR]   --seed N: that one alone
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
const farmModes = (["directed", "invisible"] as const).filter((mode) => option("mode", mode) === mode);

const campaigns: Record<string, () => Promise<string>> = {
  postgresql: () => cutPostgresql({ cuts: Number(option("cuts", "20")), seed, tell }),
  sqlite: async () => {
    const cuts = Number(option("cuts", "20"));
    const wal = await cutSqlite({ cuts, seed, tell, journal: "wal" });
    return `${wal}\n${await cutSqlite({ cuts, seed, tell, journal: "delete" })}`;
  },
  containers: async () => {
    const all = Object.keys(ACTS) as (keyof typeof ACTS)[];
    const acts = Array.from({ length: Number(option("rounds", "3")) }, () => all).flat();
    return `${await countThrough(podman, acts, tell)}\n${await countThrough(docker, acts, tell)}`;
  },
  scale: () =>
    option("interrupted", "no") === "yes"
      ? interruptAtScale({ files: Number(option("files", "200000")), tell })
      : measureScale({ files: Number(option("files", "1000000")), tell }),
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
  reactions: () => measureReactions({ rounds: Number(option("rounds", "20")), tell }),
  torture: () => {
    const only = option("only", "").split(",").filter(Boolean);
    return torture({ seconds: Number(option("seconds", "3")), only, tell });
  },
  reintegration: () =>
    measureReintegration({
      bytes: Number(option("gib", "4")) * 1024 ** 3,
      files: Number(option("files", "10000")),
      part: Number(option("part", "0.01")),
      seed,
      tell,
    }),
  farm: () =>
    option("shares", "no") === "yes"
      ? measureShares({ modes: farmModes, clients: Number(option("clients", "100000")), seed, tell })
      : measureFarm({
          rounds: Number(option("rounds", "20")),
          mode: farmModes[0] ?? "directed",
          tell,
        }),
  latency: () => {
    const images = option("images", "/var/tmp").split(",");
    const logs = option("logs", "");
    const minutes = Number(option("minutes", "10"));
    return measureLatency({ minutes, images, logs: logs === "" ? null : logs, seed, tell });
  },
  witness: () =>
    sufferWitnessed({
      from: Number(option("from", String(seed))),
      seeds: Number(option("seeds", words.includes("--seed") ? "1" : "50")),
      rounds: Number(option("rounds", "4")),
      lanes: Number(option("lanes", "4")),
      logs: option("logs", join(tmpdir(), "holdfast-witness")),
      tell,
    }),
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
