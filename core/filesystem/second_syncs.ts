/** SECOND: the application's syncs. With nothing else to do, those that are quick are done at once, see prompt_syncs.ts; all others by the pool. */
import { errnos } from "../platform/linux/errno.ts";
import { fdatasync, fsync } from "../platform/linux/libc.ts";
import { type Frame, FrameType } from "../replication/operation.ts";
import { monotonic } from "./poll_loop.ts";
import type { Pool } from "./pool.ts";
import { PromptSyncs } from "./prompt_syncs.ts";
import type { ReplicaObjects } from "./replica_objects.ts";
import { type SyncDone, SyncQueue } from "./sync_queue.ts";

/** An operation was applied: counts what a sync of its object has to write. */
export function noteUnsynced(objects: ReplicaObjects, frame: Frame): void {
  const object = objects.get(frame.id);
  if (object === undefined) return;
  if (frame.type === FrameType.WRITE || frame.type === FrameType.DATA)
    object.unsyncedBytes += frame.data.length;
  // Until here nothing was known of it.
  else if (frame.type === FrameType.CREATE || frame.type === FrameType.CREATE_UNNAMED)
    object.unsyncedBytes = 0;
}

/** The application's syncs. */
export class SecondSyncs {
  readonly #objects: ReplicaObjects;
  readonly #done: SyncDone;
  readonly #queue: SyncQueue;
  readonly #rule = new PromptSyncs();

  /** `done` hears how each ended. */
  constructor(pool: Pool, objects: ReplicaObjects, done: SyncDone) {
    this.#objects = objects;
    this.#done = done;
    this.#queue = new SyncQueue(pool, done, this.#rule);
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
    const prompt = isLast && this.#queue.idle && this.#rule.allow(object.unsyncedBytes);
    object.unsyncedBytes = 0;
    const dataOnly = (frame.flags & 1) !== 0;
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
