/**
 * What the hooks ask of Redis, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { assertEquals, assertMatch, assertRejects, FakeNode, inScratch } from "holdfast/testing";
import redis from "./checkers/redis.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

/** A node with a data directory in `work`; what Redis and its client read goes to `given`. */
function nodeWith(work: string, given: string[], answer = "PONG\n", auth = "password"): FakeNode {
  const read = (output: string) => (_: string, input: string) => {
    given.push(input);
    return output;
  };
  return new FakeNode({
    dir: import.meta.dirname!,
    vars: {
      bin: "/usr/bin/redis-server",
      user: "redis",
      data: `${work}/data`,
      port: "6379",
      run: `${work}/run`,
      auth,
    },
    secrets: { password: 'hu"sh' },
    commands: {
      "install -d *.new": () => {
        Deno.mkdirSync(`${work}/data.new`);
        return "";
      },
      "install *": "",
      "find *": "",
      "sync *": "",
      "id -u redis": String(Deno.uid()),
      "runuser -u redis -- /usr/bin/redis-server -": read(""),
      "redis-cli *": read(answer),
      "tail *": "# Can't open the log file\n",
    },
  });
}

Deno.test("every write is on disk before it is answered, and the password is in no argument", () =>
  inScratch(async (work) => {
    const given: string[] = [];
    const node = nodeWith(work, given, "OK\nPONG\n");
    await node.run(startPrim);
    assertMatch(given[0]!, /^appendonly yes\nappendfsync always$/m);
    assertMatch(given[0]!, /^requirepass "hu\\"sh"$/m);
    assertEquals(given[1], 'AUTH "hu\\"sh"\nPING\n');
    assertEquals(
      node.commands.filter((line) => line.includes('sh"')),
      [],
    );
  }));

Deno.test("without a password when module.yaml says so", () =>
  inScratch(async (work) => {
    const given: string[] = [];
    await nodeWith(work, given, "PONG\n", "none").run(startPrim);
    assertMatch(given[0]!, /^protected-mode no$/m);
    assertEquals(given[1], "PING\n");
  }));

Deno.test("a server that does not come up shows its log", () =>
  inScratch(async (work) => {
    const node = nodeWith(work, [], "LOADING Redis is loading the dataset in memory\n");
    await assertRejects(() => node.run(startPrim), /Redis ended while it started/);
    assertEquals(node.logged.at(-1), "# Can't open the log file");
  }));

Deno.test("a stop is harmless when nothing runs", () =>
  inScratch(async (work) => {
    const node = nodeWith(work, []);
    await node.run(stopPrim, { hook: "stop_prim" });
    await node.run(stopPrim, { hook: "stop_prim", force: true });
    assertEquals(node.logged, Array(2).fill("Redis does not run"));
  }));

Deno.test("a node without Redis is found out before it has to run it", async () => {
  const node = new FakeNode({ vars: { bin: "/no/where/redis-server", user: "redis" } });
  await assertRejects(
    () => node.run(prestart, { hook: "prestart" }),
    /\/no\/where\/redis-server is not on this node/,
  );
});

Deno.test("the checker believes an answer only", async () => {
  assertEquals((await nodeWith("/", []).check(redis)).state, "up");
  assertEquals(await nodeWith("/", [], "LOADING\n").check(redis), {
    state: "down",
    detail: "no answer to PING",
  });
});
