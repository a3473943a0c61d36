/**
 * Two nodes that get a real etcd as witness while they run (G1, G3, G4): parted, one goes on; cut off, the other takes over; frozen, nobody notices.
 */
import { existsSync } from "node:fs";
import t from "tap";
import { onRealNodes, startLife } from "./life.ts";
import { until } from "./testbed.ts";

t.setTimeout(400_000);
const options = existsSync("/usr/bin/etcd")
  ? onRealNodes
  : { skip: "no /usr/bin/etcd (Debian: etcd-server)" };

t.test("two nodes and etcd", options, async (t) => {
  const life = await startLife(t, { heartbeat: "{ interval: 200ms, timeout: 2s }" });
  const { n1, n2 } = life;
  const { bed, host } = life.mirror;
  const url = `http://${host.addresses["lan"]}:2379`;
  const etcd = await host.spawn(
    [
      ...[
        "etcd",
        "--data-dir",
        `${bed.dir}/etcd`,
        "--listen-client-urls",
        url,
        "--advertise-client-urls",
        url,
      ],
      ...[
        "--listen-peer-urls",
        "http://127.0.0.1:2380",
        "--initial-advertise-peer-urls",
        "http://127.0.0.1:2380",
      ],
      ...["--initial-cluster", "default=http://127.0.0.1:2380"],
    ],
    { log: `${bed.dir}/etcd.log` },
  );
  const yaml = `${(await n1.exec(["cat", `${n1.varDir}/cluster/cluster.yaml`])).stdout}witness: { etcd: ["${url}"] }\n`;
  await n1.holdfast(["cluster", "apply", "-"], { input: yaml });
  for (const node of [n1, n2])
    await until(
      "etcd answers",
      async () => (await life.resource(node, "splitbrain.witness")) === "up",
      15_000,
    );
  // An empty etcd may be one that forgot: for the length of a lease nothing is put on record.
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const range = JSON.stringify({
    key: base64("holdfast/"),
    range_end: base64("holdfast0"),
    count_only: true,
  });
  await until("it is on record that both copies are good", async () =>
    (await host.exec(["curl", "-s", "-d", range, `${url}/v3/kv/range`])).stdout.includes('"count"'),
  );
  await life.writesGoOn("with etcd");

  await bed.cut(n1, n2);
  await bed.cut(n2, n1);
  await life.comesToApart("parted", "ALONE Ready", "WAIT NotReady");
  await life.writesGoOn("parted");
  await bed.heal();
  await life.comesTo("healed", "PRIM Ready", "SECOND Ready", n1, 40_000);
  life.nothingLost("healed", n2);

  await bed.isolate(n1);
  await life.comesToApart("isolated", "WAIT NotReady", "ALONE Ready");
  await life.writesGoOn("isolated");
  life.nothingLost("taken over", n2);
  await bed.heal();
  await life.comesTo("back", "SECOND Ready", "PRIM Ready", n2, 40_000);

  const app = life.application(n2);
  etcd.signal("SIGSTOP");
  await until(
    "n2 sees that etcd is frozen",
    async () => (await life.resource(n2, "splitbrain.witness")) === "down",
    15_000,
  );
  await life.writesGoOn("frozen");
  await life.comesTo("frozen", "SECOND Ready", "PRIM Ready", n2);
  t.equal(life.application(n2), app, "a frozen etcd disturbs nothing");
  etcd.signal("SIGCONT");
  await until("etcd is back", async () => (await life.resource(n2, "splitbrain.witness")) === "up", 15_000);
  t.equal(life.application(n2), app, "nor does one that comes back");
  life.nothingLost("at the end", n1);
});
