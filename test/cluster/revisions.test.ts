/**
 * Revisions of a module on real nodes, while the application writes: applied live, rolled back, caught up after an absence, with the network cut
 * and daemons killed in the middle of the hand-over, on two nodes at once. All the time both nodes are watched: PRIM and SECOND never have
 * different revisions, and the application is never started again for what may change while it runs.
 */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import t, { type Test } from "tap";
import { type Life, onRealNodes, startLife } from "./life.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

/** Two different revisions may be told for so long: a switch reaches the other node within a heartbeat. */
const PASSING_MS = 1000;
const SAMPLE_MS = 40;

type Applied = { status: number; message: string; data?: { revision: string; away?: string[] } };

/** The module as people and programs work on it. */
class Module {
  constructor(readonly life: Life) {}

  path(node: Node, file = ""): string {
    return node.on.path(`${node.varDir}/modules/db/${file}`);
  }

  async apply(node: Node, ...args: string[]): Promise<Applied> {
    return await this.run(node, "apply", "db", ...args);
  }

  async run(node: Node, command: string, ...args: string[]): Promise<Applied> {
    const { stdout, stderr } = await node.holdfast(["module", command, ...args, "--json"], { mayFail: true });
    if (stdout.trim() === "") throw new Error(`module ${command} ${args.join(" ")}: ${stderr}`);
    return JSON.parse(stdout) as Applied;
  }

  /** Sets a value of the module that may change while it runs. */
  setMaxLoop(node: Node, count: number): void {
    const file = this.path(node, "module.yaml");
    const text = readFileSync(file, "utf8").replace(/^maxLoop:.*\n/m, "");
    writeFileSync(file, `${text}maxLoop: { count: ${count} }\n`);
  }

  /** As people do it, with plain git: back to the revision that works. */
  async discardEdits(node: Node): Promise<void> {
    const directory = `${node.varDir}/modules/db`;
    await node.exec(["git", "-C", directory, "checkout", "-qf", "refs/holdfast/active", "--", "."]);
    // Git leaves that to the kernel, and a power cut would take it.
    await node.exec(["sync", "-f", directory]);
  }

  async revision(node: Node): Promise<string> {
    return (await this.life.status(node)).revision ?? "";
  }

  /** Both nodes work with one revision, and their files are those of it. */
  async agree(what: string, expected?: string): Promise<void> {
    const { n1, n2, t } = this.life;
    const both = async (): Promise<string[]> => [await this.revision(n1), await this.revision(n2)];
    await until(`${what}: one revision`, async () => new Set(await both()).size === 1, 20_000);
    const [one] = await both();
    if (expected !== undefined) t.equal(one, expected.slice(0, 12), `${what}: that revision`);
    await until(`${what}: the files`, () => this.text(n1) === this.text(n2)).catch(() => undefined);
    t.equal(this.text(n1), this.text(n2), `${what}: the same files`);
  }

  text(node: Node): string {
    return readFileSync(this.path(node, "module.yaml"), "utf8");
  }
}

/** Watches both nodes until it is called again; then tells for how long PRIM and SECOND had different revisions, at the longest. */
function watch(life: Life): () => Promise<void> {
  let isOver = false;
  let longest = 0;
  let since: number | null = null;
  let seen = 0;
  const look = async (): Promise<void> => {
    const told = await Promise.all(
      [life.status(life.n1), life.status(life.n2)].map((one) => one.catch(() => null)),
    );
    const paired =
      told
        .map((one) => one?.state)
        .sort()
        .join() === "PRIM,SECOND";
    if (paired) seen++;
    const differ = paired && told[0]?.revision !== told[1]?.revision;
    const now = performance.now();
    since = differ ? (since ?? now) : null;
    longest = Math.max(longest, now - (since ?? now));
  };
  const done = (async () => {
    while (!isOver) {
      await look();
      await Bun.sleep(SAMPLE_MS);
    }
  })();
  return async () => {
    isOver = true;
    await done;
    life.t.ok(seen > 10, `PRIM and SECOND were seen together ${seen} times`);
    life.t.ok(longest < PASSING_MS, `with different revisions for ${Math.round(longest)} ms at the longest`);
  };
}

/** The application is the same process all the while, and no hook ran. */
async function undisturbed(t: Test, life: Life, what: string, work: () => Promise<void>): Promise<void> {
  life.ran(life.n1);
  life.ran(life.n2);
  const before = [life.application(life.n1), life.pidOf(life.n1, "__replication")];
  await work();
  await life.writesGoOn(what);
  life.hooks(what, [], []);
  t.same(
    [life.application(life.n1), life.pidOf(life.n1, "__replication")],
    before,
    `${what}: nothing was started again`,
  );
}

