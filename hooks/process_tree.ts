/**
 * Ends a process together with everything that it started.
 *
 * A process group misses what called setsid, a walk over parents misses what was orphaned, a mark in the environment
 * misses what cleared it: all three together, repeated until nothing is found.
 */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** The variable that carries the mark of one run. */
export const RUN_MARK = "HOLDFAST_RUN";

const ROUNDS = 10;

/** Living processes (pid to parent); zombies are not alive. */
function processes(): Map<number, number> {
  const found = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const [state, parent] = readFileSync(`/proc/${entry}/stat`, "latin1").split(") ").at(-1)!.split(" ");
      if (state !== "Z" && state !== "X") found.set(Number(entry), Number(parent));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

function carriesMark(pid: number, mark: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`${RUN_MARK}=${mark}`);
  } catch {
    return false;
  }
}

/** Descendants of `root` (itself included while it lives) and, with a mark, every process that carries it. */
export function familyOf(root: number, mark: string | null): number[] {
  const parents = processes();
  const family = new Set<number>([root]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const [pid, parent] of parents)
      if (!family.has(pid) && family.has(parent)) {
        family.add(pid);
        grew = true;
      }
  }
  if (mark !== null) for (const pid of parents.keys()) if (carriesMark(pid, mark)) family.add(pid);
  family.delete(process.pid);
  return [...family].filter((pid) => parents.has(pid));
}

function killOne(target: number): void {
  try {
    process.kill(target, "SIGKILL");
  } catch (error) {
    const gone = error instanceof Error && "code" in error && error.code === "ESRCH";
    if (!gone) throw error;
  }
}

/** Kills `root`, its process group when `group`, its descendants, and what carries the mark. */
export function killFamily(root: number, mark: string | null, group: boolean): void {
  // Collected first: once the root is dead its children have another parent.
  let targets = familyOf(root, mark);
  if (group) killOne(-root);
  for (let round = 0; round < ROUNDS && targets.length > 0; round++) {
    for (const pid of targets) killOne(pid);
    targets = familyOf(root, mark);
  }
}
