/**
 * Modules without roles on three real nodes: a farm, which runs on all of them, and a light one, which runs on one. Their life from start to
 * stop; a start that fails; a daemon that dies, and one that is late; a node that is away; a revision that all take, or none.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { localApi } from "../../core/api/api.ts";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { PORT } from "./probe_client.ts";
import { createTestbed, type Node, type Testbed, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);

const T_MS = 3000;
const PID_FILE = "/run/holdfast-test-app.pid";
const HOOKS = "prestart start_both stop_both poststop transition";
const START = ["transition STOP WAIT", "prestart", "transition WAIT UP", "start_both"];
const STOP = ["stop_both", "transition UP WAIT", "poststop", "transition WAIT STOP"];

/** Writes down that it ran; `start_both` starts an application that stays, and fails where the test says so. */
function hook(name: string): string {
  const what = name === "transition" ? `${name} $HOLDFAST_FROM $HOLDFAST_TO` : name;
  const work: Record<string, string> = {
    start_both: `[ -e RECORD/$HOLDFAST_NODE.broken ] && . RECORD/$HOLDFAST_NODE.broken\nsleep 100000 & echo $! > ${PID_FILE}`,
    stop_both: `kill $(cat ${PID_FILE})`,
    config: `[ -e RECORD/$HOLDFAST_NODE.unready ] && exit 9
touch RECORD/$HOLDFAST_NODE.here
while [ -e RECORD/together ] && ! [ -e RECORD/n1.here -a -e RECORD/n2.here ]; do sleep 0.05; done`,
    deconfig: "[ -e RECORD/$HOLDFAST_NODE.unready ] && exit 8",
  };
  return `#!/bin/bash\necho "${what}" >> RECORD/$HOLDFAST_NODE.$HOLDFAST_MODULE\n${work[name] ?? ""}\nexit 0\n`;
}

type Told = { status: number; message: string; data?: Record<string, unknown> };

class Lab {
  readonly #seen = new Map<string, number>();

  private constructor(
    readonly t: Test,
    readonly bed: Testbed,
    readonly sources: string,
  ) {}

  static async start(t: Test): Promise<Lab> {
    const bed = await createTestbed({ nodes: 3, hosts: 0, diskMiB: 128 });
    t.teardown(() => bed.destroy());
    const lab = new Lab(t, bed, mkdtempSync(join(bed.dir, "modules-")));
    const file = join(bed.dir, "cluster.yaml");
    const places = bed.nodes.map(
      ({ name }, index) =>
        `  ${name}: { addresses: { lan: 10.77.0.${index + 1}, repl: 10.78.0.${index + 1} } }\n`,
    );
    const heartbeat = `heartbeat: { interval: 200ms, timeout: ${T_MS}ms }\n`;
    writeFileSync(file, `name: test\nnodes:\n${places.join("")}${heartbeat}`);
    const [n1, ...others] = bed.nodes as [Node, ...Node[]];
    await n1.holdfast(["cluster", "create", file, "--as", "n1"]);
    await n1.startDaemon();
    for (const node of others) {
      const { token } = await n1.json<{ token: string }>(["cluster", "token"]);
      await node.holdfast(["cluster", "join", token, "--as", node.name]);
      await node.startDaemon();
    }
    return lab;
  }

  get nodes(): [Node, Node, Node] {
    return this.bed.nodes as [Node, Node, Node];
  }

  /** Writes a module's files where people would, and applies them on n1. */
  async apply(module: string, yaml: string, hooks = HOOKS): Promise<Told> {
    const directory = join(this.sources, module);
    mkdirSync(join(directory, "hooks"), { recursive: true });
    writeFileSync(join(directory, "module.yaml"), yaml);
    for (const name of hooks.split(" "))
      writeFileSync(join(directory, "hooks", name), hook(name).replaceAll("RECORD", this.bed.dir), {
        mode: 0o755,
      });
    return await this.run(this.nodes[0], "module", "apply", module, "--from", directory);
  }

