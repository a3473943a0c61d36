/**
 * The replication process of PRIM dies or stops while the daemon lives: the application is started again where it should be, nothing that was
 * acknowledged is missing.
 */
import t from "tap";
import { type Life, onRealNodes, startLife } from "./life.ts";
import { until } from "./testbed.ts";

t.setTimeout(400_000);

/** One application runs somewhere, with everything that was acknowledged; both nodes come together again. */
async function wholeAgain(life: Life, what: string): Promise<void> {
  const { n1, n2, t } = life;
  const here = life.isAppAlive(n1);
  const prim = here ? n1 : n2;
  t.notOk(life.isAppAlive(here ? n2 : n1), `${what}: one application runs`);
  await life.comesTo(
    what,
    here ? "PRIM Ready" : "SECOND Ready",
    here ? "SECOND Ready" : "PRIM Ready",
    prim,
    30_000,
  );
  life.nothingLost(what, prim);
  await life.verified(what, prim);
}

/** Of either node: why SECOND waits. */
const HUNG = /(n2 hung, and is let|this node hung, and n1 lets it) in again at \d\d:\d\d:\d\d UTC/;

t.test("the replication process of PRIM is killed", onRealNodes, async (t) => {
  const life = await startLife(t);
  await life.writesGoOn("before");
  life.n1.signal(life.pidOf(life.n1, "__replication"), "SIGKILL");
  await life.writesGoOn("after", 15_000);
  await wholeAgain(life, "after");
});

t.test(
  "the replication process of SECOND is killed: PRIM goes on, SECOND comes back",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2 } = life;
    await life.writesGoOn("before");
    const app = life.application(n1);
    n2.signal(life.pidOf(n2, "__replication"), "SIGKILL");
    await life.writesGoOn("after", 8000);
    await until("n2 is followed again", () =>
      life.ours(n2).some(({ command }) => command.includes("__replication")),
    );
    await life.comesTo("back", "PRIM Ready", "SECOND Ready", n1, 30_000);
    t.equal(life.application(n1), app, "the application was not touched");
    life.nothingLost("back", n1);
    await life.verified("back", n1);
  },
);

t.test(
  "trap 9: the replication process of SECOND is stopped: PRIM waits no longer than replicate.timeout",
  onRealNodes,
  async (t) => {
    const life = await startLife(t, { yaml: "replicate:\n  timeout: 2s\n  paths:\n    - path: DATA\n" });
    const { n1, n2 } = life;
    await life.writesGoOn("before");
    const app = life.application(n1);
    const process = life.pidOf(n2, "__replication");
    const saidBy = new Set<string>();
    // It is kept out for a moment at first, and longer each time.
    for (let time = 0; saidBy.size < 2 && time < 4; time++) {
      n2.signal(process, "SIGSTOP");
      const began = performance.now();
      await Bun.sleep(300);
      const goesOn = life.writesGoOn("while SECOND hangs", 8000);
      await until("PRIM says ALONE", async () => (await life.status(n1)).state === "ALONE", 5000, 10);
      await goesOn;
      t.ok(
        performance.now() - began < 4000,
        `writes went on after ${Math.round(performance.now() - began)} ms`,
      );
      n2.signal(process, "SIGCONT");
      const isBack = async (): Promise<boolean> => {
        for (const node of [n1, n2]) if (HUNG.test((await life.status(node)).reason)) saidBy.add(node.name);
        return (await life.status(n1)).state === "PRIM";
      };
      await until("SECOND is let in", isBack, 20_000, 10);
    }
    t.equal(saidBy.size, 2, "both say why SECOND waits, and until when");
    await life.comesTo("SECOND woke", "PRIM Ready", "SECOND Ready", n1, 40_000);
    t.equal(life.application(n1), app, "the application was not touched");
    life.nothingLost("SECOND woke", n1);
    await life.verified("SECOND woke", n1);
  },
);

t.test("the replication process of PRIM is stopped: writes go on somewhere", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1 } = life;
  await life.writesGoOn("before");
  // Nobody else could answer the application's file system: its daemon kills what hangs.
  n1.signal(life.pidOf(n1, "__replication"), "SIGSTOP");
  await life.writesGoOn("after", 15_000);
  await wholeAgain(life, "after");
});

t.test(
  "a replication process that comes too late for who waited for it is told what to do all the same",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2 } = life;
    await life.writesGoOn("before");
    const former = life.pidOf(n2, "__replication");
    n2.signal(former, "SIGKILL");
    const next = (): number | undefined =>
      life.ours(n2).find(({ command, pid }) => command.includes("__replication") && pid !== former)?.pid;
    await until("another one is started", () => next() !== undefined, 15_000, 1);
    const late = next()!;
    n2.signal(late, "SIGSTOP");
    await until(
      "nobody waits for it any more",
      async () => /did not start within/.test((await n2.holdfast(["log", "db"])).stdout),
      20_000,
    );
    n2.signal(late, "SIGCONT");
    await life.comesTo("back", "PRIM Ready", "SECOND Ready", n1, 30_000);
    t.ok(
      life.ours(n2).some(({ pid }) => pid === late),
      "with that process",
    );
    await life.verified("back", n1);
  },
);
