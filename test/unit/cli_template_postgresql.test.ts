/**
 * The hooks of the PostgreSQL template, with PostgreSQL: first start, start twice, stop, and the lock file that a dead machine left.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { templateHooks } from "../fixtures/template_hooks.ts";

const BIN = "/usr/lib/postgresql/15/bin";
const skip =
  process.getuid?.() !== 0
    ? "needs root, to become user postgres"
    : existsSync(`${BIN}/initdb`)
      ? false
      : `needs PostgreSQL 15 in ${BIN} (apt-get install postgresql)`;

/** Every process whose working directory is the data directory. */
function serverProcesses(data: string): number[] {
  return readdirSync("/proc")
    .filter((name) => {
      try {
        return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`) === data;
      } catch {
        return false; // It ended while we looked.
      }
    })
    .map(Number);
}

t.test(
  "the hooks start and stop PostgreSQL, whatever was left behind",
  { skip, timeout: 240_000 },
  async (t) => {
    // Below /tmp itself: user postgres must be able to reach it.
    const scratch = mkdtempSync("/tmp/holdfast-postgresql-");
    Bun.spawnSync(["chmod", "755", scratch]);
    const data = join(scratch, "srv", "data");
    const port = String(20_000 + (process.pid % 10_000));
    const call = templateHooks("postgresql", scratch, [
      `vars.data=${data}`,
      `vars.port=${port}`,
      `vars.sockets=${scratch}/sockets`,
      `vars.bin=${BIN}`,
    ]);
    // What an initdb left whose machine lost its power.
    mkdirSync(`${data}.new/base`, { recursive: true });
    const query = (sql: string) => {
      const words = [
        "runuser",
        "-u",
        "postgres",
        "--",
        "psql",
        "-h",
        `${scratch}/sockets`,
        "-p",
        port,
        "-Atc",
        sql,
      ];
      return Bun.spawnSync(words, { cwd: "/" }).stdout.toString().trim();
    };
    t.teardown(async () => {
      if (existsSync(`${data}/postmaster.pid`)) await call("stop_prim", true);
      rmSync(scratch, { recursive: true });
    });

    const first = await call("start_prim");
    t.ok(first.ok, `first start: ${first.detail} ${first.said}`);
    t.match(first.said, "is empty: making a database cluster");
    query("create table kept (id int); insert into kept values (42)");
    t.equal(query("show data_checksums"), "on");
    t.notOk(existsSync(`${data}.new`), "the cluster got its name when it was whole");

    const again = await call("start_prim");
    t.ok(again.ok, "a start of what runs is harmless");
    t.match(again.said, "runs already");

    // The machine dies: processes are gone, the lock file stays, and its pid may belong to somebody else by now.
    // Some end by themselves as soon as the first is gone.
    Bun.spawnSync(["kill", "-KILL", ...serverProcesses(data).map(String)]);
    while (serverProcesses(data).length > 0) await Bun.sleep(10);
    const lockFile = readFileSync(`${data}/postmaster.pid`, "utf8").split("\n");
    const other = Bun.spawn(["runuser", "-u", "postgres", "--", "sleep", "60"], { cwd: "/" });
    writeFileSync(`${data}/postmaster.pid`, [String(other.pid), ...lockFile.slice(1)].join("\n"));
    const recovered = await call("start_prim");
    t.ok(recovered.ok, `after a crash: ${recovered.detail} ${recovered.said}`);
    t.equal(query("select id from kept"), "42");
    other.kill();

    const stopped = await call("stop_prim");
    t.ok(stopped.ok, stopped.said);
    t.match(stopped.said, "stopped (fast)");
    t.ok((await call("stop_prim")).ok, "a stop of what does not run is harmless");
    t.ok((await call("start_prim")).ok);
    t.match((await call("stop_prim", true)).said, "stopped (immediate)");
  },
);
