/**
 * What a module does about it, on real nodes: a process that dies again and again, an interface that goes, a target that is gone for everybody, an
 * address that is taken away or taken by another machine, a disk that is full or read-only. Then the cause is removed.
 */
import { readFileSync } from "node:fs";
import t, { type Test } from "tap";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { createMirror, type Mirror, VIRTUAL_IP } from "./mirror.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

const skip = testbedImpossible() ?? false;
t.setTimeout(400_000);

const FILES = {
  "hooks/start_prim": `#!/bin/bash
echo "$HOLDFAST_NODE $HOLDFAST_ACTION" >> RECORD/starts
exec -a checked-sleeper sleep 100000 > /dev/null 2>&1 < /dev/null &
exit 0
`,
  "hooks/stop_prim": "#!/bin/bash\npkill -KILL -f ^checked-sleeper; exit 0\n",
};

async function statusOf(node: Node): Promise<NodeStatus> {
  return (await node.json<StatusDocument>(["status"])).modules["db"]!.nodes[node.name]!;
}

async function comes(node: Node, name: string, state: string, detail = /^/): Promise<void> {
  let seen: NodeStatus["resources"] = {};
  await until(`${name} ${state} on ${node.name}`, async () => {
    seen = (await statusOf(node)).resources;
    return seen[name]?.state === state && detail.test(seen[name].detail ?? "");
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it has ${JSON.stringify(seen)}`);
  });
}

async function started(t: Test, yaml: string): Promise<Mirror> {
  const mirror = await createMirror({ yaml, files: FILES, replicate: false });
  t.teardown(() => mirror.bed.destroy());
  return mirror;
}

const sleeper = (node: Node): number | undefined =>
  node.processes().find(({ command }) => command.startsWith("checked-sleeper"))?.pid;

t.test(
  "a process that dies is started again at once; the fourth time the peer takes over",
  { skip },
  async (t) => {
    const mirror = await started(
      t,
      `processes: { sleeper: { argumentsRegex: "^checked-sleeper", interval: 60s } }\n`,
    );
    const { n1, bed } = mirror;
    await mirror.start();
    const starts = (): string[] => readFileSync(`${bed.dir}/starts`, "utf8").trim().split("\n");
    for (const time of [1, 2, 3]) {
      await comes(n1, "process.sleeper", "up");
      const pid = sleeper(n1)!;
      const killed = Date.now();
      process.kill(pid, "SIGKILL");
      // Its next look would be a minute away.
      await until(`start ${time + 1}`, () => starts().length === time + 1);
      await until("it runs", () => sleeper(n1) !== undefined);
      const { stdout } = await n1.holdfast(["log", "db", "--json", "--lines", "50"]);
      const decided = stdout
        .split("\n")
        .findLast((line) => line.includes("Transient: restarted: process.sleeper is down"));
      t.comment(`from the death to the decision: ${Date.parse(JSON.parse(decided!).time) - killed} ms`);
    }
    t.same(starts(), ["n1 start", "n1 restart", "n1 restart", "n1 restart"]);
    await comes(n1, "process.sleeper", "up");
    process.kill(sleeper(n1)!, "SIGKILL");
    await mirror.settled("STOP", "ALONE");
    t.match(await statusOf(n1), {
      reason: /stopped by maxLoop: process\.sleeper is down: no process .* \(rule process_failure_sleeper\)/,
      remedy: "holdfast start db",
    });
    await n1.holdfast(["start", "db"]);
    await mirror.settled("SECOND", "PRIM");
  },
);

const NETWORK = `
checkers:
  interface: { lan: { name: lan, interval: 60s } }
  ping:
    host: { address: 10.77.0.201, interval: 400ms }
    host6: { address: "fd77::201", interval: 400ms, action: none }
  ip: { address: { address: ${VIRTUAL_IP}, interval: 500ms, action: none } }
  disk: { small: { path: /run/small, minFree: 20, write: true, interval: 400ms } }
rules:
  full: { if: "disk.small == down && custom.obey == up", then: swap }
`;

t.test("networks, addresses and disks", { skip }, async (t) => {
  const mirror = await started(t, NETWORK);
  const { n1, n2, host } = mirror;
  for (const node of [n1, n2])
    await node.exec(["sh", "-c", "mkdir -p /run/small && mount -t tmpfs -o size=1m none /run/small"]);
  await mirror.start();
  for (const name of ["interface.lan", "ping.host", "ping.host6", "ip.address", "disk.small"])
    await comes(n1, name, "up");

  await n1.exec(["ip", "link", "set", "lan", "down"]);
  await mirror.settled("WAIT", "ALONE");
  // Its pings do not get out either: whichever of the two was noticed first.
  t.match(await statusOf(n1), {
    reason: /^waits: .* \(rule (interface_failure_lan|p_host)\)/,
    resources: { "interface.lan": { state: "down", detail: "lan is switched off" } },
  });
  await n1.exec(["ip", "link", "set", "lan", "up"]);
  await mirror.settled("SECOND", "PRIM");
  await n2.holdfast(["swap", "db"]);
  await mirror.settled("PRIM", "SECOND");

  await host.exec(["ip", "link", "set", "lan", "down"]);
  await comes(n1, "ping.host", "down", /no answer|does not answer/);
  await comes(n2, "ping.host", "down");
  await comes(n2, "ping.host6", "down", /fd77::201 does not answer|no answer/);
  await until("one serves, one follows, and both say that they do not wait", async () => {
    const all = await Promise.all([n1, n2].map(statusOf));
    const states = all
      .map(({ state, readiness }) => `${state} ${readiness}`)
      .sort((a, b) => a.localeCompare(b));
    return (
      states.join() === "PRIM Ready,SECOND Ready" &&
      all.every(({ reason }) => /NOT waiting, though ping\.host/.test(reason))
    );
  });
  await host.exec(["ip", "link", "set", "lan", "up"]);
  // The kernel takes IPv6 addresses away with the link.
  await host.exec(["ip", "address", "replace", "fd77::201/64", "dev", "lan", "nodad"]);
  await comes(n1, "ping.host", "up");
  await comes(n2, "ping.host", "up");
  await comes(n2, "ping.host6", "up", /ms$/);

  const all = await Promise.all([n1, n2].map(statusOf));
  const [prim, second] = all[0]!.state === "PRIM" ? [n1, n2] : [n2, n1];
  await comes(prim, "ip.address", "up");
  await host.exec(["ip", "address", "add", `${VIRTUAL_IP}/32`, "dev", "lan"]);
  await comes(prim, "ip.address", "down", /is on another machine too/);
  await host.exec(["ip", "address", "del", `${VIRTUAL_IP}/32`, "dev", "lan"]);
  await comes(prim, "ip.address", "up");
  await prim.exec(["ip", "address", "del", `${VIRTUAL_IP}/24`, "dev", "lan"]);
  await comes(prim, "ip.address", "down", /is not on this node/);
  await prim.exec(["ip", "address", "add", `${VIRTUAL_IP}/24`, "dev", "lan"]);
  await comes(prim, "ip.address", "up");

  await prim.exec(["sh", "-c", "head -c 900k /dev/zero > /run/small/much"]);
  await comes(prim, "disk.small", "down", /\/run\/small is full/);
  await prim.exec(["rm", "/run/small/much"]);
  await comes(prim, "disk.small", "up");
  await prim.exec(["mount", "-o", "remount,ro", "/run/small"]);
  await comes(prim, "disk.small", "down", /is mounted read-only/);
  await prim.holdfast(["set", "db", "custom.obey", "up"]);
  await second.holdfast(["wait", "db", "PRIM"]);
  t.match((await statusOf(prim)).state, "SECOND", "the written rule exchanged the roles");
});

/** Two processes; the worker writes its pid down, and a hook starts it alone. */
const TWO = {
  "hooks/start_prim": `#!/bin/bash
echo "start_prim" >> RECORD/starts
exec -a checked-web sleep 100000 > /dev/null 2>&1 < /dev/null &
$HOLDFAST_DIR/lib/worker
`,
  "lib/worker": `#!/bin/bash
exec -a checked-worker sleep 100001 > /dev/null 2>&1 < /dev/null &
echo $! > /run/checked-worker.pid
`,
  "hooks/restart_process": `#!/bin/bash
echo "restart_process $HOLDFAST_PROCESS" >> RECORD/starts
pkill -KILL -f ^checked-worker
test ! -e /run/no-worker && exec $HOLDFAST_DIR/lib/worker
`,
  "hooks/stop_prim": "#!/bin/bash\npkill -KILL -f '^checked-(web|worker)'; exit 0\n",
};

t.test("one process, known by its pid file, is started again without the other", { skip }, async (t) => {
  const yaml = `processes:
  web: { argumentsRegex: "^checked-web", interval: 60s }
  worker: { pidFile: /run/checked-worker.pid, interval: 60s }
`;
  const mirror = await createMirror({ yaml, files: TWO, replicate: false });
  t.teardown(() => mirror.bed.destroy());
  const { n1, bed } = mirror;
  await mirror.start();
  const starts = (): string[] => readFileSync(`${bed.dir}/starts`, "utf8").trim().split("\n");
  const pid = (word: string): number | undefined =>
    n1.processes().find(({ command }) => command.startsWith(`checked-${word}`))?.pid;
  const [web, worker] = [pid("web"), pid("worker")];
  await comes(n1, "process.web", "up");
  await comes(n1, "process.worker", "up", /^pid \d+$/);
  process.kill(worker!, "SIGKILL");
  await until("the worker runs again", () => pid("worker") !== undefined);
  await comes(n1, "process.worker", "up");
  await mirror.settled("PRIM", "SECOND");
  t.same(starts(), ["start_prim", "restart_process worker"]);
  t.equal(pid("web"), web, "the other one goes on");

  t.match(
    (await n1.holdfast(["restart", "db", "process.worker"])).stdout,
    /process\.worker alone is restarted/,
  );
  t.equal(starts().at(-1), "restart_process worker");
  await comes(n1, "process.worker", "up");
  await n1.exec(["touch", "/run/no-worker"]);
  process.kill(pid("worker")!, "SIGKILL");
  await until("where its hook fails, everything is restarted", () => starts().at(-1) === "start_prim");
  await mirror.settled("PRIM", "SECOND");
  t.not(pid("web"), web);
});
