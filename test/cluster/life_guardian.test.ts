/**
 * The guardian with replication: SIGKILL and SIGSTOP of the daemon, of the replication process, of both, of everything of ours on PRIM. Never do two
 * nodes answer for the address, never is a line acknowledged that the node which goes on does not have.
 */
import { existsSync } from "node:fs";
import t, { type Test } from "tap";
import { type Life, onRealNodes, startLife } from "./life.ts";
import { VIRTUAL_IP } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

/** Asks the lan without pause who answers, until stopped; returns how often more than one node answered at once. */
function watchForTwo(life: Life): () => Promise<number> {
  let stop = false;
  let both = 0;
  const watching = (async () => {
    while (!stop) if ((await life.mirror.whoAnswers()).length > 1) both++;
  })();
  return async () => {
    stop = true;
    await watching;
    return both;
  };
}

type Words = readonly ("daemon" | "__guardian" | "__replication")[];

/** Sends a signal to processes of ours on n1 while the application writes, and waits until writes are acknowledged again. */
async function strike(
  life: Life,
  what: string,
  words: Words,
  signal: "SIGKILL" | "SIGSTOP",
): Promise<() => Promise<void>> {
  const { n1, t } = life;
  await life.writesGoOn(`before ${what}`);
  const answeredTwice = watchForTwo(life);
  const struck = words.map((word) => life.pidOf(n1, word));
  for (const pid of struck) n1.signal(pid, signal);
  await life.mirror.answeredBy(life.n2, 15_000);
  await life.writesGoOn(what);
  return async () => {
    for (const pid of struck) n1.signal(pid, "SIGCONT");
    await Bun.sleep(1000);
    t.equal(await answeredTwice(), 0, `${what}: never did two nodes answer for the address`);
  };
}

/** After n1 lost its role: n2 serves with everything that was acknowledged, n1 follows once it can. */
async function tookOver(life: Life, what: string): Promise<void> {
  const { n1, n2, t } = life;
  t.ok(life.isAppAlive(n2), `${what}: the application runs on n2`);
  t.notOk(life.isAppAlive(n1), `${what}: and no more on n1`);
  life.nothingLost(what, n2);
}

async function rejoins(life: Life, what: string, prim: Node): Promise<void> {
  const [first, second] = prim === life.n1 ? ["PRIM Ready", "SECOND Ready"] : ["SECOND Ready", "PRIM Ready"];
  await life.comesTo(what, first!, second!, prim, 30_000);
  life.nothingLost(what, prim);
  await life.verified(what, prim);
}

function scenario(name: string, run: (t: Test, life: Life) => Promise<void>): void {
  t.test(name, onRealNodes, async (t) => run(t, await startLife(t)));
}

scenario(
  "trap 35: the daemon is killed and back in time: nothing is lost, nothing restarts",
  async (t, life) => {
    const { n1 } = life;
    await life.writesGoOn("before");
    const app = life.application(n1);
    const daemon = life.pidOf(n1, "daemon");
    n1.signal(daemon, "SIGKILL");
    await until("it is gone", () => !existsSync(`/proc/${daemon}`), 1000, 1);
    await n1.startDaemon();
    await rejoins(life, "re-adopted", n1);
    t.equal(life.application(n1), app, "the application was not touched");
    life.hooks("re-adopted", [], []);
  },
);

scenario("trap 15: the daemon is stopped for long", async (_t, life) => {
  const over = await strike(life, "daemon SIGSTOP", ["daemon"], "SIGSTOP");
  await tookOver(life, "daemon SIGSTOP");
  await over();
  await rejoins(life, "daemon SIGCONT", life.n2);
});

scenario("the daemon is killed and stays away", async (_t, life) => {
  const over = await strike(life, "daemon SIGKILL", ["daemon"], "SIGKILL");
  await tookOver(life, "daemon SIGKILL");
  await over();
  await life.n1.startDaemon();
  await rejoins(life, "daemon started again", life.n2);
});

scenario("daemon and replication process are killed", async (_t, life) => {
  const over = await strike(life, "both SIGKILL", ["daemon", "__replication"], "SIGKILL");
  await tookOver(life, "both SIGKILL");
  await over();
  await life.n1.startDaemon();
  await rejoins(life, "daemon started again", life.n2);
});

scenario("everything of ours is stopped: the kernel silences the address", async (t, life) => {
  const over = await strike(life, "all SIGSTOP", ["daemon", "__guardian", "__replication"], "SIGSTOP");
  life.nothingLost("all SIGSTOP", life.n2);
  const said = `ether src ${life.n1.mac("lan")} and (src host ${VIRTUAL_IP} or arp src host ${VIRTUAL_IP})`;
  const ear = await life.mirror.host.spawn(["tcpdump", "-n", "-l", "-i", "lan", said]);
  await Bun.sleep(500);
  await over();
  ear.signal("SIGINT");
  t.notMatch(await new Response(ear.stdout).text(), / > |ARP/, "thawed, it does not get a packet out");
  await rejoins(life, "all SIGCONT", life.n2);
  await tookOver(life, "all SIGCONT");
});

scenario("everything of ours is killed: the address falls silent, the peer goes on", async (_t, life) => {
  const over = await strike(life, "all SIGKILL", ["daemon", "__guardian", "__replication"], "SIGKILL");
  life.nothingLost("all SIGKILL", life.n2);
  await life.n1.startDaemon();
  await rejoins(life, "daemon started again", life.n2);
  await tookOver(life, "daemon started again");
  await over();
});
