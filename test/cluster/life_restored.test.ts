/**
 * Trap 12a, with whole machines: the primary's disk is put back to a snapshot of a minute ago. It looks equal by its generation and was primary last;
 * the other node holds what was acknowledged since.
 */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { type Life, onRealNodes, startLife } from "./life.ts";
import { type Node, until } from "./testbed.ts";
import { run } from "./testbed_machine.ts";

t.setTimeout(400_000);

/** The durable points that a node has reached. */
function pointsOf(node: Node): number {
  const file = node.on.path(`${node.varDir}/state/db/copy`);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { counter: number }).counter : 0;
}

/** Copies a running node's disk as a hypervisor does: at rest for a moment. */
async function snapshot({ n1, mirror }: Life): Promise<void> {
  const { dir, diskDir } = mirror.bed;
  await n1.exec(["fsfreeze", "--freeze", diskDir]);
  try {
    await run(["cp", "--sparse=always", `${dir}/n1.img`, `${dir}/n1.snapshot`]);
  } finally {
    await n1.exec(["fsfreeze", "--unfreeze", diskDir]);
  }
}

t.test("trap 12a: a primary that was put back to a snapshot does not go first", onRealNodes, async (t) => {
  const life = await startLife(t);
  const { n1, n2, mirror } = life;
  await life.writesGoOn("before the snapshot");
  await snapshot(life);
  const then = pointsOf(n2);
  await until("two durable points since", () => pointsOf(n1) >= then + 2 && pointsOf(n2) >= then + 2, 30_000);
  await life.comesTo("the snapshot disturbed nothing", "PRIM Ready", "SECOND Ready", n1);
  await Promise.all([n1.powerCut(), n2.powerCut()]);
  const promised = life.acknowledged();
  await run(["cp", "--sparse=always", `${mirror.bed.dir}/n1.snapshot`, `${mirror.bed.dir}/n1.img`]);
  await Promise.all([life.boot(n1), life.boot(n2)]);
  await life.comesTo("both are back", "SECOND Ready", "PRIM Ready", n2, 60_000);
  life.nothingLost("both are back", n2, promised);
  const story = (await n2.holdfast(["explain", "db"])).stdout.replace(/\s+/g, " ");
  t.match(story, /the copy of n1 was put back to an older state/, "it is explained");
  await life.verified("both are back", n2);
});
