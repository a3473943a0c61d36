/**
 * PostgreSQL under load loses its machine again and again: the module is the template's, the load is pgbench through the virtual IP,
 * and a client of our own remembers what it saw committed.
 */
import { chmodSync, existsSync } from "node:fs";
import { templateFiles } from "../cluster/from_template.ts";
import { createMirror, type Mirror, VIRTUAL_IP } from "../cluster/mirror.ts";
import type { Host, Node } from "../cluster/testbed.ts";
import { Ledger } from "./ledger.ts";
import { compareDirectories, cutPowerRepeatedly, primary, verifyEqual } from "./power_cuts.ts";

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
  return templateFiles("postgresql", [
    "replicate.paths.0.path=DATA",
    "vars.data=DATA/data",
    "processes.postgres.argumentsRegex=postgres -D DATA/data ",
    `vars.bin=${BIN}`,
    "vars.auth=trust",
    `virtualIps.0.address=${VIRTUAL_IP}/24`,
  ]);
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
class Load {
  #ending = false;
  readonly #rounds: Promise<void>;

  private constructor(host: Host) {
    this.#rounds = this.#run(host);
  }

  static async start(host: Host): Promise<Load> {
    await host.exec([`${BIN}/pgbench`, "--initialize", "--quiet", "--scale=2", CONNECTION]);
    return new Load(host);
  }

  async #run(host: Host): Promise<void> {
    while (!this.#ending) {
      await host.exec([`${BIN}/pgbench`, "--no-vacuum", "--client=4", "--time=10", CONNECTION], {
        mayFail: true,
      });
      await Bun.sleep(100);
    }
  }

  /** Lets the last round end. */
  async ends(): Promise<void> {
    this.#ending = true;
    await this.#rounds;
  }
}

/** Both copies on disk, each after a clean stop of its own, read by PostgreSQL's own tool. */
async function checkStopped(mirror: Mirror): Promise<string> {
  const prim = await primary(mirror);
  const second = prim === mirror.n1 ? mirror.n2 : mirror.n1;
  for (const node of [prim, second]) {
    await node.holdfast(["wait", "db", "PRIM,ALONE", "--timeout", "60s"]);
    await node.holdfast(["stop", "db"]);
    await asPostgres(node, `${BIN}/pg_checksums`, "--check", "--pgdata", `${mirror.data}/data`);
  }
  return "pg_checksums: no bad block in either copy";
}

/** Runs it; throws when a guarantee is broken. Returns a line of figures. */
export async function cutPostgresql({ cuts, seed, tell }: DatabaseCuts): Promise<string> {
  const mirror = await createMirror({ files: moduleFiles() });
  await using bed = mirror.bed;
  // User postgres must reach the disk.
  chmodSync(bed.dir, 0o755);
  await mirror.start();
  const load = await Load.start(mirror.host);
  const ledger = await Ledger.open(mirror.host, `postgres://postgres@${VIRTUAL_IP}:5432/postgres`);
  await ledger.moves();
  await cutPowerRepeatedly({
    mirror,
    cuts,
    bothEvery: Math.min(cuts, 5),
    seed,
    calmMs: [500, 4000],
    tell,
    afterFailover: (survivor) => examine(ledger, survivor),
    afterReintegration: verifyEqual,
  });
  await Promise.all([ledger.close(), load.ends()]);
  const equal = await compareDirectories(mirror);
  const stopped = await checkStopped(mirror);
  return `PostgreSQL: ${cuts} power cuts of PRIM, now and then of both, ${ledger.committed.length} transactions committed, none lost; ${equal}; ${stopped}`;
}
