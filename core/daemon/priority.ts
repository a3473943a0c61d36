/**
 * A busy machine must not look like a dead one: daemon and guardian keep their memory and go first when there is something to do.
 *
 * Not by real-time scheduling: the runtime's main thread waits for its own ordinary threads, and would starve them.
 */
import { mlockall, setpriority } from "../platform/linux/libc.ts";

/** <sys/mman.h>: pages are locked as they are touched; all at once would cost gigabytes of a runtime's address space. */
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;
const PRIO_PROCESS = 0;
const NICE = -15;

/** Locks memory and raises priority where the system lets us, and says once where it does not. */
export function claimPriority(): void {
  const refused: string[] = [];
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) refused.push("its memory may be swapped out");
  if (setpriority(PRIO_PROCESS, 0, NICE) < 0) refused.push("it runs at ordinary priority");
  if (refused.length > 0)
    console.error(`holdfast: the system lets this process have no more: ${refused.join(", ")}`);
}
