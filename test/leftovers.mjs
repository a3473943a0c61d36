/**
 * What a test file leaves behind when it is killed in its midst: processes that had left its group, mounts, loop devices, cgroups,
 * directories. Its processes are known by a mark in their environment, all else by its pid in the name: `holdfast-…-PID`. Plain Node 20.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** The variable that marks the processes of a test file. */
export const MARK = "HOLDFAST_TEST_FILE";
const ROUNDS = 100;
const CGROUPS = "/sys/fs/cgroup";

/** Ends and removes what the test file that ran as `pid`, with `mark` in its environment, left. Returns what that was, one line each. */
export async function cleanAfter(pid, mark) {
  const own = new RegExp(`/holdfast-[^/]*-${pid}(?=[-/]|$)`);
  const cleaned = await endProcesses(mark);
  for (const path of mountsOf(own).reverse()) {
    const { status, stderr } = spawnSync("umount", ["-l", path], { encoding: "utf8" });
    cleaned.push(status === 0 ? `unmounted ${path}` : `cannot unmount ${path}: ${stderr.trim()}`);
  }
  for (const device of loopsOf(own)) {
    // Mounted by itself, it went with the mount.
    spawnSync("losetup", ["-d", device], { stdio: "ignore" });
    cleaned.push(`detached ${device}`);
  }
  for (const group of cgroupsOf(own)) {
    cleaned.push(await removeGroup(group));
  }
  if (mountsOf(own).length > 0) return cleaned;
  for (const path of ["/tmp", "/var/tmp"].flatMap((top) => namesIn(top).map((name) => join(top, name)))) {
    if (!own.test(path)) continue;
    rmSync(path, { recursive: true, force: true });
    cleaned.push(`removed ${path}`);
  }
  return cleaned;
}

/** Kills all that carry the mark, and what they start meanwhile; waits until they are gone. */
async function endProcesses(mark) {
  const ended = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    const marked = namesIn("/proc").filter(
      (name) => /^\d+$/.test(name) && textOf(`/proc/${name}/environ`).split("\0").includes(`${MARK}=${mark}`),
    );
    if (marked.length === 0) break;
    for (const pid of marked) {
      ended.set(pid, textOf(`/proc/${pid}/comm`).trim());
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return [...ended].map(([pid, command]) => `killed ${command} (pid ${pid})`);
}

/** A process that was killed leaves its cgroup only when all that it held is given back. */
async function removeGroup(group) {
  for (let round = 1; ; round++) {
    try {
      rmdirSync(group);
      return `removed ${group}`;
    } catch (error) {
      if (error.code === "ENOENT") return `removed ${group}`;
      if (round === ROUNDS) return `cannot remove ${group}: ${error.message}`;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Mount points, outermost first. */
function mountsOf(own) {
  return textOf("/proc/self/mountinfo")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => own.test(path));
}

function loopsOf(own) {
  return namesIn("/sys/block")
    .filter((name) => own.test(textOf(`/sys/block/${name}/loop/backing_file`)))
    .map((name) => `/dev/${name}`);
}

/** Cgroups, innermost first. */
function cgroupsOf(own) {
  const below = (group) => [
    ...namesIn(group, true).flatMap((name) => below(join(group, name))),
    ...(own.test(group) ? [group] : []),
  ];
  return below(CGROUPS);
}

/* What is looked at may go at any moment: then nothing is there. */
function namesIn(path, directories = false) {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    return entries.filter((entry) => !directories || entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}
function textOf(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
