/**
 * What the hooks ask of {{title}}, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { assertEquals, assertRejects, FakeNode, inScratch } from "holdfast/testing";
import prestart from "./hooks/prestart.ts";
import startBoth from "./hooks/start_both.ts";
import stopBoth from "./hooks/stop_both.ts";

const [bin, config] = ["/b", "/c"];
const CHECK = `{{check}}`;
const START = `{{start}}`;

/** A node where {{title}} does not run; the file with the pid of one that was killed is there. */
function nodeWith(fault: string, pid = "/no/such/file", start = () => ""): FakeNode {
  return new FakeNode({
    kind: "farm",
    vars: { bin, config, pid, port: "80" },
    commands: { [CHECK]: { exitCode: fault === "" ? 0 : 1, stderr: fault }, [START]: start },
  });
}

Deno.test("it is started when its configuration is right, and waited for, with its pid file", async () => {
  await inScratch(async (scratch) => {
    const [pid, program] = [`${scratch}/pid`, `${scratch}/{{program}}`];
    // The number is of a process that is not {{title}}; another one is, by its name.
    writeFileSync(pid, `${process.pid}\n`);
    copyFileSync("/bin/sleep", program);
    let stop = () => true;
    const node = nodeWith("", pid, () => {
      assertEquals(existsSync(pid), false);
      const server = spawn(program, ["60"]);
      stop = () => server.kill();
      // As the real one does: its port is open before that.
      setTimeout(() => writeFileSync(pid, `${server.pid}\n`), 200);
      return "";
    });
    try {
      await node.run(startBoth, { hook: "start_both" });
      assertEquals(node.commands, [CHECK, START]);
      assertEquals(node.waits, ["127.0.0.1:80"]);
      assertEquals(existsSync(pid) && readFileSync(pid, "utf8") !== "", true);
    } finally {
      stop();
    }
  });
});

Deno.test("a fault of the configuration is told in its own words, and nothing is started", async () => {
  const node = nodeWith("unknown directive in /c:7");
  await assertRejects(
    () => node.run(startBoth),
    /{{title}} cannot start with its configuration: unknown directive in \/c:7/,
  );
  assertEquals(node.commands, [CHECK]);
});

Deno.test("a node without {{title}} is found out before it has to serve", async () => {
  await assertRejects(() => nodeWith("").run(prestart, { hook: "prestart" }), /^\/b is not on this node/);
});

Deno.test("a stop is harmless when nothing runs", async () => {
  const node = nodeWith("");
  await node.run(stopBoth, { hook: "stop_both" });
  await node.run(stopBoth, { hook: "stop_both", force: true });
  assertEquals(node.logged, Array(2).fill("{{title}} does not run"));
});
