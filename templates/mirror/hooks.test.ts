/**
 * What the hooks do, on a node that is made up: `holdfast module test NAME` runs this.
 *
 * Once the hooks run commands, give the FakeNode their answers: `commands: { "systemctl start *": "" }`.
 */
import { assert, assertMatch, FakeNode } from "holdfast/testing";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

Deno.test("the application is started with its port", async () => {
  const node = new FakeNode({ vars: { port: "8080" } });
  await node.run(startPrim);
  assertMatch(node.logged.join("\n"), /port 8080/);
});

Deno.test("a stop is harmless when nothing runs, forced too", async () => {
  const node = new FakeNode();
  await node.run(stopPrim, { hook: "stop_prim", action: "stop" });
  await node.run(stopPrim, { hook: "stop_prim", action: "stop", force: true });
  assert(node.logged.some((line) => line.includes("forced")));
});
