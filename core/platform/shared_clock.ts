/** The clock that all processes of a node share, and by which witnesses count. */
import { CLOCK_BOOTTIME } from "./linux/constants.ts";
import { clock } from "./linux/libc.ts";

/** ms; it counts a suspended machine too. */
export const sharedClock = (): number => clock(CLOCK_BOOTTIME);