  /** A command's answer, whatever its exit status. */
  async run(node: Node, ...args: string[]): Promise<Told> {
    const { stdout } = await node.holdfast([...args, "--json"], { mayFail: true });
    return JSON.parse(stdout) as Told;
  }

  /** The hooks that ran on a node since this was last asked. */
  ran(node: Node, module = "web"): string[] {
    const file = join(this.bed.dir, `${node.name}.${module}`);
    const all = existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
    const before = this.#seen.get(file) ?? 0;
    this.#seen.set(file, all.length);
    return all.slice(before);
  }

  async told(by: Node, module = "web"): Promise<Record<string, NodeStatus>> {
    const { body } = await localApi(by.on.path(by.varDir)).call("GET", "/status");
    return (body as StatusDocument).modules[module]?.nodes ?? {};
  }

  /** Every node that is on tells the same of all: `state readiness`, by node. */
  async comesTo(what: string, wanted: Record<string, string>, tellers = this.nodes as Node[]): Promise<void> {
    const look = async (): Promise<Record<string, string>[]> =>
      await Promise.all(
        tellers.map(async (node) =>
          Object.fromEntries(
            Object.entries(await this.told(node)).map(([name, { state, readiness }]) => [
              name,
              `${state} ${readiness}`,
            ]),
          ),
        ),
      );
    const expected = tellers.map(() => wanted);
    await until(what, async () => Bun.deepEquals(await look(), expected), 20_000).catch(() => undefined);
    this.t.same(await look(), expected, what);
  }

  application(node: Node): number | undefined {
    return node.processes().find(({ command }) => command === "sleep 100000")?.pid;
  }

  /** What each node answers to a load balancer that asks for a module. */
  probed(module: string): Promise<string[]> {
    const client = `${import.meta.dir}/probe_client.ts`;
    const ask = (node: Node) =>
      node.exec([process.execPath, client, "ask", node.addresses["lan"]!, `/probe/${module}`]);
    return Promise.all(this.nodes.map(async (node) => (await ask(node)).stdout.trim()));
  }

  daemon(node: Node): number {
    const found = node.processes().find(({ command }) => command.startsWith(`${this.bed.binary} daemon`));
    if (!found) throw new Error(`${node.name} runs no daemon`);
    return found.pid;
  }
}

const UP = "UP Ready";
const ALL_UP = { n1: UP, n2: UP, n3: UP };
const STOPPED = "STOP NotReady";
const FARM = `kind: farm\nprobe: { port: ${PORT} }\n`;

