/**
 * Processes that another daemon started on a module's behalf: a container of dockerd, a guest of libvirtd. They are in no cgroup of
 * the module, so its hooks name them, and fencing kills them with the rest.
 *
 * One a line: boot, process id, and when that process began. A pid alone may be somebody else's by the time that it is killed. A line is
 * appended in one write: a hook and a checker may each add theirs at once.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** The variable that names the file in which a hook of the module lists them. */
export const ADOPTED_FILE = "HOLDFAST_ADOPTED";
/** So many lines are sorted out before there is another. */
const MANY = 256;

/** Which process this is, among all that had its id; null when it does not live. See proc(5), /proc/pid/stat. */
function identityOf(pid: number): string | null {
  try {
    const [state, ...fields] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.split(" ");
    if (state === "Z" || state === "X") return null;
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    return `${boot} ${pid} ${fields[18]}`;
  } catch {
    return null;
  }
}

function listedLines(file: string): string[] {
  return existsSync(file) ? readFileSync(file, "latin1").split("\n").filter(Boolean) : [];
}

/** The living ones among those that the file lists, as they are written there. */
function livingLines(file: string): string[] {
  return listedLines(file).filter((line) => identityOf(Number(line.split(" ")[1])) === line);
}

/** Process ids of the living ones among those that the file lists. */
export function adopted(file: string): number[] {
  return livingLines(file).map((line) => Number(line.split(" ")[1]));
}

/** Adds a process to the file; forgets those that are gone when there are many. Throws when there is no such process. */
export function addAdopted(file: string, pid: number): void {
  const identity = identityOf(pid);
  if (identity === null) throw new Error(`process ${pid} cannot be adopted: it does not live`);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const lines = listedLines(file);
  if (lines.includes(identity)) return;
  if (lines.length < MANY) {
    appendFileSync(file, `${identity}\n`, { mode: 0o600 });
    return;
  }
  writeFileSync(`${file}.new`, `${[...livingLines(file), identity].join("\n")}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
