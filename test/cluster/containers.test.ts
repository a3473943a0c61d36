/**
 * The templates podman and docker with their engines: a container that counts moves by a swap, is killed at a fencing though it is no child of
 * ours, and is found again after a power cut; no number that it told is ever told twice.
 */
import t from "tap";
import { together, verifyEqual } from "../campaign/power_cuts.ts";
import { CountingMirror, docker, engineImpossible, podman } from "./containers.ts";

t.setTimeout(200_000);
// Each waits for heartbeats most of the time.
t.jobs = 2;

for (const engine of [podman, docker])
  t.test(
    `containers of ${engine.name}`,
    { skip: engineImpossible(engine) ?? false, buffered: true },
    async (t) => {
      const counting = await CountingMirror.create(engine);
      const { mirror } = counting;
      const { n1, n2, bed } = mirror;
      await using _ = bed;
      await counting.countsOn(n1);
      t.match(await counting.containers(n1), [/^db Up/]);

      await n1.holdfast(["swap", "db"]);
      await mirror.settled("SECOND", "PRIM", "30s");
      await counting.countsOn(n2);
      t.strictSame(await counting.containers(n1), [], "where the role is no more, no container is");

      const daemon = n2.processes().find(({ command }) => / daemon --var /.test(command))!.pid;
      n2.signal(daemon, "SIGSTOP");
      await n1.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
      t.strictSame(counting.counters(n2), [], "fencing killed the container's processes");
      await counting.countsOn(n1);
      n2.signal(daemon, "SIGCONT");
      await together(mirror, n1);
      t.strictSame(await counting.containers(n2), [], "what was left of it is removed");
      t.equal(await verifyEqual(n1), "verify: equal");

      await n1.powerCut();
      await n2.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
      await counting.countsOn(n2);
      await counting.switchOn(n1);
      await together(mirror, n2);
      t.strictSame(await counting.containers(n1), [], "after the power cut too");

      await n2.exec([engine.program, "kill", "db"]);
      await counting.countsOn(n2);
      t.match(
        (await n2.holdfast(["log", "db"])).stdout,
        "db ended with status 137",
        "the checker saw it end",
      );
      await n2.holdfast(["stop", "db"]);
      t.strictSame([await counting.containers(n2), counting.counters(n2)], [[], []], "a stop stops it");
    },
  );
