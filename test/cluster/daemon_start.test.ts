/** A daemon that cannot start says why and ends: nothing of it is left that holds a port, or looks as if it worked. */
import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { createTestbed, testbedImpossible } from "./testbed.ts";

t.setTimeout(400_000);

t.test("what is on disk cannot be trusted", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 1, hosts: 0, diskMiB: 128 });
  t.teardown(() => bed.destroy());
  const node = bed.node(1);
  const file = `${bed.dir}/cluster.yaml`;
  writeFileSync(file, "name: test\nnodes:\n  n1: { addresses: { lan: 10.77.0.1, repl: 10.78.0.1 } }\n");
  const created = await node.holdfast(["cluster", "create", file, "--as", "n1"]);
  t.match(
    created.stdout,
    /Then a module: holdfast module templates/,
    "no token where there is no other node",
  );
  const facts = `${node.varDir}/state/db/module.json`;
  await node.exec(["sh", "-ec", `mkdir -p $(dirname ${facts}); printf '{' > ${facts}`]);
  const command = [bed.binary, "daemon", "--var", node.varDir];
  const daemon = await node.spawn(command, { log: node.daemonLog });
  const ended = await Promise.race([daemon.exited, Bun.sleep(10_000).then(() => "still there")]);
  t.not(ended, "still there", "it ends");
  t.match(
    readFileSync(node.daemonLog, "utf8"),
    /state\/db\/module\.json is damaged: .*apply the module again/,
  );
  t.same(
    node.processes().filter(({ command: line }) => line.includes("__guardian")),
    [],
    "nor is its guardian left",
  );
  await node.exec(["rm", facts]);
  await node.startDaemon();
  t.match((await node.holdfast(["status"])).stdout, /no module yet/);
});
