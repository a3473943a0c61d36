/**
 * `npm run bench -- [--quick] [--rounds N] [--only WORD]… [--no-peers] [--images DIR[,DIR]] [--delay MICROSECONDS] [--json]`: how much of a bare directory's
 * speed is left when it is replicated. `--two-disks`: what a replicated write+fsync costs beyond the disk and the network. `--hooks`: what a hook costs before its first line.
 * `--farm`: what a farm's virtual IP costs its clients, and the node that hands packets on.
 *
 * Real nodes, the real binary, PRIM with SECOND in sync, both disks on this machine's. Every round runs each workload in every
 * place, one after the other and in another order each time; ratios are taken within a round. It judges nothing: the exit status is 0
 * when everything could be measured.
 */
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { testbedImpossible } from "../cluster/testbed.ts";
import { measureFarmWeb } from "./farm.ts";
import { farmCostInWords, measureFarmCost } from "./farm_cost.ts";
import { hookStartInWords, measureHookStart } from "./hook_start.ts";
import { makePlaces, type Places } from "./places.ts";
import { type Condensed, condense, type Row, table } from "./report.ts";
import { measureTwoDisks, twoDisksInWords } from "./two_disks.ts";
import { type Effort, type Workload, workloads } from "./workloads.ts";

const FULL: Effort = { seconds: 2, mebibytes: 512, smallFiles: 2000, scale: 10 };
const QUICK: Effort = { seconds: 0.5, mebibytes: 64, smallFiles: 200, scale: 1 };

const usage = `usage: npm run bench -- [--quick] [--rounds N] [--only WORD]... [--no-peers] [--images DIR[,DIR]] [--delay MICROSECONDS] [--json]
       npm run bench -- --hooks [--json]
       npm run bench -- --farm [--quick] [--rounds N] [--only requests|packets] [--json]
       npm run bench -- --two-disks [--quick] [--rounds N] [--images DIR[,DIR]] [--json]`;

function options() {
  try {
    return parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        rounds: { type: "string" },
        only: { type: "string", multiple: true, default: [] },
        images: { type: "string", default: "/var/tmp" },
        delay: { type: "string" },
        "no-peers": { type: "boolean", default: false },
        farm: { type: "boolean", default: false },
        hooks: { type: "boolean", default: false },
        "two-disks": { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`bench: ${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}

/**
 * ext4 does not give out an inode again within 5 s after it was freed, and searches long for another one where many were: without this pause
 * whoever comes just after its own removal pays for the order of the places.
 */
const AFTER_REMOVAL_MS = 6000;

/** All rounds of one workload. */
async function measure(workload: Workload, places: Places, effort: Effort, rounds: number): Promise<Row[]> {
  const endedAt = new Map<string, number>();
  const rows = workload.measures.map((one): Row => {
    return { measure: one, figures: Object.fromEntries(places.all.map(({ name }) => [name, []])) };
  });
  for (const place of places.all) await workload.prepare?.(place, effort);
  for (let round = 0; round < rounds; round++) {
    const turn = round % places.all.length;
    for (const place of [...places.all.slice(turn), ...places.all.slice(0, turn)]) {
      await places.settle();
      if (workload.removes)
        await Bun.sleep((endedAt.get(place.name) ?? 0) + AFTER_REMOVAL_MS - performance.now());
      const figures = await workload.run(place, effort);
      endedAt.set(place.name, performance.now());
      for (const [i, row] of rows.entries()) row.figures[place.name]!.push(figures[i]!);
    }
  }
  for (const place of places.all) await workload.clean?.(place);
  return rows;
}

const {
  quick,
  json,
  rounds: wanted,
  only,
  images: homes,
  delay: added,
  farm,
  hooks,
  "two-disks": twoDisks,
  "no-peers": noPeers,
} = options();
const images = homes.split(",");
const delay = added === undefined ? null : Number(added);
const rounds = Number(wanted ?? (quick ? 1 : farm ? 9 : 5));
const chosen = workloads.filter(
  ({ measures }) =>
    only.length === 0 || measures.some(({ name }) => only.some((word) => name.includes(word))),
);
if (!Number.isInteger(rounds) || rounds < 1 || (chosen.length === 0 && !farm) || Number.isNaN(delay)) {
  const names = workloads.flatMap(({ measures }) => measures.map(({ name }) => name));
  console.error(`${usage}\nwhat can be measured: ${names.join("; ")}`);
  process.exit(2);
}
if (hooks) {
  const binary = process.env["HOLDFAST_BINARY"] ?? new URL("../../dist/holdfast", import.meta.url).pathname;
  const figures = await measureHookStart(binary);
  console.log(json ? JSON.stringify({ version: 1, figures }) : hookStartInWords(figures));
  process.exit(0);
}
const impossible = testbedImpossible();
if (impossible !== null) {
  console.error(`bench: cannot run here: ${impossible}`);
  process.exit(1);
}
const effort = quick ? QUICK : FULL;
const tell = (text: string): void => {
  if (!json) console.log(text);
};
const load = (): string =>
  loadavg()
    .map((value) => value.toFixed(1))
    .join(" ");

if (farm) {
  tell(`three nodes on one machine; load at the start ${load()}`);
  const wanted = (part: string): boolean => only.length === 0 || only.includes(part);
  const web = wanted("requests") ? await measureFarmWeb(rounds, 1) : null;
  const cost = wanted("packets") ? await measureFarmCost(rounds, quick ? 100_000 : 300_000) : null;
  if (json) console.log(JSON.stringify({ version: 1, rounds, web, cost }));
  if (web) tell(`\n${table(web.rows)}`);
  for (const line of web?.missing ?? []) tell(`not compared: ${line}`);
  if (cost) tell(`\n${farmCostInWords(cost)}`);
  tell(`\nmedians of ${rounds}; load at the end ${load()}`);
  process.exit(0);
}
tell(`two nodes on one machine, disks' images in ${images.join(" and ")}; load at the start ${load()}`);
if (twoDisks) {
  const figures = await measureTwoDisks(images, rounds, effort.seconds);
  console.log(json ? JSON.stringify({ version: 1, rounds, images, ...figures }) : twoDisksInWords(figures));
  tell(`medians of ${rounds}; load at the end ${load()}`);
  process.exit(0);
}
const places = await makePlaces({ images, delay, peers: !noPeers });
const rows: Condensed[] = [];
const failed: string[] = [];
try {
  for (const workload of chosen) {
    const names = workload.measures.map(({ name }) => name).join(", ");
    tell(`\nmeasures ${names}`);
    try {
      const figures = (await measure(workload, places, effort, rounds)).map((row) =>
        condense(row, "replicated"),
      );
      rows.push(...figures);
      tell(table(figures));
    } catch (error) {
      failed.push(`${names}: ${(error as Error).message}`);
      tell(failed.at(-1)!);
    }
  }
} finally {
  await places.close();
}
const { missing } = places;
if (json) console.log(JSON.stringify({ version: 1, rounds, images, delay, effort, missing, failed, rows }));
else {
  console.log(`\n${table(rows)}\n`);
  console.log(
    `medians of ${rounds}; the aims are those for the replicated directory; load at the end ${load()}`,
  );
  for (const line of missing) console.log(`not compared: ${line}`);
  for (const line of failed) console.log(`could not be measured: ${line}`);
}
process.exitCode = failed.length > 0 ? 1 : 0;
