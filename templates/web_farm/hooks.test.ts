/**
 * What the hooks ask of {{title}}, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { assertEquals, assertRejects, FakeNode } from "holdfast/testing";
import prestart from "./hooks/prestart.ts";
import startBoth from "./hooks/start_both.ts";
import stopBoth from "./hooks/stop_both.ts";

const [bin, config] = ["/b", "/c"];
const CHECK = `{{check}}`;
const START = `{{start}}`;

/** A node where {{title}} does not run; the file with the pid of one that was killed is there. */
function nodeWith(fault: string, pid = "/no/such/file"): FakeNode {
  return new FakeNode({
    kind: "farm",
    vars: { bin, config, pid, port: "80" },
    commands: { [CHECK]: { exitCode: fault === "" ? 0 : 1, stderr: fault }, [START]: "" },
  });
}

Deno.test("it is started when its configuration is right, and waited for", async () => {
  const pid = await Deno.makeTempFile();
  // The number is of a process that is not {{title}}.
  await Deno.writeTextFile(pid, `${Deno.pid}\n`);
  const node = nodeWith("", pid);
  await node.run(startBoth, { hook: "start_both" });
  assertEquals(node.commands, [CHECK, START]);
  assertEquals(node.waits, ["127.0.0.1:80"]);
  await assertRejects(() => Deno.stat(pid), /./);
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
