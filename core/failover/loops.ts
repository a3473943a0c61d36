/** maxLoop: automatic restarts are counted, so that a node that flaps comes to rest with the reason visible (trap 24). */

import { persist, queueData } from "./plan.ts";
import type { Draft } from "./state.ts";

/** Counts one automatic action. False: the limit was already reached, and the caller must stop the module. */
export function countLoop(draft: Draft): boolean {
  const { count, intervalMs } = draft.config.maxLoop;
  if (count === 0 || intervalMs === 0) return true;
  const recent = draft.record.loops.filter((at) => at > draft.wall - intervalMs && at <= draft.wall);
  if (recent.length >= count) return false;
  queueData(draft, [persist({ loops: [...recent, draft.wall] })]);
  return true;
}

/** A person acts: the count begins anew. */
export function resetLoops(draft: Draft): void {
  if (draft.record.loops.length > 0) queueData(draft, [persist({ loops: [] })]);
}
