/** Trap 18: alive and useless, the other way round: heartbeats are lost on every lan, replication flows. */
import t from "tap";
import { createMirror } from "./mirror.ts";
import { testbedImpossible } from "./testbed.ts";

t.setTimeout(400_000);

t.test(
  "trap 18: heartbeats cut, replication flows: nobody takes over",
  { skip: testbedImpossible() ?? false },
  async (t) => {
    const mirror = await createMirror();
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2 } = mirror;
    await mirror.start();
    const before = [await mirror.scripts(n1), await mirror.scripts(n2)];
    const writer = await n1.spawn([
      "sh",
      "-c",
      `while :; do echo line >> ${mirror.data}/log; sync ${mirror.data}/log; sleep 0.02; done`,
    ]);
    for (const line of [
      "add table inet heartbeats",
      "add chain inet heartbeats input { type filter hook input priority 0; }",
      "add rule inet heartbeats input udp dport 9454 drop",
    ])
      await n2.exec(["nft", line]);
    await Bun.sleep(5000);
    t.same(await mirror.whoAnswers(), ["n1"]);
    writer.signal("SIGKILL");
    t.same([await mirror.scripts(n1), await mirror.scripts(n2)], before, "not one hook ran");
  },
);
