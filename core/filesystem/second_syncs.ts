/**
 * SECOND: what a sync of an object must reach, and where it is done.
 *
 * Each change of a modification time would cost an fsync a commit of the disk's journal, a hundred times a second. PRIM's disk pays that, as it
 * would without a peer; SECOND's need not: fdatasync leaves nothing behind but times, and if both disks lose power, PRIM's has them.
 *
 * A pool costs two changes of thread, on a fast disk as long as the sync itself. So a sync of little, with nothing else to do, is done at once, as
 * long as the last ones were quick; the first slow one sends the following to the pool again.
 */
import { errnos } from "../platform/linux/errno.ts";
import { fdatasync, fsync } from "../platform/linux/libc.ts";
import { type Frame, FrameType } from "../replication/operation.ts";
import { ATTR_ATIME, ATTR_MTIME } from "../replication/replicator.ts";
import { monotonic } from "./poll_loop.ts";
import type { Pool } from "./pool.ts";
import type { ReplicaObject, ReplicaObjects } from "./replica_objects.ts";
import { type SyncDone, SyncQueue } from "./sync_queue.ts";

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

/** The application's syncs. */
export class SecondSyncs {
  readonly #objects: ReplicaObjects;
  readonly #done: SyncDone;
  readonly #queue: SyncQueue;
  #distrust = DISTRUST;

  /** `done` hears how each ended. */
  constructor(pool: Pool, objects: ReplicaObjects, done: SyncDone) {
    this.#objects = objects;
    this.#done = done;
    this.#queue = new SyncQueue(pool, done);
  }

  /** True when none is under way. */
  get idle(): boolean {
    return this.#queue.idle;
  }

  /** Tries again what the full pool could not take. Call once a turn. */
  retry(): void {
    this.#queue.retry();
  }

  /** Takes a SYNC. `isLast`: nothing else was received. */
  take(frame: Frame, isLast: boolean): void {
    const { id, ticket } = frame;
    const fd = this.#objects.fd(id);
    const object = this.#objects.get(id);
    if (fd < 0 || object === undefined) {
      this.#done(ticket, fd < 0 ? -fd : errnos.ENOENT);
      return;
    }
    const prompt = isLast && this.#queue.idle && this.#isPrompt(object);
    const dataOnly = takeNeeds(object, (frame.flags & 1) !== 0);
    if (prompt) this.#done(ticket, this.#syncNow(fd, dataOnly));
    else this.#queue.sync(id, fd, dataOnly, ticket);
  }

  /** May this object's next sync be done at once? */
  #isPrompt(object: ReplicaObject): boolean {
    if (object.unsyncedBytes > LITTLE) return false;
    if (this.#distrust === 0) return true;
    this.#distrust--;
    return false;
  }

  /** Returns 0 or a positive errno. */
  #syncNow(fd: number, dataOnly: boolean): number {
    const began = monotonic();
    const result = dataOnly ? fdatasync(fd) : fsync(fd);
    if (monotonic() - began > QUICK) this.#distrust = DISTRUST;
    return Math.max(0, -result);
  }
}

/** True when fdatasync is enough: no more was `asked`, or it leaves nothing of the object behind but times. From here on the sync counts as done. */
function takeNeeds(object: ReplicaObject, asked: boolean): boolean {
  const dataOnly = asked || !object.unsyncedAttributes;
  if (!dataOnly) object.unsyncedAttributes = false;
  object.unsyncedBytes = 0;
  return dataOnly;
}
