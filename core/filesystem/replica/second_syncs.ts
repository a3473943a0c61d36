/**
 * SECOND: the application's syncs. With nothing else to do, those that are quick are done at once, see prompt_syncs.ts; all others by the pool.
 *
 * When nothing but data and the times of writes changed since the last sync of all of an object, its data suffices: for a time alone the disk would commit
 * its journal. Nothing, on the whole copy: a rename or a link elsewhere may be one that this sync has to make durable, too. The times
 * are on PRIM's disk, and on this one from the next durable point.
 */
import { errnos } from "../../platform/linux/errno.ts";
import { fdatasync, fsync } from "../../platform/linux/libc.ts";
import { type Frame, FrameType } from "../../replication/operation.ts";
import { ATTR_MTIME } from "../../replication/replicator.ts";
import { monotonic } from "../loop/poll_loop.ts";
import type { Pool } from "../loop/pool.ts";
import { PromptSyncs } from "../loop/prompt_syncs.ts";
import { type SyncDone, SyncQueue } from "../loop/sync_queue.ts";
import type { ReplicaObject, ReplicaObjects } from "./replica_objects.ts";

/** The time that a file got from the writes before. */
const isTimeOfWrites = (frame: Frame, object: ReplicaObject | undefined): boolean =>
  frame.type === FrameType.SETATTR && frame.valid === ATTR_MTIME && (object?.unsyncedBytes ?? 0) > 0;

/** The application's syncs. */
export class SecondSyncs {
  readonly #objects: ReplicaObjects;
  readonly #done: SyncDone;
  readonly #queue: SyncQueue;
  readonly #rule = new PromptSyncs();
  /** How many operations changed more than a file's data and its time. */
  #changes = 0;

  /** `done` hears how each ended. */
  constructor(pool: Pool, objects: ReplicaObjects, done: SyncDone) {
    this.#objects = objects;
    this.#done = (ticket, errno) => {
      // It made nothing durable: the next ones have to.
      if (errno !== 0) this.#changes++;
      done(ticket, errno);
    };
    this.#queue = new SyncQueue(pool, this.#done, this.#rule);
  }

  /** True when none is under way. */
  get idle(): boolean {
    return this.#queue.idle;
  }

  /** Tries again what the full pool could not take. Call once a turn. */
  retry(): void {
    this.#queue.retry();
  }

  /** An operation was applied: counts what a sync of its object has to write. */
  applied(frame: Frame): void {
    const object = this.#objects.get(frame.id);
    if (frame.type === FrameType.WRITE && object !== undefined) object.unsyncedBytes += frame.data.length;
    else if (!isTimeOfWrites(frame, object)) this.#changed(frame, object);
  }

  #changed(frame: Frame, object: ReplicaObject | undefined): void {
    this.#changes++;
    if (object === undefined) return;
    if (frame.type === FrameType.DATA) object.unsyncedBytes += frame.data.length;
    // Until here nothing was known of it.
    else if (frame.type === FrameType.CREATE || frame.type === FrameType.CREATE_UNNAMED)
      object.unsyncedBytes = 0;
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
    const prompt = isLast && this.#queue.idle && this.#rule.allow(object.unsyncedBytes);
    object.unsyncedBytes = 0;
    const dataOnly = (frame.flags & 1) !== 0 || object.syncedAfter === this.#changes;
    if (!dataOnly) object.syncedAfter = this.#changes;
    if (prompt) this.#done(ticket, this.#syncNow(fd, dataOnly));
    else this.#queue.sync(id, fd, dataOnly, ticket);
  }

  /** Returns 0 or a positive errno. */
  #syncNow(fd: number, dataOnly: boolean): number {
    const began = monotonic();
    const result = dataOnly ? fdatasync(fd) : fsync(fd);
    this.#rule.took(monotonic() - began);
    return Math.max(0, -result);
  }
}
