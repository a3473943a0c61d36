/**
 * Redis under its template, through failure and back, while a client writes: a power cut, a server that crashes while it rewrites its
 * append-only file, one that hangs, and a swap.
 */
import { chmodSync, existsSync } from "node:fs";
import t from "tap";
import { Ledger } from "../campaign/ledger.ts";
import { comesBack, verifyEqual } from "../campaign/power_cuts.ts";
import { crashHangAndStop, templateFiles } from "./from_template.ts";
import { createMirror, VIRTUAL_IP } from "./mirror.ts";
import { type Node, testbedImpossible } from "./testbed.ts";

t.setTimeout(400_000);
const skip =
  testbedImpossible() ??
  (existsSync("/usr/bin/redis-server") ? false : "needs Redis (apt-get install redis-server)");

const PASSWORD = 'hu"sh hush';

async function ask(node: Node, ...words: string[]): Promise<string> {
  const { stdout } = await node.exec(["redis-cli", "-s", "/run/redis/redis.sock", ...words], {
    env: { REDISCLI_AUTH: PASSWORD },
  });
  return stdout.trim();
}

/** What the client was told is written is there. */
async function examine(ledger: Ledger, prim: Node): Promise<string> {
  const seen = [...ledger.committed];
  await ledger.moves();
  return Ledger.check(seen, (await ask(prim, "SMEMBERS", "ledger")).split("\n").map(Number));
}

t.test("Redis keeps what was answered, whatever ends it", { skip }, async (t) => {
  const files = templateFiles("redis", [
    "replicate.paths.0.path=DATA",
    "vars.data=DATA/data",
    `virtualIps.0.address=${VIRTUAL_IP}/24`,
    "timeouts.stop=3s",
  ]);
  const mirror = await createMirror({ files });
  await using bed = mirror.bed;
  chmodSync(bed.dir, 0o755);
  const { n1, n2 } = mirror;
  await n1.holdfast(["secret", "set", "db", "password"], { input: PASSWORD });
  await mirror.start("60s");
  const ledger = await Ledger.open(
    mirror.host,
    `redis://:${encodeURIComponent(PASSWORD)}@${VIRTUAL_IP}:6379`,
  );
  await ledger.moves(20);

  await n1.powerCut();
  await n2.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
  t.match(await examine(ledger, n2), /none missing/, "after the power cut");
  await comesBack(mirror, n1, n2);
  t.equal(await verifyEqual(n2), "verify: equal");

  await ask(n2, "BGREWRITEAOF");
  await crashHangAndStop(t, { mirror, ledger, examine, program: "redis-server " }, async () => {
    t.equal(await ask(n2, "CONFIG", "GET", "appendfsync"), "appendfsync\nalways");
  });
});
