/**
 * What the hooks do, on a node that is made up: `holdfast module test NAME` runs this.
 *
 * Once the hooks run commands, give the FakeNode their answers: `commands: { "systemctl start *": "" }`.
 */
import { assert, assertMatch, FakeNode } from "holdfast/testing";
import startBoth from "./hooks/start_both.ts";
import stopBoth from "./hooks/stop_both.ts";

Deno.test("the application is started with its port", async () => {
  const node = new FakeNode({ kind: "{{kind}}", vars: { port: "8080" } });
  await node.run(startBoth, { hook: "start_both" });
  assertMatch(node.logged.join("\n"), /port 8080/);
});

Deno.test("a stop is harmless when nothing runs, forced too", async () => {
  const node = new FakeNode({ kind: "{{kind}}" });
  await node.run(stopBoth, { hook: "stop_both", action: "stop" });
  await node.run(stopBoth, { hook: "stop_both", action: "stop", force: true });
  assert(node.logged.some((line) => line.includes("forced")));
});
