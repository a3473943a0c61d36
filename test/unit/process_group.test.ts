/**
 * What belongs to a module and dies with it: processes in cgroups of their own, and those that other daemons started for it.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import { dissolve, killAll, members, processGroup } from "../../core/daemon/guardian/cgroup.ts";
import { ADOPTED_FILE } from "../../hooks/adopted.ts";
import { adopt } from "../../hooks/sdk/mod.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-group-"));
const group = processGroup(scratch, "db");
t.teardown(() => {
  rmSync(scratch, { recursive: true });
  try {
    if (group.path) rmdirSync(dirname(group.path));
  } catch (error) {
    // A node of this machine may have its own there.
    if (!/EBUSY|ENOTEMPTY/.test(String(error))) throw error;
  }
});

const skip = group.path ? false : "no cgroup can be made here";

t.test("processes in cgroups that an application made itself are members, and die", { skip }, async (t) => {
  const inner = join(group.path!, "container", "inner");
  mkdirSync(inner, { recursive: true });
  const child = Bun.spawn(["sleep", "100"]);
  writeFileSync(join(inner, "cgroup.procs"), String(child.pid));
  t.strictSame(members(group), [child.pid]);
  // As a virtual machine has for its processors.
  const threads = join(inner, "threads");
  mkdirSync(threads);
  writeFileSync(join(threads, "cgroup.type"), "threaded");
  t.throws(() => readFileSync(join(threads, "cgroup.procs")), "it lists no processes");
  t.strictSame(members(group), [child.pid], "they are found all the same");
  killAll(group);
  await child.exited;
  t.equal(child.signalCode, "SIGKILL");
  t.strictSame(members(group), []);
  dissolve(group);
  t.throws(() => readFileSync(join(group.path!, "cgroup.procs")), /ENOENT/, "nothing of it is left");
});

t.test(
  "a process that a hook adopted dies with the module; one that got its number later does not",
  async (t) => {
    process.env[ADOPTED_FILE] = group.adopted;
    t.teardown(() => delete process.env[ADOPTED_FILE]);
    const [guest, stranger] = [Bun.spawn(["sleep", "100"]), Bun.spawn(["sleep", "100"])];
    adopt(guest.pid);
    adopt(guest.pid);
    const [line] = readFileSync(group.adopted, "utf8").split("\n");
    t.equal(readFileSync(group.adopted, "utf8"), `${line}\n`, "twice is once");
    // As if the guest's number had been the stranger's: when it began tells them apart.
    const taken = line!.replace(` ${guest.pid} `, ` ${stranger.pid} `).replace(/\d+$/, "1");
    writeFileSync(group.adopted, `${line}\n${taken}\n`);
    t.strictSame(members(group), [guest.pid]);
    killAll(group);
    await guest.exited;
    t.equal(guest.signalCode, "SIGKILL");
    t.equal(stranger.exitCode, null, "the stranger lives");
    t.strictSame(members(group), []);
    adopt(stranger.pid);
    t.equal(readFileSync(group.adopted, "utf8").split("\n").length, 4, "appended: another may add at once");
    writeFileSync(group.adopted, `${taken}\n`.repeat(256));
    adopt(stranger.pid);
    t.equal(readFileSync(group.adopted, "utf8").split("\n").length, 2, "of many, the dead are forgotten");
    stranger.kill();
    await stranger.exited;
    t.throws(() => adopt(stranger.pid), /does not live/);
    t.throws(() => adopt(1), /not a process to adopt/);
  },
);
