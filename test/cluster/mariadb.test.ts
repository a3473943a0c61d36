/**
 * MariaDB under its template, through failure and back, while a client commits: a power cut, another user number on the other node,
 * a server that crashes, one that hangs, and a swap.
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
  (existsSync("/usr/sbin/mariadbd") ? false : "needs MariaDB (apt-get install mariadb-server)");
const SOCKET = "--socket=/run/mysqld/mysqld.sock";
const OTHER_NUMBER = 9104;

async function sql(node: Node, text: string): Promise<string> {
  return (await node.exec(["mariadb", "--no-defaults", SOCKET, "-N", "-e", text])).stdout.trim();
}

/** On this node, from now to its next boot, user mysql has another number. */
async function renumber(node: Node): Promise<void> {
  for (const file of ["passwd", "group"]) {
    const change = `sed -E 's/^mysql:([^:]*):[0-9]+:([0-9]+)?/mysql:\\1:${OTHER_NUMBER}:${file === "passwd" ? OTHER_NUMBER : ""}/'`;
    const script = `${change} /etc/${file} >/run/${file} && mount --bind /run/${file} /etc/${file}`;
    await node.exec(["bash", "-c", script]);
  }
}

/** What the client saw committed is there, and the tables are sound. */
async function examine(ledger: Ledger, prim: Node): Promise<string> {
  const seen = [...ledger.committed];
  await ledger.moves();
  const rows = await sql(prim, "SELECT id FROM test.ledger");
  const commits = Ledger.check(seen, rows.split("\n").map(Number));
  const { stdout } = await prim.exec(["mariadb-check", "--no-defaults", SOCKET, "--extended", "test"]);
  if (!/^test\.ledger\s+OK$/m.test(stdout)) throw new Error(stdout);
  return `${commits}, mariadb-check good`;
}

t.test("MariaDB keeps what was committed, whatever ends it", { skip }, async (t) => {
  const files = templateFiles("mariadb", [
    "replicate.paths.0.path=DATA",
    "vars.data=DATA/data",
    `virtualIps.0.address=${VIRTUAL_IP}/24`,
    "timeouts.stop=3s",
  ]);
  const mirror = await createMirror({ files });
  await using bed = mirror.bed;
  chmodSync(bed.dir, 0o755);
  const { n1, n2 } = mirror;
  await renumber(n2);
  // What was made of a data directory by a machine that lost its power.
  await n1.exec(["mkdir", "-p", `${mirror.data}/data.new/mysql`]);
  await mirror.start("60s");
  await sql(
    n1,
    "CREATE DATABASE test; CREATE USER app@'%' IDENTIFIED BY 'word'; GRANT ALL ON test.* TO app@'%'",
  );
  const ledger = await Ledger.open(mirror.host, `mysql://app:word@${VIRTUAL_IP}:3306/test`);
  await ledger.moves(20);

  await n1.powerCut();
  await n2.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
  t.match(await examine(ledger, n2), /none missing/, "after the power cut");
  t.match((await n2.holdfast(["log", "db"])).stdout, /mysql is 9104 on this node: changing it/);
  await comesBack(mirror, n1, n2);
  t.equal(await verifyEqual(n2), "verify: equal");

  const database = { mirror, ledger, examine, program: "/mariadbd " };
  await crashHangAndStop(t, database, () => Promise.resolve());
});
