/** `cluster apply` on real nodes: other heartbeats while a module runs, on every node or on none. */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { onRealNodes } from "./life.ts";
import { createMirror } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

const yamlOf = (node: Node): string =>
  readFileSync(node.on.path(`${node.varDir}/cluster/cluster.yaml`), "utf8");

t.test("another heartbeat timeout counts at once, and nothing is disturbed", onRealNodes, async (t) => {
  const mirror = await createMirror({
    heartbeat: "{ interval: 200ms, timeout: 4s }",
    files: { "hooks/start_prim": "#!/bin/sh\nexit 0\n" },
  });
  t.teardown(() => mirror.bed.destroy());
  const { n1, n2 } = mirror;
  await mirror.start();
  const ran = await mirror.scripts(n1);
  const yaml = yamlOf(n1).replace("timeout: 4s", "timeout: 1500ms");
  const applied = await n1.holdfast(["cluster", "apply", "-"], { input: yaml });
  t.match(applied.stdout, /cluster\.yaml is in force on n1, n2/);
  for (const node of [n1, n2]) {
    t.equal(yamlOf(node), yaml, `${node.name} has it`);
    t.notOk(
      existsSync(node.on.path(`${node.varDir}/state/former_timeouts.json`)),
      `${node.name} knows that all have it`,
    );
  }
  t.same(await mirror.states(), ["PRIM Ready", "SECOND Ready"]);
  t.same(await mirror.scripts(n1), ran, "no script ran");

  const moved = yaml.replace("lan: 10.77.0.2", "lan: 10.77.0.22");
  const refused = await n1.holdfast(["cluster", "apply", "-"], { input: moved, mayFail: true });
  t.match(refused, { status: 2, stderr: /-:\d+:\d+: nodes\.n2\.addresses\.lan: n2 is 10\.77\.0\.2 on lan/ });
  for (const node of [n1, n2]) t.equal(yamlOf(node), yaml, `nothing changed on ${node.name}`);

  await t.test("what it says is to be done instead", async (t) => {
    // The secondary first: n1 has the last word then.
    for (const node of [n2, n1]) {
      await node.holdfast(["shutdown"]);
      const { pid } = node.processes().find(({ command }) => command.includes(" daemon --var"))!;
      node.signal(pid, "SIGTERM");
      await until("the daemon is stopped", () => !existsSync(`/proc/${pid}`));
      const [, file] = /put this file at (\S+),/.exec(refused.stderr)!;
      await node.exec(["tee", file!.replace(n1.varDir, node.varDir)], { input: moved });
    }
    await n2.exec(["bash", "-ec", "ip addr del 10.77.0.2/24 dev lan; ip addr add 10.77.0.22/24 dev lan"]);
    for (const node of [n1, n2]) await node.startDaemon();
    const bothAnswer = async () => (await n1.holdfast(["cluster", "state"], { mayFail: true })).status === 0;
    await until("n1 reaches n2 at its new address", bothAnswer);
    await n1.holdfast(["start", "db", "--all"]);
    await mirror.settled("PRIM", "SECOND");
    t.same(await mirror.states(), ["PRIM Ready", "SECOND Ready"]);
    t.match((await n1.holdfast(["resources", "db"])).stdout, /heartbeat\.lan {2}up/);
  });

  await n1.powerCut();
  await n2.holdfast(["wait", "db", "ALONE"]);
  t.match(
    (await n2.holdfast(["log", "db"])).stdout,
    /no sign of life from n1 for 1\.\d+ s/,
    "by the new one",
  );
  const alone = await n2.holdfast(["cluster", "apply", "-"], {
    input: moved.replace("1500ms", "3s"),
    mayFail: true,
  });
  t.match(alone, { status: 1, stderr: /nothing was changed.*\nn1/ });
  t.equal(yamlOf(n2), moved);
});
