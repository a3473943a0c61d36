/**
 * What a farm's node knows is kept over a restart of its daemon: that its application was found down, and which clients it has from
 * another; and what a person takes back.
 */
import t from "tap";
import { createFarm, FARM_IP, type FarmLab, UDP_PORT } from "./farm_lab.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(200_000);

const ALL = ["n1", "n2", "n3"];
/** What looks at a server that hangs has no answer for longer than a daemon needs to come back. */
const CHECKED = `checkers:
  http: { site: { url: "http://127.0.0.1:8080/", when: both, interval: 500ms, timeout: 2s, action: none } }
`;

async function restartDaemon(node: Node): Promise<void> {
  node.kill9(node.processes().find(({ command }) => command.includes(" daemon --var"))!.pid);
  await node.startDaemon();
}

/** By client, the node that answers a datagram of an exchange that goes on: each time from the same port. */
async function exchange(lab: FarmLab): Promise<Record<string, string>> {
  const script = `const one = async (n) => {
  const { promise, resolve } = Promise.withResolvers();
  const client = "10.90.40." + n;
  const socket = await Bun.udpSocket({ hostname: client, port: 20000, socket: { data: (_socket, bytes) => resolve(String(bytes)) } });
  socket.send("who", ${UDP_PORT}, "${FARM_IP}");
  const node = await Promise.race([promise, Bun.sleep(3000).then(() => "nobody")]);
  socket.close();
  return [client, node];
};
console.log(JSON.stringify(Object.fromEntries(await Promise.all(Array.from({ length: 40 }, (_, n) => one(n + 1))))));`;
  const { stdout } = await lab.host.exec([process.execPath, "-e", script]);
  return JSON.parse(stdout) as Record<string, string>;
}

/** What a node hears of another, each time that it is something else. */
function listenTo(lab: FarmLab, teller: Node, name: string): { end(): Promise<string[]> } {
  const stages: string[] = [];
  let isOver = false;
  const listening = (async () => {
    while (!isOver) {
      const stage = (await lab.report(teller))?.nodes[name]?.stage ?? "silent";
      if (stages.at(-1) !== stage) stages.push(stage);
      await Bun.sleep(20);
    }
  })();
  return {
    end: async () => {
      isOver = true;
      await listening;
      return stages;
    },
  };
}

t.test("a farm's daemons start anew", { skip: testbedImpossible() ?? false }, async (t) => {
  const lab = await createFarm({ heartbeat: "{ interval: 200ms, timeout: 2s }", yaml: CHECKED });
  await using _bed = lab.bed;
  const [n1, n2, n3] = lab.nodes as [Node, Node, Node];
  await n1.holdfast(["start", "web", "--all"]);
  await lab.shared(ALL);

  await t.test("one whose application was found down takes no clients before it is found well", async (t) => {
    await n2.exec(["bash", "-c", "kill -STOP $(pgrep nginx)"]);
    await lab.shared(["n1", "n3"]);
    const ear = listenTo(lab, n1, "n2");
    await restartDaemon(n2);
    const found = async () => (await lab.status(n2))["n2"]?.resources["http.site"]?.state === "down";
    await until("it is found down again", found);
    t.same(await ear.end(), ["unwell"]);
    await n2.exec(["bash", "-c", "kill -CONT $(pgrep nginx)"]);
    await lab.shared(ALL);
  });

  await t.test("a drain is over when a person starts the node", async (t) => {
    const stays = await lab.stay(30);
    const drain = n2.holdfast(["drain", "web", "--timeout", "60s"], { mayFail: true });
    await lab.shared(["n1", "n3"], [n1]);
    const started = await n2.holdfast(["start", "web"]);
    t.match(started.stdout, /n2 is UP already; it takes new clients again/);
    const { status, stdout, stderr } = await drain;
    t.same(status, 1);
    t.match(stdout + stderr, /web is drained no longer on n2: it was started/);
    await lab.shared(ALL);
    t.match((await lab.status(n2))["n2"], { state: "UP", readiness: "Ready" });
    const late = await n2.holdfast(["drain", "web", "--timeout", "2s"]);
    t.match(late.stdout, /\d+ connections were still there after 2s; stopped on n2/, "a deadline passes");
    await n2.holdfast(["wait", "web", "STOP"]);
    const ended = (await stays.end()).filter(({ end }) => end !== "");
    t.same(new Set(ended.map(({ nodes }) => nodes[0])), new Set(["n2"]), "no other's connection ended");
    await n2.holdfast(["start", "web"]);
    await lab.shared(ALL);
  });

  await t.test("a node that is drained has the clients where no other serves, and says so", async (t) => {
    for (const node of [n1, n3]) await node.holdfast(["stop", "web"]);
    await lab.shared(["n2"]);
    const stays = await lab.stay(1);
    const drain = n2.holdfast(["drain", "web", "--timeout", "60s"], { mayFail: true });
    await until("n2 drains", async () => (await lab.report(n2))?.stage === "draining");
    t.match((await lab.status(n2))["n2"], { buckets: 256, held: "it is being drained" });
    const aloud = /takes new clients since no other node does, though it is being drained/;
    for (const words of ["status", "farm"]) t.match((await n2.holdfast([words, "web"])).stdout, aloud);
    t.same((await lab.visit(100)).failures, {});
    await n2.holdfast(["start", "web"]);
    await drain;
    t.same((await lab.status(n2))["n2"]?.held, undefined);
    await stays.end();
    for (const node of [n1, n3]) await node.holdfast(["start", "web"]);
    await lab.shared(ALL);
  });

  await t.test(
    "an exchange by UDP stays with a node that lives, though another has its bucket",
    async (t) => {
      await n1.holdfast(["stop", "web"]);
      await lab.shared(["n2", "n3"]);
      for (const node of [n2, n3]) await lab.answerByUdp(node, FARM_IP);
      const before = await exchange(lab);
      t.same(new Set(Object.values(before)), new Set(["n2", "n3"]));
      await n1.holdfast(["start", "web"]);
      await lab.shared(ALL);
      await lab.answerByUdp(n1, FARM_IP);
      t.same(await exchange(lab), before, "n1 came");
      await restartDaemon(n1);
      await lab.shared(ALL);
      t.same(await exchange(lab), before, "its daemon started anew");
      const { answers } = await lab.visit(100, { by: "udp", port: UDP_PORT, first: 6000 });
      t.ok(answers["n1"]! > 0, "what begins is n1's");
    },
  );
});
