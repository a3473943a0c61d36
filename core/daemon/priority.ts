/**
 * A busy machine must not look like a dead one: daemon and guardian keep their memory and go first when there is something to do.
 *
 * Not by real-time scheduling: the runtime's main thread waits for its own ordinary threads, and would starve them.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mlockall, setpriority } from "../platform/linux/libc.ts";

/** <sys/mman.h>: pages are locked as they are touched; all at once would cost gigabytes of a runtime's address space. */
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;
const PRIO_PROCESS = 0;
const NICE = -15;
/** See sched(7), "The autogroup feature". */
const AUTOGROUP = "/proc/self/autogroup";
/** Field of /proc/self/stat behind the command's name: the session. See proc_pid_stat(5). */
const SESSION = 3;

/** Locks memory and raises priority where the system lets us, and says once where it does not. */
export function claimPriority(): void {
  const refused: string[] = [];
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) refused.push("its memory may be swapped out");
  if (setpriority(PRIO_PROCESS, 0, NICE) < 0) refused.push("it runs at ordinary priority");
  if (!raiseSession()) refused.push("its session runs at ordinary priority");
  if (refused.length > 0)
    console.error(`holdfast: the system lets this process have no more: ${refused.join(", ")}`);
}

/**
 * The scheduler weighs whole sessions against each other first, and niceness counts only inside one: a nice daemon would wait behind every session of
 * a busy machine. Not for a session that is not ours alone, a terminal's. Returns false when it was refused.
 */
function raiseSession(): boolean {
  const fields = readFileSync("/proc/self/stat", "latin1").split(") ")[1]!.split(" ");
  if (Number(fields[SESSION]) !== process.pid || !existsSync(AUTOGROUP)) return true;
  try {
    writeFileSync(AUTOGROUP, `${NICE}`);
    return true;
  } catch {
    return false;
  }
}
