/**
 * Every type of checker on a real cause where the others do not look: on SECOND, and on a node of a farm. Then the cause is removed, and the
 * module is back by itself. And what a farm does about what is wrong with all of its nodes at once.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { createFarm, FARM_IP } from "./farm_lab.ts";
import { createMirror } from "./mirror.ts";
import { type Node, type Testbed, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);
const skip = testbedImpossible() ?? false;

/** One more address of n2: whoever takes it answers the pings of n2 as before. */
const OWN = "10.77.0.42";
/** Two ports; one of them closes when it is told to. */
const SERVER = `Bun.serve({ port: 8080, hostname: "127.0.0.1", fetch: () => new Response("all is well") });
const other = Bun.listen({ port: 8081, hostname: "127.0.0.1", socket: { data() {} } });
process.on("SIGUSR2", () => other.stop(true));`;
const START = `#!/bin/bash
echo start >> /run/checked-starts
exec -a checked-server ${process.execPath} $HOLDFAST_DIR/server.ts > /dev/null 2>&1 < /dev/null &
for i in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/8081) 2>/dev/null && exit 0; sleep 0.02; done
exit 1
`;
const STOP = "#!/bin/bash\npkill -KILL -f ^checked-server; exit 0\n";
const ORDERS = `#!/bin/bash\nif [ -e /run/orders-stuck ]; then echo "orders are stuck"; exit 1; fi\n`;

/** Each type, on what the node itself has, looked at in this state. */
function watching(when: string, address: string): string {
  const often = `when: ${when}, interval: 300ms`;
  const soon = `${often}, timeout: 4s`;
  return `maxLoop: { count: 20 }
processes:
  server: { argumentsRegex: "^checked-server", when: ${when}, interval: 60s }
  helper: { argumentsRegex: "^checked-helper", min: 0, max: 1, action: none, ${soon} }
checkers:
  http: { page: { url: "http://127.0.0.1:8080/", timeout: 1s, failures: 2, ${often} } }
  tcp: { port: { address: "127.0.0.1:8081", ${soon} } }
  disk: { small: { path: /run/small, minFree: 20, write: true, ${soon} } }
  custom: { orders: { ${soon} } }
  ip: { own: { address: ${address}, action: none, ${soon} } }
  module: { other: { name: other, on: anywhere, action: none, ${soon} } }
  interface:
    repl: { name: repl, interval: 60s }
    addressed: { name: lo, address: 192.0.2.9, when: ${when}, interval: 60s, action: none }
  ping: { host: { address: 10.77.0.201, interval: 300ms, timeout: 1s } }
`;
}

/** A module on the node that is looked at. */
interface Place {
  bed: Testbed;
  node: Node;
  module: string;
  /** The state that it comes back to. */
  home: string;
  /** The address that `ip.own` looks at. */
  address: string;
}

interface Cause {
  what: string;
  resource: string;
  found: RegExp;
  make(place: Place): Promise<unknown> | unknown;
  /** Without: the module mends it by itself. */
  mend?(place: Place): Promise<unknown> | unknown;
  /** What follows meanwhile, where anything does. */
  follows?: "restart" | "wait";
}

const sh =
  (command: string) =>
  ({ node }: Place) =>
    node.exec(["sh", "-ec", command]);
const signal =
  (name: NodeJS.Signals) =>
  ({ node }: Place) =>
    node.signal(node.processes().find(({ command }) => command.startsWith("checked-server"))!.pid, name);
const atHost =
  (act: string) =>
  ({ bed, address }: Place) =>
    bed.hosts[0]!.exec(["ip", "address", act, `${address}/32`, "dev", "lan"]);

