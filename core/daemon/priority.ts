/**
 * A busy machine must not look like a dead one: daemon and guardian keep their memory and go first when there is something to do.
 */
import { mlockall, setpriority, setScheduler } from "../platform/linux/libc.ts";

/** <sys/mman.h>: pages are locked as they are touched; all at once would cost gigabytes of a runtime's address space. */
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;
const PRIO_PROCESS = 0;
/** <sched.h>. Children start as ordinary processes: the application must not inherit this (trap 35a). */
const SCHED_RR = 2;
const SCHED_RESET_ON_FORK = 0x4000_0000;
const LOWEST_REAL_TIME = 1;
const NICE = -15;

/** Locks memory and raises priority where the system lets us, and says once where it does not. */
export function claimPriority(): void {
  const refused: string[] = [];
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) refused.push("its memory may be swapped out");
  // Real-time, since niceness counts only within a session where the kernel groups by sessions (sched_autogroup_enabled).
  if (
    setScheduler(SCHED_RR | SCHED_RESET_ON_FORK, LOWEST_REAL_TIME) < 0 &&
    setpriority(PRIO_PROCESS, 0, NICE) < 0
  )
    refused.push("it runs at ordinary priority");
  if (refused.length > 0)
    console.error(`holdfast: the system lets this process have no more: ${refused.join(", ")}`);
}
