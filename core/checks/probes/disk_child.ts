/** `__disk PATH look|write`: one look at a file system, in a process that may hang. Prints a DiskAnswer, or why it cannot. */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { DiskAnswer } from "./disk.ts";

const PROBE_FILE = ".holdfast-disk-check";

/** See the top of the file. */
export function runDiskChild(path: string, write: boolean): void {
  try {
    const { bsize, blocks, bavail, files, ffree } = statfsSync(path);
    const readOnly = isReadOnly(realpathSync(path));
    if (write && !readOnly) writeProbe(join(path, PROBE_FILE));
    const answer: DiskAnswer = {
      total: bsize * blocks,
      free: bsize * bavail,
      objects: files,
      freeObjects: ffree,
      readOnly,
    };
    console.log(JSON.stringify(answer));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}

/** Room that is there, and bytes that reach the disk, are two things. */
function writeProbe(file: string): void {
  // Never through a link that a user of that directory has put there: this process is root.
  rmSync(file, { force: true });
  const fd = openSync(file, "wx", 0o600);
  try {
    writeSync(fd, "holdfast looks whether this disk can be written\n");
    fsyncSync(fd);
  } finally {
    closeSync(fd);
    rmSync(file, { force: true });
  }
}

/** By the last mount that the path lies in, and by its file system: the kernel makes one read-only after an error. See proc_pid_mountinfo(5). */
function isReadOnly(path: string): boolean {
  let deepest = "";
  let options: string[] = [];
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const fields = before.split(" ");
    const point = fields[4]?.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    if (point === undefined || !`${path}/`.startsWith(point === "/" ? "/" : `${point}/`)) continue;
    if (point.length < deepest.length) continue;
    deepest = point;
    options = [...fields[5]!.split(","), ...(after.split(" ")[2] ?? "").split(",")];
  }
  return options.includes("ro");
}
