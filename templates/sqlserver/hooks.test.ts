/**
 * What the hooks ask of SQL Server's tools, on a node that is made up: `holdfast module test NAME` runs this.
 *
 * What answers below does so as sqlcmd is documented to do; it is not a SQL Server.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode } from "holdfast/testing";
import sql from "./checkers/sql.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

/** A server that answers `recovering` one after another when it is asked for its databases. */
function nodeWith(status: string, recovering: (string | number)[] = [""]): FakeNode {
  return new FakeNode({
    vars: {
      ...{ unit: "mssql-server", sqlcmd: "/t/sqlcmd", server: "tcp:127.0.0.1,1433", login: "holdfast" },
      ...{ user: "mssql", data: Deno.cwd() },
    },
    secrets: { password: "hu sh" },
    services: { "mssql-server": status },
    commands: {
      "id -u mssql": String(Deno.statSync(Deno.cwd()).uid ?? 0),
      "/t/sqlcmd * -Q 'set nocount on; select 1'": "1\n",
      "/t/sqlcmd * -Q *sys.databases*": () => {
        const said = recovering.length > 1 ? recovering.shift()! : recovering[0]!;
        const refused = "Sqlcmd: Error: Microsoft ODBC Driver 18 for SQL Server : Login timeout expired.";
        return typeof said === "number" ? { exitCode: said, stderr: refused } : `${said}\n`;
      },
    },
  });
}

Deno.test("a start waits for the recovery of the databases", async () => {
  // At first nobody answers, then one database is still being recovered.
  const node = nodeWith("inactive", [1, "sales is RECOVERING", ""]);
  await node.run(startPrim);
  assertEquals(node.services, { "mssql-server": "active" });
  assertEquals(node.commands.filter((line) => line.includes("sys.databases")).length, 3);
  assert(!node.commands.some((line) => line.includes("hu sh")), "the password is in no argument");
});

Deno.test("a database that cannot be recovered is told, and the others serve", async () => {
  const node = nodeWith("inactive", ["sales is SUSPECT"]);
  await node.run(startPrim);
  assert(node.logged.some((line) => line.includes("database sales is SUSPECT")));
});

Deno.test("a stop stops it, and is harmless when nothing runs", async () => {
  const node = nodeWith("active");
  await node.run(stopPrim, { hook: "stop_prim" });
  assertEquals(node.services, { "mssql-server": "inactive" });
  await node.run(stopPrim, { hook: "stop_prim", force: true });
  assert(node.logged.includes("SQL Server does not run"));
});

Deno.test("a node without the tools is found out before it has to run it", async () => {
  await assertRejects(
    () => nodeWith("inactive").run(prestart, { hook: "prestart" }),
    /\/t\/sqlcmd is not on this node/,
  );
});

Deno.test("the checker believes an answer only", async () => {
  assertEquals((await nodeWith("active").check(sql)).state, "up");
  const hung = new FakeNode({
    secrets: { password: "x" },
    commands: { "*": { exitCode: 1, stderr: "Query timeout expired" } },
  });
  assertMatch(
    (await hung.check(sql, { vars: { sqlcmd: "s", server: "s", login: "l" } })).detail,
    /Query timeout expired/,
  );
});
