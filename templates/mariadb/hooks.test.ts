/**
 * What the hooks ask of MariaDB's tools, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode, inScratch } from "holdfast/testing";
import sql from "./checkers/sql.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

/** A node with a data directory in `work`; `serves` is what the server's client ends with, `pid` its process. */
function nodeWith(work: string, serves: number, pid = Deno.pid): FakeNode {
  const data = `${work}/data`;
  return new FakeNode({
    dir: import.meta.dirname!,
    vars: { bin: "/usr/sbin/mariadbd", user: "mysql", data, port: "3306", run: `${work}/run` },
    commands: {
      "install -d *.new": () => {
        Deno.mkdirSync(`${data}.new`);
        return "";
      },
      "mariadb-install-db *": () => {
        Deno.mkdirSync(`${data}.new/mysql`);
        return "";
      },
      "install *": "",
      "find * -exec sync *": "",
      "find * -exec chown -h mysql: *": "",
      "sync *": "",
      "id -u mysql": String(Deno.uid()),
      "setsid /usr/sbin/mariadbd *": `${pid}\n`,
      "mariadb *": { exitCode: serves },
      "tail *": "[ERROR] no memory\n",
    },
  });
}

Deno.test("the first start makes the data directory, a later one does not", () =>
  inScratch(async (work) => {
    const first = nodeWith(work, 0);
    await first.run(startPrim);
    assert(first.commands.some((line) => line.startsWith("mariadb-install-db --defaults-file=")));
    const later = nodeWith(work, 0);
    await later.run(startPrim);
    assert(!later.commands.some((line) => line.startsWith("mariadb-install-db")));
    assert(
      later.commands.some((line) => line.includes(`--datadir=${work}/data`) && line.includes("--port=3306")),
    );
  }));

Deno.test("a server that ends while it starts shows its log", () =>
  inScratch(async (work) => {
    const gone = 2 ** 22 + 1;
    const node = nodeWith(work, 1, gone);
    await assertRejects(() => node.run(startPrim), /MariaDB ended while it started/);
    assert(node.logged.includes("[ERROR] no memory"));
  }));

Deno.test("a stop is harmless when nothing runs", () =>
  inScratch(async (work) => {
    const node = nodeWith(work, 0);
    await node.run(stopPrim, { hook: "stop_prim" });
    await node.run(stopPrim, { hook: "stop_prim", force: true });
    assertEquals(node.logged, Array(2).fill("MariaDB does not run"));
  }));

Deno.test("the settings keep what was committed", async () => {
  const settings = await Deno.readTextFile(new URL("mariadb.cnf", import.meta.url));
  assertMatch(settings, /^innodb_flush_log_at_trx_commit = 1$/m);
  assertMatch(settings, /^sync_binlog = 1$/m);
});

Deno.test("a node without MariaDB is found out before it has to run it", async () => {
  const node = new FakeNode({ vars: { bin: "/no/where/mariadbd", user: "mysql" } });
  await assertRejects(
    () => node.run(prestart, { hook: "prestart" }),
    /\/no\/where\/mariadbd is not on this node/,
  );
});

Deno.test("the checker believes an answer only", async () => {
  const asked = (exitCode: number) =>
    new FakeNode({
      vars: { run: "/run/x" },
      commands: { "mariadb *": { exitCode, stderr: "no answer" } },
    }).check(sql);
  assertEquals(await asked(0), { state: "up", detail: "" });
  assertMatch((await asked(1)).detail, /no answer/);
});
