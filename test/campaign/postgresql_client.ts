/**
 * `bun postgresql_client.ts ADDRESS`: commits numbers one after another, each in a transaction of its own, and says so.
 *
 * A connection that fails or falls silent is given up for another; then the same number is tried again.
 */
import { SQL } from "bun";

const [address = ""] = process.argv.slice(2);
/** A statement that takes longer was lost with its server, ms. */
const PATIENCE_MS = 1500;

const open: SQL[] = [];

async function connected(): Promise<SQL> {
  if (open[0]) return open[0];
  const fresh = new SQL({
    url: `postgres://postgres@${address}:5432/postgres`,
    max: 1,
    connectionTimeout: 1,
  });
  await fresh`CREATE TABLE IF NOT EXISTS ledger (id bigint PRIMARY KEY, note text)`;
  open.push(fresh);
  return fresh;
}

async function commit(id: number): Promise<void> {
  const sql = await connected();
  await sql`INSERT INTO ledger VALUES (${id}, repeat(md5(${String(id)}), 8)) ON CONFLICT DO NOTHING`;
}

async function withPatience(work: Promise<void>): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("no answer")), PATIENCE_MS);
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A connection that was given up may fail once more, later. */
process.on("unhandledRejection", () => undefined);
for (let id = 1; ; ) {
  try {
    await withPatience(commit(id));
    process.stdout.write(`${JSON.stringify({ id })}\n`);
    id++;
  } catch {
    for (const broken of open.splice(0)) void broken.close({ timeout: 0 }).catch(() => undefined);
    await Bun.sleep(50);
  }
}
