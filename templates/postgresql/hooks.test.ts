/**
 * What the hooks ask of PostgreSQL's tools, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode, inScratch } from "holdfast/testing";
import sql from "./checkers/sql.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

/** A node with a data directory in `work`, and tools that make what the real ones make. */
function nodeWith(work: string, start: number): FakeNode {
  const data = `${work}/data`;
  return new FakeNode({
    vars: {
      bin: "/pg/bin",
      user: "postgres",
      data,
      port: "5432",
      sockets: work,
      allow: "samenet",
      auth: "md5",
    },
    commands: {
      "install -d *.new": () => {
        Deno.mkdirSync(`${data}.new`);
        return "";
      },
      "* /pg/bin/initdb *": () => {
        Deno.writeTextFileSync(`${data}.new/PG_VERSION`, "15\n");
        return "";
      },
      "install *": "",
      "find * -exec sync *": "",
      "sync *": "",
      "id -u postgres": String(Deno.uid()),
      "* /pg/bin/pg_ctl start *": { exitCode: start },
      "* /pg/bin/pg_ctl stop *": "",
      "tail *": "FATAL: no memory\n",
    },
  });
}

Deno.test("the first start makes the cluster, a later one does not", () =>
  inScratch(async (work) => {
    const first = nodeWith(work, 0);
    await first.run(startPrim);
    assert(first.commands.some((line) => line.includes("initdb -D") && line.includes("--auth-host=md5")));
    assertMatch(await Deno.readTextFile(`${work}/data/pg_hba.conf`), /^host all all samenet md5$/m);
    // The pid of a server that was killed means nothing any more.
    await Deno.writeTextFile(`${work}/data/postmaster.pid`, "1\n");
    const later = nodeWith(work, 0);
    await later.run(startPrim);
    assert(!later.commands.some((line) => line.includes("initdb")));
    assert(later.commands.some((line) => line.includes("pg_ctl start") && line.includes("-p 5432")));
  }));

Deno.test("a start that fails shows the server's log", () =>
  inScratch(async (work) => {
    const node = nodeWith(work, 1);
    await assertRejects(() => node.run(startPrim), /pg_ctl start/);
    assert(node.logged.includes("FATAL: no memory"));
  }));

Deno.test("a stop is fast, a forced one immediate, and harmless when nothing runs", () =>
  inScratch(async (work) => {
    const node = nodeWith(work, 0);
    await node.run(stopPrim, { hook: "stop_prim" });
    await Deno.mkdir(`${work}/data`);
    await Deno.writeTextFile(`${work}/data/postmaster.pid`, "4194305\n");
    await node.run(stopPrim, { hook: "stop_prim" });
    assert(node.logged.includes("PostgreSQL does not run any more: process 4194305 is gone"));
    assertEquals(node.commands, []);
    await Deno.writeTextFile(`${work}/data/postmaster.pid`, "1\n");
    await node.run(stopPrim, { hook: "stop_prim" });
    await node.run(stopPrim, { hook: "stop_prim", force: true });
    assertEquals(
      node.commands.map((line) => line.split(" -m ")[1]),
      ["fast", "immediate"],
    );
  }));

Deno.test("a node without PostgreSQL is found out before it has to run it", async () => {
  const node = new FakeNode({ vars: { bin: "/no/where", user: "postgres" } });
  await assertRejects(
    () => node.run(prestart, { hook: "prestart" }),
    /\/no\/where\/initdb is not on this node/,
  );
});

Deno.test("the checker believes an answer only", async () => {
  const vars = { bin: "/pg/bin", user: "postgres", sockets: "/run/pg", port: "5432" };
  const asked = (answer: number) =>
    new FakeNode({ vars, commands: { "* /pg/bin/psql *": { exitCode: answer, stderr: "no answer" } } }).check(
      sql,
    );
  assertEquals(await asked(0), { state: "up", detail: "" });
  assertMatch((await asked(2)).detail, /no answer/);
});
