/** The names that a request carries, each ended by a NUL. */
import type { Session } from "../session.ts";

/** The offset behind the NUL that ends the name at `at`. */
export function afterName(s: Session, at: number): number {
  return s.request.bytes.indexOf(0, at) + 1;
}

/** The bytes of the name at `at`, without the NUL: for the replicator, not for the hot path. */
export function nameAt(s: Session, at: number): Uint8Array {
  return s.request.bytes.subarray(at, s.request.bytes.indexOf(0, at));
}
