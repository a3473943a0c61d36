/**
 * PostgreSQL under load loses its machine again and again: the module is the template's, the load is pgbench through the virtual IP,
 * and a client of our own remembers what it saw committed.
 */
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import { TEMPLATES } from "../../templates/catalog.ts";
import { instantiate, parseSetting } from "../../templates/instantiate.ts";
import { createMirror, type Mirror, VIRTUAL_IP } from "../cluster/mirror.ts";
import type { Node } from "../cluster/testbed.ts";
import { Ledger } from "./ledger.ts";
import { cutPowerRepeatedly, verifyEqual } from "./power_cuts.ts";

const BIN = "/usr/lib/postgresql/15/bin";
/** A connection to a machine that is gone must not hold pgbench for minutes. */
const CONNECTION = `host=${VIRTUAL_IP} user=postgres dbname=postgres connect_timeout=2 keepalives_idle=1 keepalives_interval=1 keepalives_count=2 tcp_user_timeout=1500`;

/** Why it cannot run here, or null. */
export function postgresqlImpossible(): string | null {
  return existsSync(`${BIN}/pgbench`) ? null : `needs PostgreSQL 15 in ${BIN} (apt-get install postgresql)`;
}

/** What to do. */
export interface DatabaseCuts {
  cuts: number;
  seed: number;
  tell(line: string): void;
}

function moduleFiles(): Record<string, string> {
  const template = TEMPLATES.find(({ name }) => name === "postgresql")!;
  const settings = [
    "replicate.paths.0.path=DATA",
    "vars.data=DATA/data",
    `vars.bin=${BIN}`,
    "vars.auth=trust",
    `virtualIps.0.address=${VIRTUAL_IP}/24`,
  ];
  return instantiate(template, settings.map(parseSetting));
}

/** One program of PostgreSQL on a node, as its administrator. */
async function asPostgres(node: Node, ...argv: string[]): Promise<string> {
  const { stdout } = await node.exec(["runuser", "-u", "postgres", "--", ...argv], { cwd: "/" });
  return stdout;
}

/** Every commit is there, the indexes match the tables (amcheck), and every page has the right checksum (pg_basebackup reads all). */
async function examine(ledger: Ledger, prim: Node): Promise<string> {
  const seen = [...ledger.committed];
  await ledger.moves();
  const rows = await asPostgres(prim, `${BIN}/psql`, "-Atc", "SELECT id FROM ledger");
  const commits = Ledger.check(seen, rows.trim().split("\n").map(Number));
  await asPostgres(prim, `${BIN}/pg_amcheck`, "--all", "--install-missing", "--heapallindexed");
  await asPostgres(
    prim,
    "bash",
    "-c",
    `set -o pipefail; ${BIN}/pg_basebackup --checkpoint=fast --wal-method=none --format=tar --pgdata=- 2>&1 >/dev/null`,
  );
  return `${commits}, amcheck and checksums good`;
}

/** pgbench without pause, through the virtual IP; what it does is in the database, and a failover ends its connections. */
async function startLoad(mirror: Mirror): Promise<void> {
  await mirror.host.exec([`${BIN}/pgbench`, "--initialize", "--quiet", "--scale=2", CONNECTION]);
  const loop = `while :; do ${BIN}/pgbench --no-vacuum --client=4 --time=3600 "$1" >/dev/null 2>&1; sleep 0.1; done`;
  await mirror.host.spawn(["bash", "-c", loop, "load", CONNECTION], {
    log: join(mirror.bed.dir, "pgbench.log"),
  });
}

/** Both copies on disk, stopped cleanly, read by PostgreSQL's own tool. */
async function checkStopped(mirror: Mirror): Promise<string> {
  await mirror.n1.holdfast(["stop", "db", "--all"]);
  for (const node of [mirror.n1, mirror.n2])
    await asPostgres(node, `${BIN}/pg_checksums`, "--check", "--pgdata", `${mirror.data}/data`);
  return "pg_checksums: no bad block in either copy";
}

/** Runs it; throws when a guarantee is broken. Returns a line of figures. */
export async function cutPostgresql({ cuts, seed, tell }: DatabaseCuts): Promise<string> {
  const mirror = await createMirror({ files: moduleFiles() });
  await using bed = mirror.bed;
  // User postgres must reach the disk.
  chmodSync(bed.dir, 0o755);
  await mirror.start();
  await startLoad(mirror);
  const ledger = await Ledger.open(mirror.host, [
    process.execPath,
    join(import.meta.dir, "postgresql_client.ts"),
    VIRTUAL_IP,
  ]);
  await ledger.moves();
  await cutPowerRepeatedly({
    mirror,
    cuts,
    seed,
    calmMs: [500, 4000],
    tell,
    afterFailover: (survivor) => examine(ledger, survivor),
    afterReintegration: verifyEqual,
  });
  await ledger.close();
  const stopped = await checkStopped(mirror);
  return `PostgreSQL: ${cuts} power cuts of PRIM, ${ledger.committed.length} transactions committed, none lost; ${stopped}`;
}