t.test("a farm and a light module on three nodes", { skip: testbedImpossible() ?? false }, async (t) => {
  const lab = await Lab.start(t);
  const [n1, n2, n3] = lab.nodes;
  await until("all three nodes hear each other", async () => {
    const { status, data } = await lab.apply("web", FARM);
    return status === 0 && Bun.deepEquals(data?.["away"], []);
  });

  await t.test("each node runs its own", async (t) => {
    t.match(await lab.run(n2, "start", "web", "--all"), { status: 0 });
    await lab.comesTo("started everywhere", ALL_UP);
    for (const node of lab.nodes) t.same(lab.ran(node), START, `${node.name}: hooks in order`);
    t.match(await lab.run(n3, "wait", "web", "UP", "--all"), { status: 0 });
    const { modules } = await n1.json<StatusDocument>(["status"]);
    t.match(modules["web"], { kind: "farm", nodes: { n1: { upToDate: null, reason: "runs" } } });
    t.match((await lab.told(n1))["n1"]?.resources, {
      "heartbeat.lan.n2": { state: "up" },
      "heartbeat.repl.n3": { state: "up" },
    });
    t.equal((await lab.told(n1))["n2"]?.upToDate, null, "nor is another node's data in question");
    t.same(await lab.probed("web"), ["200", "200", "200"], "a load balancer finds them all");
    t.same(await lab.probed("one"), ["503", "503", "503"], "and no other module");
  });

  await t.test("what only a mirror knows is refused in words", async (t) => {
    for (const command of ["prim", "second", "swap"])
      t.match(await lab.run(n1, command, "web"), {
        status: 2,
        message: /^web is a farm: it has no primary and no secondary/,
      });
    t.match(await lab.run(n1, "verify", "web"), {
      status: 2,
      message: /web is a farm: it replicates nothing/,
    });
    for (const node of lab.nodes) t.same(lab.ran(node), [], `${node.name}: nothing ran`);
  });

  await t.test("one node's commands are its own", async (t) => {
    const stopped = await lab.run(n2, "stop", "web");
    t.match(stopped, { status: 0, message: "stopped on n2; n1, n3 go on (--all stops it everywhere)" });
    t.same(lab.ran(n2), STOP);
    t.equal(lab.application(n2), undefined);
    await lab.comesTo("stopped on n2", { ...ALL_UP, n2: STOPPED });
    t.same(await lab.probed("web"), ["200", "503", "200"], "a load balancer leaves it out");
    t.match(await lab.run(n2, "start", "web"), { status: 0, message: "n2 is UP: runs" });
    t.same(lab.ran(n2), START);
    t.match(await lab.run(n2, "restart", "web"), { status: 0 });
    t.same(lab.ran(n2), ["stop_both", "start_both"]);
    t.match(await lab.run(n2, "stopstart", "web"), { status: 0 });
    t.same(lab.ran(n2), [...STOP, ...START]);
    t.match(await lab.run(n2, "forcestop", "web"), { status: 0 });
    t.same(lab.ran(n2), STOP.slice(1), "no stop hook: what runs is killed");
    t.equal(lab.application(n2), undefined);
    t.match(await lab.run(n2, "start", "web"), { status: 0 });
    lab.ran(n2);
    for (const node of [n1, n3]) t.same(lab.ran(node), [], `${node.name}: nothing ran`);
  });

  await t.test("a start that fails stops the module there, and only there", async (t) => {
    await lab.run(n3, "stop", "web");
    lab.ran(n3);
    const stopped = await lab.run(n3, "stop", "web");
    t.match(stopped, {
      status: 0,
      message: "n3 is STOP already; nothing was done",
      data: { changed: false },
    });
    t.same(lab.ran(n3), []);
    const broken = join(lab.bed.dir, "n3.broken");
    writeFileSync(broken, "kill -9 $$");
    const killed = await lab.run(n3, "start", "web");
    t.match(killed, { status: 1, message: /start_both failed on n3: .*killed by .*: holdfast log web/ });
    lab.ran(n3);
    writeFileSync(broken, "exit 7");
    const failed = await lab.run(n3, "start", "web");
    t.match(failed, { status: 1, message: /start_both failed on n3: exit status 7 .*: holdfast log/ });
    t.same(lab.ran(n3), [...START, ...STOP]);
    await lab.comesTo("stopped on n3", { ...ALL_UP, n3: STOPPED });
    t.match((await lab.told(n1))["n3"], { reason: /exit status 7/, remedy: "holdfast start web" });
    rmSync(broken);
    t.match(await lab.run(n3, "start", "web"), { status: 0 });
    lab.ran(n3);
    const again = await lab.run(n3, "start", "web");
    t.match(again, { status: 0, message: "n3 is UP already; nothing was done", data: { changed: false } });
    t.same(lab.ran(n3), []);
  });

  await t.test("a daemon that dies is back, and what it started went on", async (t) => {
    const pid = lab.application(n1);
    n1.signal(lab.daemon(n1), "SIGKILL");
    await until("it is dead", () => !n1.processes().some(({ command }) => command.includes("daemon --var")));
    await n1.startDaemon();
    await lab.comesTo("adopted", ALL_UP);
    t.equal(lab.application(n1), pid);
    t.same(lab.ran(n1), [], "no hook ran");
  });

  await t.test("a daemon that is late is fenced, and starts the application again", async (t) => {
    const pid = lab.application(n1);
    const daemon = lab.daemon(n1);
    n1.signal(daemon, "SIGSTOP");
    await until("its guardian has killed the application", () => lab.application(n1) === undefined);
    await lab.comesTo("n1 is silent", { n1: "UNKNOWN NotReady", n2: UP, n3: UP }, [n2, n3]);
    n1.signal(daemon, "SIGCONT");
    await lab.comesTo("n1 is back", ALL_UP);
    t.same(lab.ran(n1), ["transition UP WAIT", "prestart", "transition WAIT UP", "start_both"]);
    t.not(lab.application(n1), pid);
    t.type(lab.application(n1), "number");
  });

  await t.test("a node that is away takes the revision when it is back, before it starts", async (t) => {
    await n3.powerCut();
    await lab.comesTo("n3 is off", { n1: UP, n2: UP, n3: "UNKNOWN NotReady" }, [n1, n2]);
    const applied = await lab.apply("web", `${FARM}maxLoop: { count: 7 }\n`);
    t.match(applied, { status: 0, data: { away: ["n3"] } });
    for (const node of [n1, n2]) t.same(lab.ran(node), [], `${node.name}: it went on`);
    await n3.powerOn();
    await n3.startDaemon();
    await lab.comesTo("n3 is back", ALL_UP);
    const revision = (applied.data!["revision"] as string).slice(0, 12);
    for (const [name, told] of Object.entries(await lab.told(n3)))
      t.equal(told.revision, revision, `${name} has the new revision`);
    t.same(lab.ran(n3), START, "it started once, with that");
  });

  await t.test("all nodes take a revision, or none", async (t) => {
    const before = (await lab.told(n1))["n1"]?.revision;
    for (const node of [n1, n2]) await lab.run(node, "stop", "web");
    const balanced = `${FARM}loadBalancing: { mode: external }\n`;
    const refused = await lab.apply("web", balanced);
    t.match(refused, {
      status: 1,
      message: /^nothing was changed: web is UP on n3, and this needs it stopped/,
    });
    for (const node of lab.nodes)
      for (const { revision } of Object.values(await lab.told(node))) t.equal(revision, before);
    await lab.run(n3, "stop", "web");
    const applied = await lab.apply("web", balanced);
    t.match(applied, { status: 0, message: /is loaded on n1, n2, n3/ });
    const after = (applied.data!["revision"] as string).slice(0, 12);
    for (const node of lab.nodes)
      for (const { revision } of Object.values(await lab.told(node))) t.equal(revision, after);
    t.match(await lab.run(n1, "start", "web", "--all"), { status: 0 });
    await lab.comesTo("started everywhere", ALL_UP);
  });

  await t.test(
    "config prepares each node before a revision counts, or refuses it; deconfig clears away",
    async (t) => {
      const apply = async (yaml = "", module = "tuned") =>
        await lab.apply(module, `kind: light\nnodes: [n1, n2]\n${yaml}`, "config deconfig");
      const unready = join(lab.bed.dir, "n2.unready");
      const ran = (module = "tuned") => lab.nodes.map((node) => lab.ran(node, module));
      const revision = async (by: Node) => (await lab.told(by, "tuned"))[by.name]?.revision;
      const together = join(lab.bed.dir, "together");
      writeFileSync(together, "");
      t.match(await apply(), { status: 0 }, "on all nodes at once: each has waited for the other");
      rmSync(together);
      t.same(ran(), [["config"], ["config"], []], "n3 is none of its nodes");
      t.match(await apply(), { status: 0 });
      t.same(ran(), [[], [], []], "nothing changed");

      const before = await revision(n1);
      writeFileSync(unready, "");
      t.match(await apply("maxLoop: { count: 7 }\n"), {
        status: 1,
        message:
          /^nothing was changed: n2 refuses revision [0-9a-f]{12} of tuned: config failed with exit status 9/,
      });
      t.same(ran(), [["config", "config"], ["config", "config"], []], "both are prepared for what stays");
      t.same([await revision(n1), await revision(n2)], [before, before]);
      rmSync(unready);
      t.match(await apply("maxLoop: { count: 7 }\n"), { status: 0 });

      await n2.powerCut();
      const applied = await apply("maxLoop: { count: 8 }\n");
      t.match(applied, { status: 0, data: { away: ["n2"] } });
      writeFileSync(unready, "");
      await n2.powerOn();
      await n2.startDaemon();
      const why = async () => (await lab.told(n2, "tuned"))["n2"]?.reason ?? "";
      await until(
        "n2 says why it does not follow",
        async () => /config failed with exit status 9/.test(await why()),
        20_000,
      );
      rmSync(unready);
      const newest = (applied.data!["revision"] as string).slice(0, 12);
      await until("n2 follows", async () => (await revision(n2)) === newest, 20_000);

      ran();
      writeFileSync(unready, "");
      t.match(await lab.run(n1, "module", "remove", "tuned"), { status: 0, message: /^(?!.*failed)/ });
      t.match(await lab.run(n2, "module", "remove", "tuned"), {
        status: 0,
        message: /is removed from n2.*; deconfig failed with exit status 8/,
      });
      t.same(ran(), [["deconfig"], ["deconfig"], []]);

      const nothingOf = (module: string) => {
        for (const node of lab.nodes)
          for (const place of ["modules", "state"])
            t.notOk(existsSync(node.on.path(`${node.varDir}/${place}/${module}`)), `${node.name}: ${place}`);
      };
      t.match(await apply("", "fresh"), {
        status: 1,
        message: /^nothing was changed: n3 has tuned as module number \d+/,
      });
      t.same(ran("fresh"), [[], [], []], "nothing runs anywhere as long as a node refuses");
      nothingOf("fresh");
      t.match(await lab.run(n3, "module", "remove", "tuned"), { status: 0 });
      t.match(await apply("", "fresh"), {
        status: 1,
        message: /^nothing was changed: n2 refuses .*exit status 9.*\nn2: deconfig failed with exit status 8/,
      });
      t.same(
        ran("fresh"),
        [["config", "deconfig"], ["config", "deconfig"], []],
        "and what has run is undone",
      );
      nothingOf("fresh");
      rmSync(unready);
      t.match(await apply("", "fresh"), { status: 0 });
      t.same(ran("fresh"), [["config"], ["config"], []]);
    },
  );

  await t.test("a light module lives on the node that it names", async (t) => {
    await lab.run(n1, "stop", "web", "--all");
    t.match(await lab.apply("job", "kind: light\nnodes: [n1]\n"), { status: 0 });
    t.match(await lab.run(n3, "start", "job", "--all"), { status: 0, message: "n1: n1 is UP: runs" });
    t.same(lab.ran(n1, "job"), START);
    const seen = async () => (await lab.told(n3, "job"))["n1"]?.state === "UP";
    await until("n3 knows of it", seen);
    t.same(Object.keys(await lab.told(n3, "job")), ["n1"]);
    for (const command of ["start", "stop"])
      t.match(await lab.run(n3, command, "job"), {
        status: 2,
        message: /job does not run on n3: its nodes are n1/,
      });
    t.same(lab.ran(n3, "job"), []);
    t.match(await lab.run(n1, "boot", "job", "never"), { status: 0 });
    await n1.powerCut();
    await n1.powerOn();
    await n1.startDaemon();
    await lab.run(n1, "wait", "job", "STOP");
    t.same(lab.ran(n1, "job"), [], "it does not start by itself");
  });
});
