/**
 * What the hooks ask of Oracle's tools, on a node that is made up: `holdfast module test NAME` runs this.
 *
 * The instance below answers as SQL*Plus and lsnrctl are documented to do; it is not an Oracle.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode } from "holdfast/testing";
import oracle from "./checkers/oracle.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

const vars = { home: "/o", sid: "ORCL", listener: "LISTENER", user: "oracle" };
const DOWN = "ORA-01034: ORACLE not available\nProcess ID: 0\n";

/** An instance in a state; `inBackup`: its files are in backup mode. `asked` is what SQL*Plus read. */
function nodeWith(state: { status: string; inBackup?: boolean; listening?: boolean }) {
  const asked: string[] = [];
  const one = (statement: string): string => {
    asked.push(statement);
    const isDown = state.status === "DOWN";
    if (statement.startsWith("select status"))
      return isDown ? `ERROR at line 1:\n${DOWN}` : `${state.status}\n`;
    if (statement.startsWith("select open_mode"))
      return isDown ? DOWN : state.status === "OPEN" ? "READ WRITE\n" : "MOUNTED\n";
    if (statement === "startup mount") {
      if (!isDown) return "ORA-01081: cannot start already-running ORACLE - shut it down first\n";
      state.status = "MOUNTED";
      return "ORACLE instance started.\nDatabase mounted.\n";
    }
    if (statement === "alter database open;") {
      if (state.inBackup)
        return "alter database open\n*\nERROR at line 1:\nORA-10873: file 1 needs to be either taken out of backup mode or media recovered\n";
      state.status = "OPEN";
      return "Database altered.\n";
    }
    if (statement === "alter database end backup;") {
      state.inBackup = false;
      return "Database altered.\n";
    }
    if (statement.startsWith("shutdown")) {
      if (isDown) return DOWN;
      state.status = "DOWN";
      return statement.endsWith("abort")
        ? "ORACLE instance shut down.\n"
        : "Database closed.\nDatabase dismounted.\nORACLE instance shut down.\n";
    }
    return "";
  };
  const node = new FakeNode({
    vars,
    commands: {
      "* /o/bin/sqlplus -S -L / as sysdba": (_, input) => input.split("\n").map(one).join(""),
      "* /o/bin/lsnrctl start LISTENER": () => {
        state.listening = true;
        return "The command completed successfully\n";
      },
      "* /o/bin/lsnrctl stop LISTENER": "The command completed successfully\n",
      "* /o/bin/lsnrctl status LISTENER": () =>
        state.listening
          ? "The command completed successfully\n"
          : { exitCode: 1, stdout: "TNS-12541: TNS:no listener\n" },
    },
  });
  return { node, asked };
}

Deno.test("a database that is down is mounted and opened", async () => {
  const state = { status: "DOWN" };
  const { node, asked } = nodeWith(state);
  await node.run(startPrim);
  assertEquals(state.status, "OPEN");
  assert(asked.includes("startup mount"));
  assert(
    node.commands.every((line) =>
      line.startsWith("runuser -u oracle -- env ORACLE_HOME=/o ORACLE_SID=ORCL /o/bin/"),
    ),
  );
});

Deno.test("one that is open already is left alone, and so is its listener", async () => {
  const { node, asked } = nodeWith({ status: "OPEN", listening: true });
  await node.run(startPrim);
  assert(!asked.some((statement) => statement.startsWith("startup")));
  assert(!node.commands.some((line) => line.includes("lsnrctl start")));
});

Deno.test("a failover in the midst of a hot backup opens the database all the same", async () => {
  const state = { status: "DOWN", inBackup: true };
  const { node, asked } = nodeWith(state);
  await node.run(startPrim);
  assertEquals(state.status, "OPEN");
  assert(asked.includes("alter database end backup;"));
});

Deno.test("what Oracle says when it cannot start is told", async () => {
  const node = new FakeNode({
    vars,
    commands: {
      "*lsnrctl status*": "",
      "*sqlplus*": (_, input) =>
        input.includes("startup")
          ? "ORA-01078: failure in processing system parameters\nLRM-00109: could not open parameter file\n"
          : DOWN,
    },
  });
  await assertRejects(
    () => node.run(startPrim),
    /startup mount: ORA-01078: failure in processing system parameters; LRM-00109/,
  );
});

Deno.test("a stop is immediate, a forced one aborts, and harmless when nothing runs", async () => {
  const state = { status: "OPEN" };
  const { node, asked } = nodeWith(state);
  await node.run(stopPrim, { hook: "stop_prim" });
  assert(asked.includes("shutdown immediate"));
  await node.run(stopPrim, { hook: "stop_prim" });
  await node.run(stopPrim, { hook: "stop_prim", force: true });
  assertEquals(state.status, "DOWN");
  assertEquals(
    asked.filter((statement) => statement.startsWith("shutdown")),
    ["shutdown immediate", "shutdown abort"],
  );
});

Deno.test("a node without Oracle is found out before it has to run it", async () => {
  await assertRejects(
    () => nodeWith({ status: "DOWN" }).node.run(prestart, { hook: "prestart" }),
    /\/o\/bin\/sqlplus is not on this node/,
  );
});

Deno.test("the checker believes an open database only", async () => {
  assertEquals((await nodeWith({ status: "OPEN", listening: true }).node.check(oracle)).state, "up");
  assertMatch((await nodeWith({ status: "OPEN" }).node.check(oracle)).detail, /no listener/);
  assertEquals(await nodeWith({ status: "MOUNTED" }).node.check(oracle), {
    state: "down",
    detail: "MOUNTED",
  });
  assertMatch((await nodeWith({ status: "DOWN" }).node.check(oracle)).detail, /ORA-01034/);
});
