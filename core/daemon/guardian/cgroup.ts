/**
 * The application of a module as the kernel sees it: a cgroup (v2) that its start hooks are put into, and that fencing
 * kills in one write, however the processes forked, detached or changed their names. See cgroups(7), cgroup.kill.
 *
 * Where no cgroup can be made (an unprivileged user namespace), processes are found by a mark in their environment. What
 * other daemons run for the module, in cgroups of theirs, is in a list that its hooks keep.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { adopted } from "../../../hooks/adopted.ts";

/** The environment variable that marks a module's processes. */
export const MARK = "HOLDFAST_MARK";

/** Where and how a module's processes are found. `path` is null without cgroups; `adopted` is the list that hooks keep. */
export interface ProcessGroup {
  path: string | null;
  mark: string;
  adopted: string;
}

/** The cgroup v2 hierarchy's mount point, or null. */
function hierarchy(): string | null {
  for (const line of readFileSync("/proc/mounts", "utf8").split("\n")) {
    const [, mountPoint, type] = line.split(" ");
    if (type === "cgroup2" && mountPoint) return mountPoint;
  }
  return null;
}

/** The list that the hooks and checkers of a module keep of what they adopted. */
export function adoptedList(varDir: string, module: string): string {
  return join(varDir, "run", "adopted", module);
}

/** Makes (or finds again) the process group of one module. Two nodes on one machine differ by their var directory. */
export function processGroup(varDir: string, module: string): ProcessGroup {
  const { dev, ino } = statSync(varDir);
  const node = createHash("sha256").update(`${varDir}\n${dev}\n${ino}`).digest("hex").slice(0, 12);
  const mark = `${node}.${module}`;
  const adopted = adoptedList(varDir, module);
  const root = hierarchy();
  const path = root && join(root, "holdfast", mark);
  try {
    if (path) mkdirSync(path, { recursive: true });
  } catch {
    return { path: null, mark, adopted };
  }
  return { path: path && existsSync(join(path, "cgroup.kill")) ? path : null, mark, adopted };
}

/** Process ids that carry the mark in their environment. */
function marked(mark: string): number[] {
  const needle = `${MARK}=${mark}\0`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return `${readFileSync(`/proc/${pid}/environ`, "latin1")}\0`.includes(needle);
      } catch {
        return false; // Gone, or not ours to read: neither carries our mark.
      }
    })
    .map(Number);
}

/** What `look` finds in a cgroup; [] when that has gone meanwhile, or is one of threads, whose processes are listed further out. See cgroups(7). */
function inCgroup<T>(look: () => T[]): T[] {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "ENODEV", "EOPNOTSUPP", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? ""))
      return [];
    throw error;
  }
}

/** A cgroup and those that were made in it, such as a container's; the innermost first. */
function nested(path: string): string[] {
  const inner = inCgroup(() =>
    readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory()),
  );
  return [...inner.flatMap(({ name }) => nested(join(path, name))), path];
}

/** Processes of a cgroup and of those in it. */
function livingIn(path: string): number[] {
  return nested(path).flatMap((one) =>
    inCgroup(() => readFileSync(join(one, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number)),
  );
}

/** The module's living processes. */
export function members({ path, mark, adopted: list }: ProcessGroup): number[] {
  const own = path ? livingIn(path) : marked(mark);
  return [...new Set([...own, ...adopted(list)])];
}

/** Kills every process of the module. Harmless when there is none. */
export function killAll({ path, mark, adopted: list }: ProcessGroup): void {
  if (path && existsSync(path)) writeFileSync(join(path, "cgroup.kill"), "1");
  killEach([...(path ? [] : marked(mark)), ...adopted(list)]);
}

/** One that has ended meanwhile does not save the others. */
function killEach(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/** The directory of a systemd unit's cgroup, as systemd calls it; null where it has none. In a container, systemd's root is not the hierarchy's. */
function serviceDirectory(cgroup: string): string | null {
  const root = hierarchy();
  if (root === null) return null;
  const own = /^0::(.*)$/m.exec(readFileSync("/proc/1/cgroup", "utf8"))?.[1] ?? "/";
  const path = join(root, own.replace(/\/init\.scope$/, ""), cgroup);
  return existsSync(path) ? path : null;
}

/** Living processes of a systemd unit, below its cgroup. */
export function serviceMembers(cgroup: string): number[] {
  const path = serviceDirectory(cgroup);
  return path === null ? [] : livingIn(path);
}

/** Kills every process of a systemd unit. Harmless when there is none. */
export function killService(cgroup: string): void {
  const path = serviceDirectory(cgroup);
  if (path === null) return;
  if (existsSync(join(path, "cgroup.kill"))) writeFileSync(join(path, "cgroup.kill"), "1");
  else killEach(livingIn(path));
}

/** Removes the empty cgroup of a module that is no longer configured. */
export function dissolve(group: ProcessGroup): void {
  if (group.path && existsSync(group.path) && members(group).length === 0)
    for (const path of nested(group.path)) rmdirSync(path);
}
