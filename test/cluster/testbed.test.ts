/** The testbed itself: a power cut loses what was not synced and only that, faults do what they say, and nothing is left. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { createTestbed, testbedImpossible, until } from "./testbed.ts";

const skip = testbedImpossible() ?? false;

t.test("what was fsynced survives a power cut, what was not is gone", { skip }, async (t) => {
  const bed = await createTestbed({ nodes: 1, hosts: 0, diskMiB: 256 });
  t.teardown(() => bed.destroy());
  const node = bed.node(1);
  await node.exec(["bash", "-c", `sync ${node.dataDir}; sync -f ${node.dataDir}`]);
  const script = `const fs = require("node:fs");
    const synced = fs.openSync("synced", "w"); fs.writeSync(synced, "kept"); fs.fsyncSync(synced);
    fs.fsyncSync(fs.openSync(".", "r"));
    fs.writeSync(fs.openSync("lost", "w"), "gone");
    console.log("written"); setTimeout(() => {}, 60000);`;
  const writer = await node.spawn([process.execPath, "-e", script], { cwd: node.dataDir });
  await writer.stdout.getReader().read();
  await node.powerCut();
  t.ok((await writer.exited) !== 0, "the power cut ends every process");
  await node.powerOn();
  const { stdout } = await node.exec(["cat", `${node.dataDir}/synced`]);
  t.equal(stdout, "kept");
  const gone = await node.exec(["cat", `${node.dataDir}/lost`], { mayFail: true });
  t.notMatch(gone.stdout, /gone/, "what was never synced is not on the disk");
});

t.test("machines reach each other, and faults cut what they say", { skip }, async (t) => {
  const bed = await createTestbed({ diskMiB: 64 });
  t.teardown(() => bed.destroy());
  const [n1, n2] = [bed.node(1), bed.node(2)];
  const h1 = bed.hosts[0]!;
  t.ok(await h1.pings("10.77.0.1"));
  t.ok(await h1.pings("fd77::2"));
  t.ok(await n1.pings("10.78.0.2"));
  t.same(await h1.whoAnswers("10.77.0.2"), ["n2"]);
  t.same(await h1.whoAnswers("fd77::2"), ["n2"]);
  t.same(await h1.whoAnswers("10.77.0.99"), []);
  t.equal((await h1.arpTable())["10.77.0.1"], n1.mac("lan"));

  await bed.isolate(n1, "lan");
  t.notOk(await h1.pings("10.77.0.1", 200));
  t.ok(await n1.pings("10.78.0.2"), "the other lan goes on");
  await bed.isolate(n1);
  t.notOk(await n1.pings("10.78.0.2", 200));
  await bed.heal(n1);
  t.ok(await n1.pings("10.78.0.2"));

  await bed.cut(n1, n2, { lan: "repl", loss: 0.5 });
  const pings = await n1.exec(["ping", "-q", "-i", "0.01", "-c", "100", "-W", "0.2", "10.78.0.2"], {
    mayFail: true,
  });
  const loss = Number(/(\d+)% packet loss/.exec(pings.stdout)?.[1]);
  t.ok(loss > 20 && loss < 80, `about half is lost: ${loss} %`);
  await bed.heal();

  await t.test("signals reach the process itself", async (t) => {
    const sleeper = await n2.spawn(["sleep", "1000"]);
    const isThere = () =>
      n2.processes().some(({ pid, command }) => pid === sleeper.pid && command === "sleep 1000");
    await until("it is among the processes", isThere);
    sleeper.signal("SIGSTOP");
    await until("it is stopped", () => / T /.test(readFileSync(`/proc/${sleeper.pid}/stat`, "utf8")));
    sleeper.signal("SIGCONT");
    n2.kill9(sleeper.pid);
    t.equal(await sleeper.exited, 137);
  });
});

t.test("two testbeds at once, and nothing left of either", { skip }, async (t) => {
  const before = leftovers();
  const beds = await Promise.all([createTestbed({ diskMiB: 64 }), createTestbed({ diskMiB: 64 })]);
  for (const bed of beds) t.same(await bed.hosts[0]!.whoAnswers("10.77.0.1"), ["n1"]);
  await beds[0]!.node(1).exec(["bash", "-c", "sleep 1000 & disown"]);
  await Promise.all(beds.map((bed) => bed.destroy()));
  for (const bed of beds) t.notOk(existsSync(bed.dir));
  t.same(leftovers(), before);
});

t.test("a test that is killed leaves nothing", { skip }, async (t) => {
  const before = leftovers();
  const source = `import { createTestbed } from "${import.meta.dir}/testbed.ts";
    const bed = await createTestbed({ diskMiB: 64 });
    console.log(bed.dir); await Bun.sleep(60000);`;
  const child = Bun.spawn([process.execPath, "-e", source], { stdout: "pipe", stderr: "inherit" });
  const first = await child.stdout.getReader().read();
  const dir = new TextDecoder().decode(first.value).trim();
  t.ok(existsSync(dir));
  child.kill("SIGKILL");
  await child.exited;
  await until("the keeper cleaned up", () => !existsSync(dir));
  await until("no loop device is left", () => !leftovers().some((line) => line.includes(dir)));
  t.same(leftovers(), before);
});

/** What this process could leave behind, seen from outside: interfaces, loop devices, mounts, directories. */
function leftovers(): string[] {
  const mine = new RegExp(`holdfast-testbed-${process.pid}-`);
  const loops = readdirSync("/sys/block").flatMap((name) => {
    try {
      return [readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8")];
    } catch {
      return [];
    }
  });
  return [
    ...readFileSync("/proc/self/mounts", "utf8").split("\n"),
    ...loops,
    ...readdirSync("/var/tmp"),
    ...readdirSync("/sys/fs/cgroup/unified"),
  ].filter((line) => mine.test(line));
}
