/**
 * A cloud's load balancer between real nodes: it asks both of them all the time while the roles move, and at no time are two the right ones.
 */
import { existsSync, readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { createMirror, type Mirror } from "./mirror.ts";
import { type Answer, PORT } from "./probe_client.ts";
import { type Host, type Node, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);

const CLIENT = `${import.meta.dir}/probe_client.ts`;
/** Slow enough that an answer would be caught in the middle of it. */
const slow = (name: string, work: string): string => `#!/bin/bash
echo "${name} begins $(date +%s.%N)" >> RECORD/$HOLDFAST_NODE.times
sleep 0.4
${work}
echo "${name} ends $(date +%s.%N)" >> RECORD/$HOLDFAST_NODE.times
`;
const PID_FILE = "/run/holdfast-test-app.pid";
const files = {
  "hooks/start_prim": slow("start", `sleep 100000 & echo $! > ${PID_FILE}`),
  "hooks/stop_prim": slow("stop", `kill $(cat ${PID_FILE}) 2>/dev/null`),
};

/** A mirror without a virtual IP, and what was answered so far. */
class Probed {
  constructor(
    readonly t: Test,
    readonly mirror: Mirror,
  ) {}

  get record(): string {
    return `${this.mirror.bed.dir}/answers`;
  }

  get answers(): Answer[] {
    if (!existsSync(this.record)) return [];
    const lines = readFileSync(this.record, "utf8").trimEnd().split("\n");
    return lines.map((line) => JSON.parse(line) as Answer).sort((one, other) => one.sent - other.sent);
  }

  /** What a node answers from now on, once. */
  async said(node: Node, status: number): Promise<void> {
    const from = performance.timeOrigin + performance.now();
    await until(
      `${node.name} answers ${status}`,
      () => this.answers.some((one) => one.node === node.name && one.sent > from && one.status === status),
      15_000,
    );
  }

  /** When a node's hook began or ended, wall clock, ms; oldest first. */
  times(node: Node, what: string): number[] {
    const file = `${this.mirror.bed.dir}/${node.name}.times`;
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
    return lines.flatMap((line) => (line.startsWith(what) ? [Number(line.slice(what.length)) * 1000] : []));
  }

  /** Those that were the right one, in order of time: one that answers again after another did comes twice. */
  rightOnes(): string[] {
    const yes = this.answers.filter(({ status }) => status === 200);
    return yes.map(({ node }) => node).filter((node, index, all) => node !== all[index - 1]);
  }

  /** No yes is heard between the first instant of a stop hook and the last of the next start hook. */
  closedInTime(node: Node): void {
    const starts = this.times(node, "start ends ");
    for (const stop of this.times(node, "stop begins ")) {
      const next = starts.find((start) => start > stop) ?? Number.POSITIVE_INFINITY;
      const wrong = this.answers.filter(
        (one) => one.node === node.name && one.status === 200 && one.sent > stop && one.received < next,
      );
      this.t.same(
        wrong,
        [],
        `${node.name}: closed before its stop hook began, until its next start had ended`,
      );
    }
  }
}

type Process = ReturnType<Node["processes"]>[number];
const ours = (node: Node): Process[] =>
  node.processes().filter(({ command }) => command.includes("holdfast"));
const isDaemon = ({ command }: Process): boolean => command.split(" ")[1] === "daemon";

async function ask(host: Host, node: Node, path: string): Promise<string> {
  const argv = [process.execPath, CLIENT, "ask", node.addresses["lan"]!, path];
  return (await host.exec(argv)).stdout.trim();
}

/** How often a node's daemon did not run for a while. */
async function timesLate(node: Node): Promise<number> {
  const { stdout } = await node.holdfast(["log", "db", "--lines", "2000"]);
  return stdout.split("\n").filter((line) => line.includes("did not run for")).length;
}

/** The node's own word about the port. */
async function port(node: Node): Promise<{ state?: string; detail?: string }> {
  const status = await node.json<{
    modules: {
      db: { nodes: Record<string, { resources: Record<string, { state: string; detail?: string }> }> };
    };
  }>(["status"]);
  return status.modules.db.nodes[node.name]!.resources["probe.port"] ?? {};
}

t.test(
  "G4: at no time do two nodes say yes, and a stop says no first",
  { skip: testbedImpossible() ?? false },
  async (t) => {
    const mirror = await createMirror({
      yaml: `replicate:\n  paths:\n    - path: DATA\nprobe: { port: ${PORT} }\n`,
      files,
    });
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2, host } = mirror;
    const probed = new Probed(t, mirror);
    const addresses = [n1, n2].map(({ addresses }) => addresses["lan"]!);
    await host.spawn([process.execPath, CLIENT, "watch", probed.record, ...addresses], {
      log: `${mirror.bed.dir}/client.log`,
    });
    await probed.said(n1, 503);
    await mirror.start();
    await probed.said(n1, 200);
    await probed.said(n2, 503);
    t.equal(await ask(host, n1, "/probe/other"), "503", "a module that does not exist");
    t.equal(await ask(host, n1, "/status"), "404", "there is nothing else");

    await n1.holdfast(["swap", "db"]);
    await mirror.settled("SECOND", "PRIM");
    await probed.said(n2, 200);

    t.comment("everything of ours on n2 stands still, and its daemon is the first to wake up when n1 serves");
    const stopped = ours(n2);
    for (const { pid } of stopped) n2.signal(pid, "SIGSTOP");
    await probed.said(n1, 200);
    for (const { pid } of stopped.filter(isDaemon)) n2.signal(pid, "SIGCONT");
    await Bun.sleep(1500);
    for (const { pid } of stopped) n2.signal(pid, "SIGCONT");
    await mirror.settled("PRIM", "SECOND");
    await probed.said(n2, 503);

    t.comment("n1 loses its power");
    await n1.powerCut();
    await probed.said(n2, 200);
    await n1.powerOn();
    await n1.startDaemon();
    await mirror.settled("SECOND", "PRIM");

    t.comment("somebody floods the port of the primary");
    const before = await timesLate(n2);
    await host.exec([process.execPath, CLIENT, "flood", "1000", addresses[1]!]);
    await probed.said(n2, 200);
    t.equal(await timesLate(n2), before, "its daemon was never late");

    await n2.holdfast(["stop", "db"]);
    await n2.holdfast(["wait", "db", "STOP"]);
    await probed.said(n1, 200);
    t.same(probed.rightOnes(), ["n1", "n2", "n1", "n2", "n1"], "one after the other");
    t.equal(probed.times(n2, "stop begins ").length, 1, "n2 was stopped once by its hook");
    for (const node of [n1, n2]) probed.closedInTime(node);

    t.comment("a port that another program has, and that changes while the module runs");
    const occupant = await n1.spawn([
      process.execPath,
      "-e",
      `Bun.listen({ hostname: "::", port: ${PORT + 1}, socket: { data() {} } })`,
    ]);
    await n1.exec(["sed", "-i", `s/port: ${PORT}/port: ${PORT + 1}/`, `${n1.varDir}/modules/db/module.yaml`]);
    await n1.holdfast(["module", "apply", "db"]);
    await until("its status says so", async () => (await port(n1)).state === "down");
    t.match((await port(n1)).detail, /TCP port 9504: another program has it/);
    const doctor = await n1.holdfast(["doctor"], { mayFail: true });
    t.match(doctor.stdout, /probe.*db: load balancers cannot ask on TCP port 9504/);
    t.equal(doctor.status, 4);
    await probed.said(n1, 0);
    occupant.signal("SIGKILL");
    await until("it is free", async () => (await port(n1)).state === "up");
    t.equal((await mirror.states(n1))[0], "ALONE Ready", "the module never noticed");
  },
);
