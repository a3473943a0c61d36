/**
 * The stop of the demo's application, against a server of the test's own: `holdfast module test NAME` runs this.
 */
import { assert, assertEquals, FakeNode } from "holdfast/testing";
import stopPrim from "./hooks/stop_prim.ts";

Deno.test("the application is asked to end, and has ended when the hook returns", async () => {
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => undefined }, (request) => {
    asked.push(request.method);
    if (request.method === "DELETE") setTimeout(() => void server.shutdown(), 10);
    return new Response("yes");
  });
  const vars = { address: "127.0.0.1", port: String(server.addr.port) };
  await new FakeNode({ vars }).run(stopPrim, { hook: "stop_prim" });
  await server.finished;
  assertEquals(asked[0], "DELETE");
});

Deno.test("a stop is harmless when nothing runs", async () => {
  const node = new FakeNode({ vars: { address: "127.0.0.1", port: "1" } });
  await node.run(stopPrim, { hook: "stop_prim" });
  assert(node.logged.includes("no answer from the application"));
});