t.test("revisions while the application writes", onRealNodes, async (t) => {
  const life = await startLife(t, { heartbeat: "{ interval: 200ms, timeout: 2s }" });
  const { n1, n2, mirror } = life;
  const module = new Module(life);
  await life.writesGoOn("before");
  const stopWatching = watch(life);

  await t.test(
    "what may change while it runs, changes on both nodes; the rest is refused before anything is touched",
    async (t) => {
      await undisturbed(t, life, "applied live", async () => {
        const first = await module.revision(n1);
        module.setMaxLoop(n1, 7);
        appendFileSync(
          module.path(n1, "module.yaml"),
          "timeouts: { start: 2m }\nheartbeat: { interval: 100ms, timeout: 3s }\n",
        );
        const dry = await module.apply(n1, "--dry-run");
        t.match(dry, {
          status: 0,
          message: /would be loaded on n1, n2; all of it while the module runs:\n.*timeouts/s,
        });
        t.equal(await module.revision(n1), first, "a question changes nothing");
        const applied = await module.apply(n1, "-m", "Live");
        t.match(applied, { status: 0, message: /is loaded on n1, n2$/ });
        await module.agree("applied live", applied.data!.revision);

        const text = module.text(n1);
        writeFileSync(module.path(n1, "module.yaml"), text.replace("10.77.0.100/24", "10.77.0.101/24"));
        const refused = await module.apply(n1);
        t.match(refused, {
          status: 1,
          message: /nothing was changed: db is PRIM on n1.*stopped.*virtualIps/s,
        });
        writeFileSync(module.path(n1, "module.yaml"), text);
        await module.agree("refused", applied.data!.revision);

        const back = await module.run(n1, "rollback", "db");
        t.match(back, { status: 0 });
        await module.agree("rolled back", back.data!.revision);
        t.notMatch(module.text(n2), /maxLoop/);
      });
      for (const node of [n1, n2]) {
        const git = await node.exec(["git", "-C", `${node.varDir}/modules/db`, "log", "--format=%s"]);
        t.match(
          git.stdout,
          /^Back to \w+: .*\nLive\nFirst revision\n$/,
          `${node.name}: plain git reads the history`,
        );
        const fsck = await node.exec(["git", "-C", `${node.varDir}/modules/db`, "fsck", "--strict"], {
          mayFail: true,
        });
        t.equal(fsck.status, 0, `${node.name}: git fsck: ${fsck.stderr}`);
        t.equal(
          (await node.exec(["git", "-C", `${node.varDir}/modules/db`, "status", "--porcelain"])).stdout,
          "",
        );
      }
    },
  );

  await t.test("the other node has moved on: refused, and how to get it", async (t) => {
    await undisturbed(t, life, "moved on", async () => {
      writeFileSync(module.path(n2, "NOTES.md"), "edited on n2\n");
      module.setMaxLoop(n1, 5);
      t.match(await module.apply(n1), {
        status: 0,
        message: /n2: the files in its directory stay as they are: they are being edited/,
      });
      const refused = await module.apply(n2);
      t.match(refused, { status: 1, message: /moved on to revision .*holdfast module upgrade db --applied/ });
      t.match(await module.run(n2, "upgrade", "db", "--applied"), { status: 0 });
      const applied = await module.apply(n2);
      t.match(applied, { status: 0, message: /loaded on n1, n2/ });
      await module.agree("merged", applied.data!.revision);
      t.equal(readFileSync(module.path(n1, "NOTES.md"), "utf8"), "edited on n2\n");
    });
  });

  await t.test("two at once: one gets through", async (t) => {
    await undisturbed(t, life, "two at once", async () => {
      module.setMaxLoop(n1, 11);
      module.setMaxLoop(n2, 12);
      const answers = await Promise.all([module.apply(n1), module.apply(n2)]);
      const through = answers.filter(({ status }) => status === 0);
      t.ok(through.length <= 1, `not both: ${JSON.stringify(answers)}`);
      for (const { status, message } of answers.filter((one) => one.status !== 0)) {
        t.equal(status, 1);
        t.match(message, /^nothing was changed|at this moment/);
      }
      const revisions = [await module.revision(n1), await module.revision(n2)];
      t.equal(revisions[0], revisions[1]);
      for (const node of [n1, n2]) await module.discardEdits(node);
      await module.run(n1, "upgrade", "db", "--applied");
      await module.run(n2, "upgrade", "db", "--applied");
    });
  });

  await t.test("rolled back and applied while a node is down; it catches up before it joins", async (t) => {
    await n2.powerCut();
    await life.comesTo("n2 is off", "ALONE Ready", "off", n1);
    const pid = life.application(n1);
    module.setMaxLoop(n1, 21);
    t.match(await module.apply(n1), {
      status: 0,
      message: /n2 does not answer: it takes this revision when it is back/,
    });
    const back = await module.run(n1, "rollback", "db");
    t.match(back, { status: 0, data: { away: ["n2"] } });
    life.ran(n2);
    await life.boot(n2);
    await life.comesTo("n2 is back", "PRIM Ready", "SECOND Ready", n1);
    await module.agree("caught up", back.data!.revision);
    t.equal(life.application(n1), pid, "the application was not started again");
    t.same(
      life.ran(n2),
      ["transition STOP WAIT", "prestart", "transition WAIT SECOND", "start_both", "start_second"],
      "n2 started once, on the revision that it caught up with",
    );
  });

  await t.test("the network is cut in the middle of the hand-over", async (t) => {
    for (const [index, [delayMs, cutFor]] of (
      [
        [0, 700],
        [100, 3500],
        [200, 700],
      ] as const
    ).entries()) {
      const pid = life.application(n1);
      module.setMaxLoop(n1, 30 + index);
      const applying = module.apply(n1);
      await Bun.sleep(delayMs);
      await mirror.bed.isolate(n2);
      await Bun.sleep(cutFor);
      await mirror.bed.heal();
      const { status, message } = await applying;
      t.comment(`cut after ${delayMs} ms for ${cutFor} ms: ${status} ${message}`);
      await until(
        "they are a pair again",
        async () => {
          const states = [(await life.status(n1)).state, (await life.status(n2)).state];
          return states.includes("PRIM") && states.includes("SECOND");
        },
        30_000,
      );
      // Where it was not applied, the edit is still there: no more of it.
      if (status !== 0) await module.discardEdits(n1);
      await module.agree(`cut after ${delayMs} ms`);
      if (cutFor < 2000)
        t.equal(life.application(n1), pid, `cut after ${delayMs} ms: the application was not started again`);
      if ((await life.status(n1)).state !== "PRIM") await n1.holdfast(["swap", "db"]);
      await life.comesTo(`cut after ${delayMs} ms`, "PRIM Ready", "SECOND Ready", n1);
    }
  });

  for (const [index, [node, delayMs]] of (
    [
      [n2, 100],
      [n1, 120],
      [n1, 220],
    ] as const
  ).entries()) {
    module.setMaxLoop(n1, 50 + index);
    const applying = n1.holdfast(["module", "apply", "db", "--json"], { mayFail: true });
    await Bun.sleep(delayMs);
    node.signal(life.pidOf(node, "daemon"), "SIGKILL");
    await node.startDaemon();
    const what = `${node.name}'s daemon killed after ${delayMs} ms (${(await applying).status})`;
    await life.comesTo(what, "PRIM Ready", "SECOND Ready", n1);
    await module.discardEdits(n1);
    await module.agree(what);
  }

  await stopWatching();

  await t.test("applied apart: neither is taken for newer, and one command ends it", async (t) => {
    await mirror.bed.isolate(n2);
    await life.comesToApart("parted", "ALONE Ready", "ALONE Ready");
    module.setMaxLoop(n1, 61);
    module.setMaxLoop(n2, 62);
    t.match(await module.apply(n1), { status: 0, data: { away: ["n2"] } });
    t.match(await module.apply(n2), { status: 0, data: { away: ["n1"] } });
    await mirror.bed.heal();
    const gaveWay = async (): Promise<boolean> => {
      const { state, remedy } = await life.status(n2);
      return state === "STOP" && remedy?.includes("rollback") === true;
    };
    await until("n2 gives way", gaveWay, 20_000).catch(() => undefined);
    const held = await life.status(n2);
    t.match(held, {
      reason: /was applied here, and .* on n1, while they did not hear each other/,
      remedy: /^holdfast module rollback db \w+$/,
    });
    t.equal((await life.status(n1)).state, "ALONE", "n1 serves on");
    t.match(await n2.holdfast(["start", "db"], { mayFail: true }), { status: 1, stderr: /module rollback/ });
    const ended = await module.run(n2, ...(held.remedy!.split(" ").slice(2) as [string, ...string[]]));
    t.match(ended, { status: 0 });
    await life.comesTo("agreed", "PRIM Ready", "SECOND Ready", n1, 30_000);
    await module.agree("agreed", ended.data!.revision);
    t.match(module.text(n2), /count: 61/, "the chosen one");
  });

  await t.test("what needs a stop: stopped everywhere, applied, started", async (t) => {
    await n1.holdfast(["stop", "db", "--all"]);
    await mirror.settled("STOP", "STOP");
    const yaml = module.text(n1).replace("10.77.0.100/24", "10.77.0.101/24");
    writeFileSync(module.path(n1, "module.yaml"), yaml);
    t.match(await module.apply(n1, "--dry-run"), { status: 0, message: /stopped everywhere, as this needs/ });
    const applied = await module.apply(n1);
    t.match(applied, { status: 0 });
    await module.agree("stopped", applied.data!.revision);
    await n1.holdfast(["start", "db", "--all"]);
    await until("it runs", async () => (await life.status(n1)).state === "PRIM", 20_000);
    t.same(await mirror.host.whoAnswers("10.77.0.101"), ["n1"]);
  });
  await life.verified("at the end", n1);
});
