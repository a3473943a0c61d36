/**
 * Two nodes and a Holdfast witness on a third machine (G1, G3, G4): whoever is cut from whom, one node at most runs, what it acknowledged stays, and
 * both come back by themselves.
 */
import t from "tap";
import { type Life, onRealNodes, startLife } from "./life.ts";
import { VIRTUAL_IP } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

/** Looks all the time, until it is stopped, whether the application runs on both nodes at once. */
function watch(life: Life): () => number {
  let both = 0;
  let isOver = false;
  void (async () => {
    while (!isOver) {
      if (life.isAppAlive(life.n1) && life.isAppAlive(life.n2)) both++;
      await Bun.sleep(10);
    }
  })();
  return () => {
    isOver = true;
    return both;
  };
}

async function holdsAddress(node: Node): Promise<boolean> {
  const { stdout } = await node.exec(["ip", "-o", "address", "show"]);
  return stdout.includes(VIRTUAL_IP);
}

t.test("two nodes and a Holdfast witness", onRealNodes, async (t) => {
  const life = await startLife(t, { witness: true, heartbeat: "{ interval: 200ms, timeout: 2s }" });
  const { n1, n2 } = life;
  const { bed } = life.mirror;
  const witness = bed.hosts[1]!;
  for (const node of [n1, n2])
    await until(
      "the witness answers",
      async () => (await life.resource(node, "splitbrain.witness")) === "up",
    );

  await life.writesGoOn("before");
  let stop = watch(life);
  await bed.cut(n1, n2);
  await bed.cut(n2, n1);
  await life.comesToApart("parted", "ALONE Ready", "WAIT NotReady");
  await life.writesGoOn("parted");
  t.equal(stop(), 0, "parted: the application never ran on both");
  t.same(await life.mirror.whoAnswers(), ["n1"], "parted: n1 answers");
  t.match((await life.status(n2)).reason, /witness has recorded that n1 goes on/, "n2 says why it waits");
  await bed.heal();
  await life.comesTo("healed", "PRIM Ready", "SECOND Ready", n1, 40_000);
  life.nothingLost("healed", n2);

  stop = watch(life);
  await life.writesGoOn("healed");
  await bed.isolate(n1);
  await until("n2 runs the application", () => life.isAppAlive(n2));
  t.notOk(await holdsAddress(n1), "PRIM, cut from both, holds the address no more when the other serves");
  t.equal(stop(), 0, "isolated: the application never ran on both");
  await life.comesToApart("isolated", "WAIT NotReady", "ALONE Ready");
  await life.writesGoOn("isolated");
  life.nothingLost("taken over", n2);
  await bed.heal();
  await life.comesTo("back", "SECOND Ready", "PRIM Ready", n2, 40_000);
  life.nothingLost("back", n1);

  const app = life.application(n2);
  await bed.isolate(witness);
  await until(
    "the nodes see that it is away",
    async () => (await life.resource(n2, "splitbrain.witness")) === "down",
    15_000,
  );
  await life.writesGoOn("without the witness");
  await life.comesTo("without the witness", "SECOND Ready", "PRIM Ready", n2);
  t.equal(life.application(n2), app, "a witness that is away disturbs nothing");
  await n2.holdfast(["stop", "db"]);
  await life.comesTo("a clean stop without the witness", "ALONE Ready", "STOP", n1);
  await n2.holdfast(["start", "db"]);
  await life.comesTo("started again", "PRIM Ready", "SECOND Ready", n1, 40_000);
  const again = life.application(n1);
  await bed.heal();
  await until(
    "the witness is back",
    async () => (await life.resource(n1, "splitbrain.witness")) === "up",
    15_000,
  );
  await life.writesGoOn("the witness is back");
  await life.comesTo("the witness is back", "PRIM Ready", "SECOND Ready", n1);
  t.equal(life.application(n1), again, "nor does one that comes back");
  life.nothingLost("at the end", n2);
  await life.verified("at the end", n1);
});
