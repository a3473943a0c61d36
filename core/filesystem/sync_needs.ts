/**
 * SECOND: what a sync of an object must reach, and where it is done.
 *
 * Each change of a modification time would cost an fsync a commit of the disk's journal, a hundred times a second. PRIM's disk pays that, as it
 * would without a peer; SECOND's need not: fdatasync leaves nothing behind but times, and if both disks lose power, PRIM's has them.
 *
 * A pool costs two changes of thread, on a fast disk as long as the sync itself. So a sync of little, with nothing else to do, is done at once, as
 * long as the last ones were quick; the first slow one sends the following to the pool again.
 */
import { fdatasync, fsync } from "../platform/linux/libc.ts";
import { type Frame, FrameType } from "../replication/operation.ts";
import { ATTR_ATIME, ATTR_MTIME } from "../replication/replicator.ts";
import { monotonic } from "./poll_loop.ts";
import type { ReplicaObject, ReplicaObjects } from "./replica_objects.ts";

/** At most so many bytes of an object are synced at once. */
const LITTLE = 64 << 10;
/** A sync that takes no longer is quick, ms. */
const QUICK = 1;
/** After a slow one, so many go to the pool. */
const DISTRUST = 64;

/** An operation was applied: remembers what a sync of its object has to reach. */
export function noteUnsynced(objects: ReplicaObjects, frame: Frame): void {
  const object = objects.get(frame.id);
  if (object === undefined) return;
  switch (frame.type) {
    case FrameType.WRITE:
      object.unsyncedBytes += frame.data.length;
      return;
    case FrameType.SETATTR:
      if ((frame.valid & ~(ATTR_ATIME | ATTR_MTIME)) === 0) return;
      break;
    case FrameType.BIND:
    case FrameType.SYNC:
      return;
    default:
  }
  object.unsyncedBytes = Number.POSITIVE_INFINITY;
  object.unsyncedAttributes = true;
}

/** True when fdatasync is enough for this sync, since no more was `asked` or it leaves nothing behind but times. From here on it counts as done. */
export function takeNeeds(object: ReplicaObject, asked: boolean): boolean {
  const dataOnly = asked || !object.unsyncedAttributes;
  if (!dataOnly) object.unsyncedAttributes = false;
  object.unsyncedBytes = 0;
  return dataOnly;
}

/** Syncs of little, done in the loop. */
export class PromptSyncs {
  #distrust = DISTRUST;

  /** May this object's next sync be done at once? */
  suits(object: ReplicaObject): boolean {
    if (object.unsyncedBytes > LITTLE) return false;
    if (this.#distrust === 0) return true;
    this.#distrust--;
    return false;
  }

  /** Syncs. Returns 0 or a positive errno. */
  sync(fd: number, dataOnly: boolean): number {
    const began = monotonic();
    const result = dataOnly ? fdatasync(fd) : fsync(fd);
    if (monotonic() - began > QUICK) this.#distrust = DISTRUST;
    return Math.max(0, -result);
  }
}
