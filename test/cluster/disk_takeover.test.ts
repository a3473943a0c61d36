/** The disk of a primary gives an error: the secondary takes over, and what was on the bad blocks comes back from it (trap 8). */
import { execFileSync } from "node:child_process";
import { statSync, truncateSync } from "node:fs";
import t from "tap";
import { createMirror } from "./mirror.ts";
import { testbedImpossible } from "./testbed.ts";

const BLOCK = 1024;
const LENGTH = 1 << 20;
const BAD = 300 * 1024;
t.setTimeout(120_000);

t.test("a bad block under the primary", { skip: testbedImpossible() ?? false }, async (t) => {
  const mirror = await createMirror({
    diskMiB: 192,
    // What is lost lies behind all else on the disk, the journal included.
    prepare: async (node) => {
      if (node.name !== "n1") return;
      const file = `${node.dataDir}/db/data`;
      const fill = `tr '\\0' x < /dev/zero | head -c ${LENGTH} | dd of=${file} bs=1M iflag=fullblock conv=notrunc`;
      const make = `fallocate -l 160M ${file} && fallocate -c -o 0 -l 159M ${file} && ${fill}`;
      await node.exec(["sh", "-c", `mkdir -p ${node.dataDir}/db && ${make} && sync`]);
    },
  });
  const { bed, n1, n2 } = mirror;
  t.teardown(() => bed.destroy());
  const file = `${mirror.data}/data`;
  await mirror.start();
  await n1.powerCut();
  await n2.holdfast(["wait", "db", "ALONE"]);
  await n1.powerOn();
  await n1.startDaemon();
  await mirror.settled("SECOND", "PRIM");
  await n1.holdfast(["swap", "db"]);
  await mirror.settled("PRIM", "SECOND");

  const image = `${bed.imageDirs[0]}/n1.img`;
  const told = execFileSync(
    "debugfs",
    ["-R", `bmap /${file.slice(bed.diskDir.length + 1)} ${BAD / BLOCK}`, image],
    {
      encoding: "utf8",
      stdio: "pipe",
    },
  );
  const at = Number.parseInt(told, 10) * BLOCK;
  t.ok(at > statSync(image).size / 2, `the disk ends at ${at}`);
  truncateSync(image, at);

  const read = await n1.exec(["cat", file], { mayFail: true });
  t.match(read.stderr, /Input\/output error/, "the application hears of it");
  await mirror.settled("SECOND", "PRIM");
  t.match(await mirror.whoAnswers(), ["n2"]);
  const { stdout } = await n2.holdfast(["explain", "db"]);
  t.match(stdout, /the disk of n1 failed: n2 takes over/);
  t.ok((await n2.exec(["cat", file])).stdout === "x".repeat(LENGTH), "nothing is lost where it goes on");
  t.equal((await n2.holdfast(["verify", "db"], { mayFail: true })).status, 0, "and the other has it back");
});