const CAUSES: readonly Cause[] = [
  {
    what: "a killed process",
    resource: "process.server",
    found: /^no process with arguments like/,
    make: signal("SIGKILL"),
    follows: "restart",
  },
  {
    what: "a server that is stopped, accepts and never answers",
    resource: "http.page",
    found: /no answer within 1s|the last look still hangs/,
    make: signal("SIGSTOP"),
    follows: "restart",
  },
  {
    what: "a process too many",
    resource: "process.helper",
    found: /^2 of process with arguments like .* run, 1 at most should$/,
    make: sh(
      "for i in 1 2; do bash -c 'exec -a checked-helper sleep 100000' > /dev/null 2>&1 < /dev/null & done",
    ),
    mend: sh("pkill -KILL -f ^checked-helper"),
  },
  {
    what: "a closed port",
    resource: "tcp.port",
    found: /ECONNREFUSED/,
    make: signal("SIGUSR2"),
    follows: "restart",
  },
  {
    what: "a full file system",
    resource: "disk.small",
    found: /^\/run\/small is full/,
    make: sh("head -c 900k /dev/zero > /run/small/much"),
    mend: sh("rm /run/small/much"),
  },
  {
    what: "a read-only file system",
    resource: "disk.small",
    found: /is mounted read-only$/,
    make: sh("mount -o remount,ro /run/small"),
    mend: sh("mount -o remount,rw /run/small"),
  },
  {
    what: "the module's own checker",
    resource: "custom.orders",
    found: /orders are stuck/,
    make: sh("touch /run/orders-stuck"),
    mend: sh("rm /run/orders-stuck"),
  },
  {
    what: "an address that another machine takes",
    resource: "ip.own",
    found: /is on another machine too: 02:77:00:00:00:c9/,
    make: atHost("add"),
    mend: atHost("del"),
  },
  {
    what: "another module that is stopped",
    resource: "module.other",
    found: /^other does not serve: STOP/,
    make: ({ node }) => node.holdfast(["stop", "other"]),
    mend: ({ node }) => node.holdfast(["start", "other"]),
  },
  {
    what: "an interface that is down",
    resource: "interface.repl",
    found: /^repl is switched off$/,
    make: sh("ip link set repl down"),
    mend: sh("ip link set repl up"),
    follows: "wait",
  },
  {
    what: "an address that an interface loses",
    resource: "interface.addressed",
    found: /^lo does not have 192\.0\.2\.9$/,
    make: sh("ip address del 192.0.2.9/32 dev lo"),
    mend: sh("ip address add 192.0.2.9/32 dev lo"),
  },
  {
    what: "a target that does not answer",
    resource: "ping.host",
    found: /answer/,
    make: ({ bed, node }) => bed.cut(bed.hosts[0]!, node, { lan: "lan" }),
    mend: ({ bed }) => bed.heal(),
    follows: "wait",
  },
];

async function statusOf({ node, module }: Place): Promise<NodeStatus> {
  return (await node.json<StatusDocument>(["status"])).modules[module]!.nodes[node.name]!;
}

async function historyOf(
  { node, module }: Place,
  name: string,
): Promise<{ state: string; detail: string }[]> {
  const told = await node.json<{ data: Record<string, { history: { state: string; detail: string }[] }> }>([
    ...["resources", module],
  ]);
  return told.data[name]?.history ?? [];
}

