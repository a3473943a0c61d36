/**
 * Databases: SQLite's commits, and PostgreSQL under pgbench.
 */
import { readdirSync } from "node:fs";
import { inNode, type Place } from "./places.ts";
import type { Effort, Measure, Workload } from "./workloads.ts";

function sqlite(mode: "delete" | "wal", measure: Measure): Workload {
  return {
    measures: [measure],
    run: async (place, { seconds }) => {
      const file = `${place.directory}/sqlite.db`;
      const commits = await inNode(place, "sqlite", file, mode, `${seconds}`);
      await place.exec(["bash", "-c", `rm -f ${file}*`]);
      return [commits];
    },
  };
}

/** Where PostgreSQL's programs are, or null. */
function postgresPrograms(): string | null {
  const base = "/usr/lib/postgresql";
  try {
    const version = readdirSync(base).sort((a, b) => Number(b) - Number(a))[0];
    return version === undefined ? null : `${base}/${version}/bin`;
  } catch {
    return null;
  }
}

const programs = postgresPrograms();
const CLIENTS = "4";

/** Runs one of PostgreSQL's programs as its user. */
async function postgres(place: Place, program: string, ...args: string[]): Promise<string> {
  const user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"];
  return (await place.exec([...user, `${programs}/${program}`, ...args], { cwd: "/run/postgresql" })).stdout;
}

const dataOf = (place: Place): string => `${place.directory}/postgres`;
const client = ["-h", "/run/postgresql", "-d", "postgres"];

/** With the server of this place running. */
async function serving(place: Place, work: () => Promise<void>): Promise<void> {
  const data = ["-D", dataOf(place), "-w"];
  const log = ["-l", `/run/postgresql/${place.name}.log`];
  await postgres(
    place,
    "pg_ctl",
    "start",
    ...data,
    ...log,
    "-o",
    "-c listen_addresses='' -k /run/postgresql",
  );
  try {
    await work();
  } finally {
    await postgres(place, "pg_ctl", "stop", ...data, "-m", "fast");
  }
}

async function transactions(place: Place, { seconds }: Effort, ...mode: string[]): Promise<number> {
  const load = ["-n", "-c", CLIENTS, "-T", `${Math.ceil(seconds)}`, ...mode];
  const said = await postgres(place, "pgbench", ...client, ...load);
  const rate = /tps = ([\d.]+)/.exec(said)?.[1];
  if (rate === undefined) throw new Error(`pgbench said nothing of its rate: ${said}`);
  return Number(rate);
}

const pgbench: Workload = {
  measures: [
    { name: "pgbench read-write", unit: "/s", aim: 0.7 },
    { name: "pgbench read-only", unit: "/s", aim: 0.9 },
  ],
  prepare: async (place, { scale }) => {
    await place.exec(["install", "-d", "-o", "postgres", "-g", "postgres", "-m", "0700", dataOf(place)]);
    await postgres(place, "initdb", "-D", dataOf(place), "--auth=trust", "--no-sync");
    await serving(place, async () => {
      await postgres(place, "pgbench", ...client, "-i", "-q", "-s", `${scale}`);
    });
  },
  run: async (place, effort) => {
    const rates: number[] = [];
    await serving(place, async () => {
      rates.push(await transactions(place, effort));
      rates.push(await transactions(place, effort, "-S"));
    });
    return rates;
  },
  clean: async (place) => {
    await place.exec(["rm", "-rf", dataOf(place)]);
  },
};

/** SQLite in both journal modes, and PostgreSQL where it is installed. */
export const databaseWorkloads: readonly Workload[] = [
  sqlite("delete", { name: "SQLite commits, rollback journal", unit: "/s", aim: 0.45 }),
  sqlite("wal", { name: "SQLite commits, WAL", unit: "/s", aim: 0.45 }),
  ...(programs === null ? [] : [pgbench]),
];
