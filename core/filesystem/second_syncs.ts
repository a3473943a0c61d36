/**
 * SECOND: the application's syncs, and where they are done.
 *
 * A pool costs two changes of thread, on a fast disk as long as the sync itself. So a sync of little, with nothing else to do, is done at once, as
 * long as the last ones were quick; the first slow one sends the following to the pool again.
 */
import { errnos } from "../platform/linux/errno.ts";
import { fdatasync, fsync } from "../platform/linux/libc.ts";
import { type Frame, FrameType } from "../replication/operation.ts";
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

/** An operation was applied: counts what a sync of its object has to write. */
export function noteUnsynced(objects: ReplicaObjects, frame: Frame): void {
  const object = objects.get(frame.id);
  if (object === undefined) return;
  if (frame.type === FrameType.WRITE) object.unsyncedBytes += frame.data.length;
  else if (frame.type !== FrameType.BIND && frame.type !== FrameType.SETATTR)
    object.unsyncedBytes = Number.POSITIVE_INFINITY;
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
    object.unsyncedBytes = 0;
    const dataOnly = (frame.flags & 1) !== 0;
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
