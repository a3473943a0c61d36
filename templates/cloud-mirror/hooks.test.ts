/**
 * What the hooks do, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode } from "holdfast/testing";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

Deno.test("where nothing moves, no command runs and nobody is asked", async () => {
  const node = new FakeNode({ vars: { port: "8080", move: "none", address: "10.0.0.100" } });
  await node.run(prestart, { hook: "prestart" });
  await node.run(startPrim);
  await node.run(stopPrim, { hook: "stop_prim", force: true });
  assertEquals(node.commands, []);
  assertMatch(node.logged.join("\n"), /port 8080/);
});

Deno.test("what the machine called its own is undone after a stop, and after a crash", async () => {
  const commands = {
    "ip -o route show default": "default via 10.0.0.1 dev ens5 proto dhcp\n",
    "ip address delete *": "",
  };
  for (const [move, device] of [
    ["address", "ens5"],
    ["route", "lo"],
  ]) {
    const node = new FakeNode({ vars: { move: move!, address: "10.0.0.100" }, commands });
    await node.run(stopPrim, { hook: "stop_prim" });
    await node.run(prestart, { hook: "prestart" });
    const deleted = node.commands.filter((line) => line.startsWith("ip address delete"));
    assertEquals(deleted, Array(2).fill(`ip address delete 10.0.0.100/32 dev ${device}`));
  }
});

Deno.test("a start that cannot reach the provider fails, says why, and starts nothing", async () => {
  const nowhere = "http://127.0.0.1:1";
  const vars = {
    move: "address",
    address: "10.0.0.100",
    patience: "0",
    api: nowhere,
    metadata: nowhere,
    route: "r",
  };
  const node = new FakeNode({ vars: { ...vars, port: "8080" }, commands: {} });
  await assertRejects(
    () => node.run(startPrim),
    /no answer from 127\.0\.0\.1:1|lib\/provider\.ts does not say/,
  );
  assert(!node.logged.some((line) => line.includes("port")), "the application was not started");
});

Deno.test("what cannot be meant is refused", async () => {
  const run = (vars: Record<string, string>) => new FakeNode({ vars }).run(startPrim);
  await assertRejects(() => run({ move: "adress", address: "10.0.0.100" }), /none, address or route/);
  await assertRejects(() => run({ move: "address", address: "10.0.0.100/24" }), /without a prefix length/);
});
