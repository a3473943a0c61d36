/** What `npm test` does after a test file that it killed: nothing of it stays, and nobody else's goes. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import t from "tap";
import { cleanAfter, MARK } from "../leftovers.mjs";

const skip = process.getuid?.() === 0 ? false : "needs root: mounts";

/** Leaves a mount in a mount, a loop device that is mounted, one that is not, and a process with a session and an environment of its own. */
const MESS = `
top=/tmp/holdfast-mess-$$
mkdir -p $top/disk $top/image $top-2
mount -t tmpfs holdfast-mess $top/disk
mkdir $top/disk/inner
mount -t tmpfs holdfast-mess $top/disk/inner
truncate -s 8M $top-2/mounted $top-2/attached
mkfs.ext4 -q $top-2/mounted
mount -o loop $top-2/mounted $top/image
losetup -f $top-2/attached
echo kept > $top/image/file
cd $top/image
OTHER=1 setsid sleep 600 &
until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done
echo ready
wait
`;

t.test("a test file that is killed leaves nothing", { skip }, async (t) => {
  const mark = `leftovers-${process.pid}`;
  const start = (own: string, script: string) =>
    spawn("sh", ["-ec", script], {
      detached: true,
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, [MARK]: own },
    });
  const neighbour = start(`${mark}0`, "mkdir /tmp/holdfast-mess-$$; echo ready; exec sleep 600");
  const killed = start(mark, MESS);
  const beside = `/tmp/holdfast-mess-${neighbour.pid}`;
  t.teardown(() => {
    neighbour.kill("SIGKILL");
    rmSync(beside, { recursive: true });
  });
  for (const child of [neighbour, killed]) await new Promise((resolve) => child.stdout.once("data", resolve));
  process.kill(-killed.pid!, "SIGKILL");

  const cleaned = (await cleanAfter(killed.pid!, mark)).join("\n");
  const top = `/tmp/holdfast-mess-${killed.pid}`;
  t.match(cleaned, /^killed sleep \(pid \d+\)$/m);
  for (const path of [`${top}/disk`, `${top}/disk/inner`, `${top}/image`])
    t.match(cleaned, `unmounted ${path}`);
  t.match(cleaned, /^detached \/dev\/loop\d+$/m);
  t.match(`${cleaned}\n`, `removed ${top}\n`);
  t.notMatch(readFileSync("/proc/self/mountinfo", "utf8"), top);
  t.notMatch(spawnSync("losetup", ["-a"], { encoding: "utf8" }).stdout, top);
  t.notOk(existsSync(top) || existsSync(`${top}-2`));
  t.ok(
    existsSync(beside) && neighbour.exitCode === null && neighbour.signalCode === null,
    "the neighbour lives",
  );
  t.same(await cleanAfter(killed.pid!, mark), [], "there is nothing left to clean");
});
