/**
 * The guardian's timeline (design: fencing complete by 0.8 T, takeover not before 1.0 T), and a daemon that comes back in time.
 */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { createMirror, type Mirror } from "./mirror.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);
const impossible = testbedImpossible();

/** The process whose command line has this word behind the binary. */
function pidOf(node: Node, word: string): number {
  const found = node.processes().find(({ command }) => command.split(" ")[1] === word);
  if (!found) throw new Error(`${node.name} runs no "${word}"`);
  return found.pid;
}

const isApplicationAlive = (node: Node): boolean =>
  node.processes().some(({ command }) => command.startsWith("sleep 100000"));

/** Asks the lan without pause who answers, until stopped; returns how often more than one node answered at once. */
function watchForTwo(mirror: Mirror): () => Promise<number> {
  let stop = false;
  let both = 0;
  const watching = (async () => {
    while (!stop) if ((await mirror.whoAnswers()).length > 1) both++;
  })();
  return async () => {
    stop = true;
    await watching;
    return both;
  };
}

t.test(
  "trap 16, 35a: on a busy machine daemon and guardian go before every other session, the application does not",
  {
    skip: impossible ?? (existsSync("/proc/self/autogroup") ? false : "this kernel does not weigh sessions"),
  },
  async (t) => {
    const mirror = await createMirror({ replicate: false });
    t.teardown(() => mirror.bed.destroy());
    const { n1 } = mirror;
    await mirror.start();
    const weight = (pid: number): string =>
      /nice (-?\d+)/.exec(readFileSync(`/proc/${pid}/autogroup`, "utf8"))?.[1] ?? "";
    const application = n1.processes().find(({ command }) => command.startsWith("sleep 100000"))!.pid;
    t.equal(weight(pidOf(n1, "daemon")), "-15", "the daemon");
    t.equal(weight(pidOf(n1, "__guardian")), "-15", "the guardian");
    t.equal(weight(application), "0", "the application");
  },
);

t.test(
  "trap 35: a daemon killed and back in time re-adopts what runs",
  { skip: impossible ?? false },
  async (t) => {
    const mirror = await createMirror({ replicate: false });
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2 } = mirror;
    await mirror.start();
    const before = await mirror.scripts(n1);
    const daemon = pidOf(n1, "daemon");
    n1.signal(daemon, "SIGKILL");
    await until("the daemon is gone", () => !n1.processes().some(({ pid }) => pid === daemon));
    await n1.startDaemon();
    await mirror.settled("PRIM", "SECOND");
    t.equal((await mirror.whoAnswers()).join(), "n1", "the address stayed");
    t.ok(isApplicationAlive(n1), "the application was not touched");
    t.same(await mirror.scripts(n1), before, "no hook ran");
    t.same(await mirror.states(n2), ["PRIM Ready", "SECOND Ready"]);
  },
);

t.test(
  "an address that fell silent while the guardian kept its daemon waiting speaks again",
  { skip: impossible ?? false },
  async (t) => {
    const mirror = await createMirror({ replicate: false });
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2 } = mirror;
    await mirror.start();
    await n2.holdfast(["stop", "db"]);
    await n1.holdfast(["wait", "db", "ALONE"]);
    const [daemon, guardian] = [pidOf(n1, "daemon"), pidOf(n1, "__guardian")];
    n1.signal(guardian, "SIGSTOP");
    n1.signal(daemon, "SIGSTOP");
    await Bun.sleep(150);
    n1.signal(daemon, "SIGCONT");
    await Bun.sleep(1300);
    n1.signal(guardian, "SIGCONT");
    await mirror.answeredBy(n1);
    await n1.holdfast(["wait", "db", "ALONE"]);
    const { stdout } = await n1.holdfast(["log", "db"]);
    t.match(stdout, /this node's daemon did not renew its right in time: the module is stopped at once/);
    t.ok(isApplicationAlive(n1));
  },
);

t.test(
  "trap 15: a daemon that is stopped loses its role before the peer takes it",
  { skip: impossible ?? false },
  async (t) => {
    const mirror = await createMirror({ replicate: false });
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2 } = mirror;
    await mirror.start();
    const answeredTwice = watchForTwo(mirror);
    const daemon = pidOf(n1, "daemon");
    n1.signal(daemon, "SIGSTOP");
    await mirror.answeredBy(n2);
    t.notOk(isApplicationAlive(n1), "the guardian killed the application");
    await Bun.sleep(500);
    n1.signal(daemon, "SIGCONT");
    await mirror.settled("SECOND", "PRIM");
    t.equal(await answeredTwice(), 0, "never did two nodes answer for the address");
    const { stdout } = await n1.holdfast(["log", "db", "--lines", "200"]);
    t.match(stdout, /daemon did not run for \d+ ms: it was stopped/, "the log tells why");
  },
);

t.test(
  "trap 22: every process of ours stopped, the kernel silences the address",
  { skip: impossible ?? false },
  async (t) => {
    const mirror = await createMirror({ replicate: false });
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2 } = mirror;
    await mirror.start();
    const answeredTwice = watchForTwo(mirror);
    const ours = n1.processes().filter(({ command }) => command.includes("holdfast"));
    for (const { pid } of ours) n1.signal(pid, "SIGSTOP");
    await mirror.answeredBy(n2);
    await Bun.sleep(1000);
    t.same(await mirror.whoAnswers(), ["n2"]);
    for (const { pid } of ours) n1.signal(pid, "SIGCONT");
    await until("n1 follows", async () => (await mirror.states(n2))[0] === "SECOND Ready", 20_000);
    t.equal(await answeredTwice(), 0, "never did two nodes answer for the address");
  },
);

t.test(
  "trap 16: a daemon stopped for half the timeout loses nothing",
  { skip: impossible ?? false },
  async (t) => {
    const mirror = await createMirror({ replicate: false, heartbeat: "{ interval: 200ms, timeout: 3s }" });
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2 } = mirror;
    await mirror.start();
    const before = [await mirror.scripts(n1), await mirror.scripts(n2)];
    for (let i = 0; i < 4; i++) {
      const node = i % 2 === 0 ? n1 : n2;
      const daemon = pidOf(node, "daemon");
      node.signal(daemon, "SIGSTOP");
      await Bun.sleep(1500);
      node.signal(daemon, "SIGCONT");
      await Bun.sleep(1000);
    }
    t.same(await mirror.states(), ["PRIM Ready", "SECOND Ready"]);
    t.same([await mirror.scripts(n1), await mirror.scripts(n2)], before, "not one hook ran");
  },
);
