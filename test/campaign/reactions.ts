/**
 * From a cause to what is done about it: how long each type of checker takes to find it on a real node, and from the death of a process to the
 * decision to start it again.
 */
import type { LogLine } from "../../core/daemon/engine.ts";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import { type Node, until } from "../cluster/testbed.ts";

/** What to do. */
export interface Reactions {
  rounds: number;
  tell(line: string): void;
}

const EVERY = "1s";
const SERVER = `Bun.serve({ port: 8080, hostname: "127.0.0.1", fetch: () => new Response("all is well") });
let other = null;
const open = () => { other = Bun.listen({ port: 8081, hostname: "127.0.0.1", socket: { data() {} } }); };
process.on("SIGUSR1", open);
process.on("SIGUSR2", () => other.stop(true));
open();`;
const FILES = {
  "server.ts": SERVER,
  "hooks/start_prim": `#!/bin/bash
exec -a checked-server ${process.execPath} $HOLDFAST_DIR/server.ts > /dev/null 2>&1 < /dev/null &
exec -a checked-sleeper sleep 100000 > /dev/null 2>&1 < /dev/null &
for i in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/8081) 2>/dev/null && exit 0; sleep 0.02; done
exit 1
`,
  "hooks/stop_prim": "#!/bin/bash\npkill -KILL -f '^checked-(server|sleeper)'; exit 0\n",
  "checkers/orders": "#!/bin/sh\ntest ! -e /run/orders-stuck\n",
};
/** What the kernel tells of is looked at once a minute besides, so that only its word counts. */
const YAML = `maxLoop: { count: 1000 }
processes: { sleeper: { argumentsRegex: "^checked-sleeper", interval: 60s } }
checkers:
  tcp: { port: { address: "127.0.0.1:8081", interval: ${EVERY}, action: none } }
  http: { page: { url: "http://127.0.0.1:8080/", interval: ${EVERY}, timeout: 500ms, action: none } }
  custom: { orders: { interval: ${EVERY} } }
  disk: { small: { path: /run/small, minFree: 20, interval: ${EVERY} } }
  ping: { host: { address: 10.77.0.201, when: prim, interval: ${EVERY}, timeout: 500ms, action: none } }
  interface: { repl: { name: repl, when: prim, interval: 60s, action: none } }
  ip: { own: { address: 10.99.0.1, interval: 60s, action: none } }
`;

interface Cause {
  resource: string;
  /** How it comes to be noticed, for the reader of the figures. */
  by: string;
  /** The line of the log that ends the wait. */
  line: RegExp;
  make(mirror: Mirror): unknown;
  mend?(mirror: Mirror): unknown;
}

const found = (resource: string): RegExp => new RegExp(`^Resource ${resource} set to down`);
const sh = (command: string) => (mirror: Mirror) => mirror.n1.exec(["sh", "-ec", command]);
const send = (program: string, signal: NodeJS.Signals) => (mirror: Mirror) =>
  mirror.n1.signal(pidOf(mirror.n1, program), signal);

function pidOf(node: Node, program: string): number {
  return node.processes().find(({ command }) => command.startsWith(program))!.pid;
}

const POLLED = `a look each ${EVERY}`;
const CAUSES: readonly Cause[] = [
  {
    resource: "process.sleeper",
    by: "pidfd, to the decision to restart",
    line: /Transient: restarted: process\.sleeper is down/,
    make: send("checked-sleeper", "SIGKILL"),
  },
  {
    resource: "interface.repl",
    by: "netlink",
    line: found("interface.repl"),
    make: sh("ip link set repl down"),
    mend: sh("ip link set repl up"),
  },
  {
    resource: "ip.own",
    by: "netlink",
    line: found("ip.own"),
    make: sh("ip address del 10.99.0.1/32 dev lan"),
    mend: sh("ip address add 10.99.0.1/32 dev lan"),
  },
  {
    resource: "tcp.port",
    by: POLLED,
    line: found("tcp.port"),
    make: send("checked-server", "SIGUSR2"),
    mend: send("checked-server", "SIGUSR1"),
  },
  {
    resource: "http.page",
    by: `${POLLED}, time limit 500ms`,
    line: found("http.page"),
    make: send("checked-server", "SIGSTOP"),
    mend: send("checked-server", "SIGCONT"),
  },
  {
    resource: "custom.orders",
    by: POLLED,
    line: found("custom.orders"),
    make: sh("touch /run/orders-stuck"),
    mend: sh("rm /run/orders-stuck"),
  },
  {
    resource: "disk.small",
    by: POLLED,
    line: found("disk.small"),
    make: sh("head -c 900k /dev/zero > /run/small/much"),
    mend: sh("rm /run/small/much"),
  },
  {
    resource: "ping.host",
    by: `${POLLED}, time limit 500ms`,
    line: found("ping.host"),
    make: ({ bed, host, n1 }) => bed.cut(host, n1, { lan: "lan" }),
    mend: ({ bed }) => bed.heal(),
  },
];

async function lines(node: Node): Promise<LogLine[]> {
  const { stdout } = await node.holdfast(["log", "db", "--json", "--lines", "200"]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as LogLine);
}

/** How long it took, ms, from before the cause to the time of the line. */
async function once(mirror: Mirror, { resource, line, make, mend }: Cause): Promise<number> {
  const { n1 } = mirror;
  const isUp = async (): Promise<boolean> => (await n1.holdfast(["get", "db", resource])).stdout === "up\n";
  await until(`${resource} is up`, isUp, 10_000, 200);
  const since = Date.now();
  await make(mirror);
  const seen = await until(
    `${resource} is noticed`,
    async () =>
      (await lines(n1)).find(({ time, text }) => Date.parse(time) >= since && line.test(text)) ?? null,
    10_000,
    200,
  );
  await mend?.(mirror);
  return Date.parse(seen.time) - since;
}

/** Runs it; returns a line of figures for each cause. */
export async function measureReactions({ rounds, tell }: Reactions): Promise<string> {
  const mirror = await createMirror({
    yaml: YAML,
    files: FILES,
    replicate: false,
    prepare: async (node) => {
      const small = "mkdir -p /run/small && mount -t tmpfs -o size=1m none /run/small";
      await node.exec(["sh", "-ec", `${small}; ip address add 10.99.0.${node.number}/32 dev lan`]);
    },
  });
  await using _bed = mirror.bed;
  await mirror.start();
  const report: string[] = [];
  for (const cause of CAUSES) {
    const took: number[] = [];
    for (let round = 0; round < rounds; round++) took.push(await once(mirror, cause));
    took.sort((a, b) => a - b);
    const middle = took[Math.floor(took.length / 2)]!;
    const line = `${cause.resource} (${cause.by}): median ${middle} ms, longest ${took.at(-1)!} ms of ${rounds}`;
    tell(line);
    report.push(line);
  }
  return report.join("\n");
}
