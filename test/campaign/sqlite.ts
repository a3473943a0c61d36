/**
 * SQLite loses its machine again and again, in either journal mode: the application of the demo (`holdfast run app.ts`, started by its
 * hooks), its database in the replicated directory, and the demo's client, which posts numbered rows through the virtual IP.
 */
import { templateFiles } from "../cluster/from_template.ts";
import { createMirror, VIRTUAL_IP } from "../cluster/mirror.ts";
import type { Node } from "../cluster/testbed.ts";
import { Ledger } from "./ledger.ts";
import type { DatabaseCuts } from "./postgresql.ts";
import { compareDirectories, cutPowerRepeatedly, verifyEqual } from "./power_cuts.ts";

const PORT = "8080";

/** `wal`, or `delete`: a rollback journal. */
export type JournalMode = "wal" | "delete";

function moduleFiles(journal: JournalMode): Record<string, string> {
  return templateFiles("demo", [
    "replicate.paths.0.path=DATA",
    "vars.data=DATA",
    `vars.journal=${journal}`,
    "vars.archive=1",
    `virtualIps.0.address=${VIRTUAL_IP}/24`,
  ]);
}

/** Every row that was acknowledged is in the database, and SQLite finds it sound. */
async function examine(ledger: Ledger, prim: Node, file: string): Promise<string> {
  const seen = [...ledger.committed];
  await ledger.moves();
  const sqlite = async (sql: string): Promise<string> =>
    (await prim.exec(["sqlite3", "-cmd", ".timeout 5000", file, sql])).stdout.trim();
  const commits = Ledger.check(seen, (await sqlite("SELECT id FROM orders")).split("\n").map(Number));
  const sound = await sqlite("PRAGMA integrity_check");
  if (sound !== "ok") throw new Error(`integrity_check of ${file}: ${sound}`);
  return `${commits}, integrity_check ok`;
}

/** Runs it; throws when a guarantee is broken. Returns a line of figures. */
export async function cutSqlite({
  cuts,
  seed,
  tell,
  journal,
}: DatabaseCuts & { journal: JournalMode }): Promise<string> {
  const mirror = await createMirror({ files: moduleFiles(journal) });
  await using bed = mirror.bed;
  await mirror.start();
  const ledger = await Ledger.by(mirror.host, [bed.binary, "__demo", "client", VIRTUAL_IP, PORT]);
  await ledger.moves();
  await cutPowerRepeatedly({
    mirror,
    cuts,
    bothEvery: Math.min(cuts, 5),
    seed,
    calmMs: [300, 3000],
    tell,
    afterFailover: (survivor) => examine(ledger, survivor, `${mirror.data}/orders.db`),
    afterReintegration: verifyEqual,
  });
  await ledger.close();
  const equal = await compareDirectories(mirror);
  return `SQLite, journal mode ${journal}: ${cuts} power cuts of PRIM, now and then of both, ${ledger.committed.length} rows committed, none lost; ${equal}`;
}
