/**
 * What befalls a container that counts, whichever node runs it: each leaves a mirror with both nodes, and throws when a number is lost, told
 * twice, or a container is where the role is not.
 */
import assert from "node:assert/strict";
import { CountingMirror, type Engine } from "../cluster/containers.ts";
import type { Node } from "../cluster/testbed.ts";
import { primary, together, verifyEqual } from "./power_cuts.ts";

type Act = (counting: CountingMirror, prim: Node, second: Node) => Promise<void>;

/** In the order in which a campaign goes through them. */
export const ACTS = {
  async swap(counting, prim, second) {
    await prim.holdfast(["swap", "db"]);
    await together(counting.mirror, second);
    await counting.countsOn(second);
    assert.deepEqual(await counting.containers(prim), [], "where the role is no more, a container is");
  },
  async fencing(counting, prim, second) {
    const daemon = prim.processes().find(({ command }) => / daemon --var /.test(command))!.pid;
    prim.signal(daemon, "SIGSTOP");
    await second.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
    assert.deepEqual(counting.counters(prim), [], "the container outlived the fencing");
    await counting.countsOn(second);
    prim.signal(daemon, "SIGCONT");
    await together(counting.mirror, second);
    assert.deepEqual(await counting.containers(prim), [], "what was left of the container is still there");
    assert.equal(await verifyEqual(second), "verify: equal");
  },
  async powerCut(counting, prim, second) {
    await prim.powerCut();
    await second.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
    await counting.countsOn(second);
    await counting.switchOn(prim);
    await together(counting.mirror, second);
    assert.deepEqual(await counting.containers(prim), [], "what was left of the container is still there");
  },
  async kill(counting, prim) {
    await prim.exec([counting.engine.program, "kill", "db"]);
    await counting.countsOn(prim);
    assert.match((await prim.holdfast(["log", "db"])).stdout, /db ended with status 137/);
  },
} satisfies Record<string, Act>;

/** Starts a counting container under its template, goes through the acts, and stops it. Throws at the first that goes wrong. */
export async function countThrough(
  engine: Engine,
  acts: readonly (keyof typeof ACTS)[],
  tell: (line: string) => void,
): Promise<string> {
  const counting = await CountingMirror.create(engine);
  const { mirror } = counting;
  await using _ = mirror.bed;
  await counting.countsOn(mirror.n1);
  for (const act of acts) {
    const prim = await primary(mirror);
    await ACTS[act](counting, prim, prim === mirror.n1 ? mirror.n2 : mirror.n1);
    tell(`${engine.name}: ${act}`);
  }
  const last = await primary(mirror);
  await last.holdfast(["stop", "db"]);
  assert.deepEqual([await counting.containers(last), counting.counters(last)], [[], []]);
  return `${engine.name}: ${acts.join(", ")}; ${counting.told().length} numbers, none lost`;
}
