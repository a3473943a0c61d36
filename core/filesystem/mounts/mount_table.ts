/**
 * What is mounted where, and who has files open there: read from /proc, for the guards at the start and for cleaning up.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** One line of /proc/self/mountinfo. */
export interface MountEntry {
  id: number;
  /** The mount that this one lies on. */
  parent: number;
  device: string;
  mountPoint: string;
  type: string;
  source: string;
  readOnly: boolean;
}

/** mountinfo writes blanks and backslashes as octal. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** All mounts of this namespace, in the order mounted. */
export function mounts(): MountEntry[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [front = "", back = ""] = line.split(" - ");
      const fields = front.split(" ");
      const [type = "", source = ""] = back.split(" ");
      return {
        id: Number(fields[0]),
        parent: Number(fields[1]),
        device: fields[2] ?? "",
        mountPoint: unescaped(fields[4] ?? ""),
        type,
        source: unescaped(source),
        readOnly: (fields[5] ?? "").split(",").includes("ro"),
      };
    });
}

/** The uppermost mount exactly at `path`, or undefined. */
export function topMountAt(path: string): MountEntry | undefined {
  return mounts().findLast((entry) => entry.mountPoint === path);
}

/** True for SECOND's view: a read-only mount of a directory over itself, so the mount below it is of the same device. */
export function isReadOnlyView(entry: MountEntry): boolean {
  if (!entry.readOnly || entry.type.startsWith("fuse")) return false;
  return mounts().some((below) => below.id === entry.parent && below.device === entry.device);
}

/** Mount points below `path`. */
export function mountsBelow(path: string): string[] {
  return [...new Set(mounts().map((entry) => entry.mountPoint))].filter((point) =>
    point.startsWith(`${path}/`),
  );
}

/** A process that uses a directory. */
export interface DirectoryUser {
  pid: number;
  command: string;
  file: string;
}

/** Processes (this one excepted) with a file, their current directory or a mapping in `path`; the first file of each. */
export function usersOf(path: string): DirectoryUser[] {
  const device = statSync(path).dev;
  const users: DirectoryUser[] = [];
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const file = fileWithin(pid, path, device);
    if (file !== null) users.push({ pid, command: commandOf(pid), file });
  }
  return users;
}

function fileWithin(pid: number, path: string, device: number): string | null {
  const inside = (file: string): boolean => file === path || file.startsWith(`${path}/`);
  const links = ["cwd", "root", ...listOf(`/proc/${pid}/fd`).map((fd) => `fd/${fd}`)];
  for (const link of links) {
    try {
      const at = `/proc/${pid}/${link}`;
      const file = readlinkSync(at);
      // Another mount namespace may use the same path for something else: the device tells.
      if (inside(file) && statSync(at).dev === device) return file;
    } catch {
      // The process or its descriptor went away meanwhile, which is as good as closed.
    }
  }
  return null;
}

function listOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "gone";
  }
}