/** It is as it was: in its state, and everything that looks at it has found it well. */
async function isHome(place: Place): Promise<void> {
  let seen: NodeStatus | null = null;
  const names = [...new Set(CAUSES.map(({ resource }) => resource))];
  await until(`${place.module} is ${place.home}, and well`, async () => {
    seen = await statusOf(place);
    const { state, readiness, resources } = seen;
    return `${state} ${readiness}` === place.home && names.every((name) => resources[name]?.state === "up");
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it is ${JSON.stringify(seen)}`);
  });
}

async function starts({ node }: Place): Promise<number> {
  return (await node.exec(["cat", "/run/checked-starts"])).stdout.trim().split("\n").length;
}

async function happens(t: Test, place: Place, cause: Cause): Promise<void> {
  const { what, resource, found, follows } = cause;
  const [known, begun] = [(await historyOf(place, resource)).length, await starts(place)];
  await cause.make(place);
  await until(`${what}: ${resource} is down`, async () => {
    // Who looked in the midst of it said something else first, and its words of now are in no history.
    const { state, detail = "" } = (await statusOf(place)).resources[resource]!;
    const since = [...(await historyOf(place, resource)).slice(known), { state, detail }];
    return since.some((change) => change.state === "down" && found.test(change.detail));
  });
  if (follows === "wait") {
    await until(`${what}: it waits`, async () => (await statusOf(place)).state === "WAIT");
    t.match((await statusOf(place)).reason, `waits: ${resource} is down`, what);
  }
  await cause.mend?.(place);
  await isHome(place);
  t.equal(await starts(place), begun + (follows === undefined ? 0 : 1), `${what}: and the module is back`);
}

/** A module without an application, on one node. */
async function applyOther(bed: Testbed, node: Node): Promise<void> {
  const source = join(mkdtempSync(join(bed.dir, "other-")), "other");
  mkdirSync(source);
  writeFileSync(join(source, "module.yaml"), `kind: light\nnodes: [${node.name}]\n`);
  await node.holdfast(["module", "apply", "other", "--from", source, "--no-types"]);
  await node.holdfast(["start", "other"]);
}

/** A disk that is soon full, and one more address. */
const furnish = (node: Node) =>
  node.exec([
    "sh",
    "-ec",
    "mkdir -p /run/small && mount -t tmpfs -o size=1m none /run/small; ip link set lo up; ip address add 192.0.2.9/32 dev lo",
  ]);

t.test(
  "on SECOND: each cause is found there, and the module is back once it is gone",
  { skip },
  async (t) => {
    const mirror = await createMirror({
      yaml: watching("second", OWN),
      files: {
        "server.ts": SERVER,
        "checkers/orders": ORDERS,
        "hooks/start_second": START,
        "hooks/stop_second": STOP,
      },
      replicate: false,
      prepare: async (node) => {
        await furnish(node);
        if (node.name === "n2") await node.exec(["ip", "address", "add", `${OWN}/24`, "dev", "lan"]);
      },
    });
    t.teardown(() => mirror.bed.destroy());
    const { bed, n1, n2 } = mirror;
    const place = { bed, node: n2, module: "db", home: "SECOND Ready", address: OWN };
    await applyOther(bed, n2);
    await mirror.start();
    await isHome(place);
    for (const cause of CAUSES) await happens(t, place, cause);
    t.same((await mirror.states(n1))[0], "PRIM Ready", "the primary served all the time");
    t.equal(n1.processes().filter(({ command }) => command.startsWith("checked-server")).length, 0);
  },
);

t.test(
  "in a farm: a node that is not well serves nobody, unless no other is better off",
  { skip },
  async (t) => {
    const lab = await createFarm({
      nodes: 2,
      yaml: watching("prim", FARM_IP),
      files: {
        "server.ts": SERVER,
        "checkers/orders": ORDERS,
        "hooks/start_both": START,
        "hooks/stop_both": STOP,
      },
    });
    t.teardown(() => lab.bed.destroy());
    const { bed, nodes } = lab;
    const [n1, n2] = nodes as [Node, Node];
    const places = [n1, n2].map((node) => ({ bed, node, module: "web", home: "UP Ready", address: FARM_IP }));
    const [first, second] = places as [Place, Place];
    for (const node of nodes) await furnish(node);
    await applyOther(bed, n2);
    await n1.holdfast(["start", "web", "--all"]);
    for (const place of places) await isHome(place);
    await lab.shared(["n1", "n2"]);
    for (const cause of CAUSES) await happens(t, second, cause);
    const isOpen = async (): Promise<boolean> => (await lab.report(n2))?.nodes["n2"]?.stage === "open";
    const letIn = () => until("n2, which left often, is let in again", isOpen, 120_000);
    await letIn();
    await lab.shared(["n1", "n2"]);

    await sh("touch /run/orders-stuck")(second);
    await lab.shared(["n1"], [n1]);
    await sh("touch /run/orders-stuck")(first);
    for (const place of places)
      await until(`${place.node.name} says that it is not closed`, async () =>
        /NOT closed to clients, though custom\.orders is down: no node of web is better off/.test(
          (await statusOf(place)).reason,
        ),
      );
    const { nodes: shares } = (await lab.report(n1))!;
    t.match(shares, { n1: { stage: "unwell", buckets: 128 }, n2: { stage: "unwell", buckets: 128 } });
    t.equal((await lab.host.whoAnswers(FARM_IP)).length, 1, "its address is answered for");
    t.match((await n1.holdfast(["log", "web"])).stdout, /NOT closed to clients/, "the log has it");
    await sh("rm /run/orders-stuck")(first);
    await lab.shared(["n1"], [n1]);
    await sh("rm /run/orders-stuck")(second);
    await letIn();
    await lab.shared(["n1", "n2"]);
    t.notMatch((await statusOf(first)).reason, /NOT closed/);

    t.comment("a target that is gone for everybody stops no node, and keeps none from starting");
    for (const node of nodes) await bed.cut(lab.host, node, { lan: "lan" });
    const goesOn = async (place: Place): Promise<boolean> => {
      const { state, readiness, reason } = await statusOf(place);
      return `${state} ${readiness}` === "UP Ready" && /NOT waiting, though ping\.host is down/.test(reason);
    };
    for (const place of places) await until("it goes on", () => goesOn(place));
    await n1.holdfast(["stop", "web", "--all"]);
    await n1.holdfast(["start", "web", "--all"]);
    for (const place of places) await until("it starts all the same", () => goesOn(place));
    await bed.heal();
    for (const place of places) await isHome(place);
    await lab.shared(["n1", "n2"]);
  },
);
