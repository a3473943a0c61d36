/** Heartbeats over real sockets on loopback addresses: two lans, a restart, strangers. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import {
  type Beat,
  type Cluster,
  createCluster,
  HeartbeatSockets,
  heartbeatPort,
  type SignOfLife,
} from "../../core/cluster/cluster.ts";

const directory = mkdtempSync(join(tmpdir(), "cluster-udp-"));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const port = 20_000 + (process.pid % 20_000);
const subnet = `127.${1 + (process.pid % 250)}`;
const yaml = `name: udp
nodes:
  n1: { addresses: { lan: ${subnet}.0.1, repl: ${subnet}.1.1 } }
  n2: { addresses: { lan: ${subnet}.0.2, repl: ${subnet}.1.2 } }
port: ${port}
`;
const beat = (hears: Beat["hears"], leaving = false): Beat => ({ hears, leaving, views: {} });

interface Node {
  sockets: HeartbeatSockets;
  signs: SignOfLife[];
  beats: Beat[];
}

async function start(cluster: Cluster): Promise<Node> {
  const signs: SignOfLife[] = [];
  const beats: Beat[] = [];
  const sockets = new HeartbeatSockets(cluster, {
    onSign: (sign) => signs.push(sign),
    onBeat: (_from, _incarnation, one) => beats.push(one),
  });
  await sockets.open();
  return { sockets, signs, beats };
}

async function until(what: string, holds: () => boolean, each: () => void = () => {}): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (holds()) return;
    each();
    await Bun.sleep(10);
  }
  throw new Error(`never: ${what}`);
}

t.test("two nodes, two lans, a restart, noise", async (t) => {
  const first = await createCluster(join(directory, "n1"), yaml, "n1");
  // The same keys seen from the other node: joining is another test's matter.
  const second: Cluster = { ...first, node: "n2", nodeNumber: 2, peers: [first.nodes.n1!] };
  const a = await start(first);
  let b = await start(second);
  const beatBoth = () => {
    a.sockets.send(beat({ lan: ["n2"] }));
    b.sockets.send(beat({ lan: ["n1"] }));
  };
  const lansOf = (node: Node) => new Set(node.signs.map((sign) => sign.lan)).size;
  await until(
    "both hear each other on both lans",
    () => lansOf(a) === 2 && lansOf(b) === 2 && a.beats.length > 0,
    beatBoth,
  );
  t.same(a.beats.at(-1)?.hears, { lan: ["n1"] });
  t.equal(a.signs.at(-1)?.from, "n2");
  t.equal(a.signs.at(-1)?.incarnation, b.sockets.incarnation);

  t.same(a.sockets.hears(5000), { lan: ["n2"], repl: ["n2"] });
  t.same(a.sockets.hears(-1), { lan: [], repl: [] });

  const before = b.sockets.incarnation;
  b.sockets.close();
  b = await start(second);
  await until(
    "the restarted node is heard",
    () => a.signs.at(-1)?.incarnation === b.sockets.incarnation && b.signs.length > 0,
    beatBoth,
  );
  t.not(b.sockets.incarnation, before);

  const noise = await Bun.udpSocket({ hostname: `${subnet}.0.9` });
  for (let i = 0; i < 50; i++)
    noise.send(crypto.getRandomValues(new Uint8Array(1 + i * 20)), heartbeatPort(port), `${subnet}.0.1`);
  await until("noise is counted", () => a.sockets.counters.malformed + a.sockets.counters.foreign > 40);
  const heard = a.signs.length;
  await until("heartbeats go on", () => a.signs.length > heard + 4, beatBoth);
  noise.close();
  a.sockets.close();
  b.sockets.close();
});

t.test("an address that is not there is a lan without heartbeats, tried again", async (t) => {
  const absent = await createCluster(
    join(directory, "n3"),
    yaml.replace(`repl: ${subnet}.1.1`, "repl: 192.0.2.1"),
    "n1",
  );
  const node = await start(absent);
  t.same([...node.sockets.troubles.keys()], ["repl"]);
  node.sockets.send(beat({}));
  node.sockets.close();
});
