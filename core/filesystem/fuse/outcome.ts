/** What an operation returns: the length of its reply's payload, -errno, or one of these. */

/** It must wait for room, and is tried again. */
export const PARKED = -10_001;
/** No reply now: it is in the table of pending replies, or the kernel wants none. */
export const NO_REPLY = -10_002;
