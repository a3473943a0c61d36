/** Which of several lans the stream takes: the preferred one whenever it works, also after the connection was lost. */
import t from "tap";
import { generation, makeLab } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(60_000);
const port = 21000 + (process.pid % 20000);
const PREFERRED = { address: "127.0.0.2", port: port + 1 };
const OTHER = { address: "127.0.0.3", port: port + 1 };
const lab = makeLab(`/tmp/holdfast-lans-${process.pid}`, port);
const { n1, n2 } = lab;
n1.config.listen = [PREFERRED, OTHER];
n2.config.dial = [PREFERRED, OTHER];
t.teardown(() => lab.close());

/** By which address n2 follows, once it does. */
async function follows(reports: number): Promise<string | null> {
  await n2.reported("inSync", reports);
  n2.connectedTo = null;
  await n2.until(() => n2.connectedTo !== null, "the address that it is connected to");
  return n2.connectedTo;
}

t.test("the preferred lan comes first, however long the primary was away", async (t) => {
  await n2.start();
  await n1.start();
  await n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  for (const awayMs of [0, 100, 300, 500]) {
    const reports = n2.reports.length;
    await Bun.sleep(awayMs);
    await n1.must({ op: "serve", alone: true, generations: generation("g1") });
    t.equal(await follows(reports), `${PREFERRED.address}:${PREFERRED.port}`, `away for ${awayMs} ms`);
    await n1.kill();
    await n1.start();
  }
});
