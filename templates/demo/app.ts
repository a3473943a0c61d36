/**
 * A small HTTP application: POST / keeps a row, GET / tells them all, DELETE / ends it.
 * Its database lies in the replicated directory.
 */
import process from "node:process";
import { DatabaseSync } from "node:sqlite";

const [file = "rows.db", address = "127.0.0.1", port = "8080", journal = "wal"] = Deno.args;
const database = new DatabaseSync(file);
// A row is acknowledged when it is on stable storage, and this is what the demo checks. FULL would be enough for a WAL; with a
// rollback journal only EXTRA also syncs the removal of the journal, without which a power cut undoes the last commit.
database.exec(`PRAGMA journal_mode = ${journal}; PRAGMA synchronous = EXTRA`);
database.exec("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, note TEXT NOT NULL)");
// A client that got no answer asks again with the same number.
const keep = database.prepare("INSERT OR IGNORE INTO orders (id, note) VALUES (?, ?)");
const all = database.prepare("SELECT id FROM orders ORDER BY id");

Deno.serve({ hostname: address, port: Number(port), onListen: () => undefined }, async (request) => {
  if (request.method === "GET") return Response.json(all.all().map((row) => row.id));
  if (request.method === "DELETE") {
    // After the answer is out.
    setTimeout(() => {
      database.close();
      process.exit(0);
    }, 10);
    return Response.json({ ends: true });
  }
  const { id, note } = (await request.json()) as { id: number; note: string };
  keep.run(id, note);
  return Response.json({ kept: id });
});
