/** Maintenance on real nodes: nothing is restarted or failed over while it is on, whatever dies; it outlives daemons, and a node that was away keeps to it. */
import { readFileSync } from "node:fs";
import t from "tap";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { createMirror } from "./mirror.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);
const skip = testbedImpossible() ?? false;

const FILES = {
  "hooks/start_prim": `#!/bin/bash
echo "$HOLDFAST_NODE $HOLDFAST_ACTION" >> RECORD/starts
exec -a checked-sleeper sleep 100000 > /dev/null 2>&1 < /dev/null &
exit 0
`,
  "hooks/stop_prim": "#!/bin/bash\npkill -KILL -f ^checked-sleeper; exit 0\n",
};
const YAML = `replicate:
  paths:
    - path: DATA
processes: { sleeper: { argumentsRegex: "^checked-sleeper", interval: 60s } }
`;

async function statusOf(node: Node): Promise<NodeStatus> {
  return (await node.json<StatusDocument>(["status"])).modules["db"]!.nodes[node.name]!;
}

async function killDaemon(node: Node): Promise<void> {
  const isDaemon = ({ command }: { command: string }): boolean =>
    / daemon --var/.test(command) && !command.startsWith("setsid");
  process.kill(node.processes().find(isDaemon)!.pid, "SIGKILL");
  await node.startDaemon();
}

t.test("maintenance", { skip }, async (t) => {
  const mirror = await createMirror({ yaml: YAML, files: FILES });
  t.teardown(() => mirror.bed.destroy());
  const { n1, n2, bed } = mirror;
  await mirror.start();
  const starts = (): string[] => readFileSync(`${bed.dir}/starts`, "utf8").trim().split("\n");
  const sleeper = (): number | undefined =>
    n1.processes().find(({ command }) => command.startsWith("checked-sleeper"))?.pid;
  const isDown = async (): Promise<boolean> =>
    (await statusOf(n1)).resources["process.sleeper"]?.state === "down";
  /** Before it was seen once, its absence counts only after the grace. */
  const isSeen = async (): Promise<boolean> =>
    (await statusOf(n1)).resources["process.sleeper"]?.state === "up";
  await until("it was seen", isSeen);

  t.match((await n2.holdfast(["maintenance", "db", "on"])).stdout, /maintenance of db is on: checkers look/);
  t.match((await statusOf(n1)).maintenance, { by: /.+ \(from n2\)|.+/ }, "told by n2, kept by n1");
  const status = (await n1.holdfast(["status"])).stdout;
  t.match(status, /\*\*\* MAINTENANCE of db, for .*nothing is restarted/);
  t.match(
    status,
    /db: if the nodes are cut off from each other, both run \(onIsolation: continue, no witness that records\)/,
  );
  const doctor = (await n1.holdfast(["doctor"], { mayFail: true })).stdout;
  t.match(doctor, /db: if the nodes are cut off from each other, both run/);
  t.match(doctor, /db is in maintenance/);

  process.kill(sleeper()!, "SIGKILL");
  await until("the checker sees that it died", isDown);
  await killDaemon(n1);
  await mirror.settled("PRIM", "SECOND");
  t.match((await statusOf(n1)).maintenance, { by: /./ }, "a daemon that comes back keeps to it");
  await until("the checker sees it again, after the grace", isDown, 20_000);
  await until("it is said what is not done", async () =>
    /maintenance is on: NO restart, though process\.sleeper is down/.test((await statusOf(n1)).reason),
  );
  t.same(starts(), ["n1 start"], "nothing was restarted");
  const story = (await n1.holdfast(["explain", "db"])).stdout.replace(/\s+/g, " ");
  t.match(story, /Maintenance was on, so nothing was done by itself/, "explain says so, too");
  await n1.exec(["sh", "-c", `echo goes on > ${mirror.data}/file`]);
  t.match((await n1.holdfast(["verify", "db"])).stdout, /equal|no difference|same/i, "replication goes on");

  await n1.powerCut();
  await n2.holdfast(["wait", "db", "WAIT"]);
  t.match(await statusOf(n2), { state: "WAIT", remedy: "holdfast prim db" }, "nobody takes over");
  t.match(
    (await n2.holdfast(["maintenance", "db", "off"])).stdout,
    /n1 is not heard, and takes it over when it is/,
  );
  await n2.holdfast(["maintenance", "db", "on"]);
  await n1.powerOn();
  await n1.startDaemon();
  await mirror.settled("PRIM", "SECOND");
  t.same(starts(), ["n1 start", "n1 start"], "it came back as it was");
  await until("it was seen once more", isSeen);

  process.kill(sleeper()!, "SIGKILL");
  await until("the checker sees that it died", isDown);
  await n1.holdfast(["maintenance", "db", "off"]);
  await until("now it is restarted", () => starts().at(-1) === "n1 restart");
  t.equal((await statusOf(n2)).maintenance, undefined, "n2 has heard it");
  t.notMatch((await n2.holdfast(["status"])).stdout, /MAINTENANCE/);
});
