/**
 * `bun ledger_client.ts URL`: commits numbers one after another, each in a transaction of its own, and says so.
 *
 * The URL is of a postgres:, mysql: or redis: server. A connection that fails or falls silent is given up for another; then the same
 * number is tried again.
 */
import { RedisClient, SQL } from "bun";

const [url = ""] = process.argv.slice(2);
/** A statement that takes longer was lost with its server, ms. */
const PATIENCE_MS = 1500;
const CONNECTION_SECONDS = 1;

/** A connection to one kind of server. Adding a number that is there already is harmless. */
interface Connection {
  add(id: number): Promise<unknown>;
  close(): void;
}

async function postgres(): Promise<Connection> {
  const sql = new SQL({ url, max: 1, connectionTimeout: CONNECTION_SECONDS });
  await sql`CREATE TABLE IF NOT EXISTS ledger (id bigint PRIMARY KEY, note text)`;
  return {
    add: (id) =>
      sql`INSERT INTO ledger VALUES (${id}, repeat(md5(${String(id)}), 8)) ON CONFLICT DO NOTHING`.execute(),
    close: () => void sql.close({ timeout: 0 }).catch(() => undefined),
  };
}

async function mysql(): Promise<Connection> {
  const sql = new SQL({ url, max: 1, connectionTimeout: CONNECTION_SECONDS });
  await sql`CREATE TABLE IF NOT EXISTS ledger (id bigint PRIMARY KEY, note text)`;
  return {
    add: (id) => sql`INSERT IGNORE INTO ledger VALUES (${id}, repeat(md5(${String(id)}), 8))`.execute(),
    close: () => void sql.close({ timeout: 0 }).catch(() => undefined),
  };
}

async function redis(): Promise<Connection> {
  const client = new RedisClient(url, {
    connectionTimeout: CONNECTION_SECONDS * 1000,
    autoReconnect: false,
    enableOfflineQueue: false,
  });
  await client.connect();
  return { add: (id) => client.sadd("ledger", String(id)), close: () => client.close() };
}

const connect = url.startsWith("redis:") ? redis : url.startsWith("mysql:") ? mysql : postgres;
let open = null as Connection | null;

async function commit(id: number): Promise<void> {
  open ??= await connect();
  await open.add(id);
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
    open?.close();
    open = null;
    await Bun.sleep(50);
  }
}
