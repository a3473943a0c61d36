/**
 * SECOND: what was applied and is perhaps not on its disk yet. A durable point syncs it.
 *
 * Object by object, since syncfs stalls everybody else on the disk; but when thousands of objects were touched, one syncfs is the
 * smaller evil.
 */
import { type Frame, FrameType } from "../replication/operation.ts";
import { type Completion, Job, type Pool } from "./pool.ts";
import type { ReplicaObjects } from "./replica_objects.ts";
import { SyncQueue } from "./sync_queue.ts";

/** Above this many objects, whole file systems are synced. */
const MOST_SINGLE_SYNCS = 512;
const IN_FLIGHT = 16;

/** One durable point under way. */
interface Point {
  everything: boolean;
  ids: number[];
  next: number;
  running: number;
  errno: number;
  done: (errno: number) => void;
}

/** See the top of the file. */
export class TouchedObjects implements Completion {
  readonly #objects: ReplicaObjects;
  readonly #pool: Pool;
  readonly #roots: readonly number[];
  readonly #syncs: SyncQueue;
  #ids = new Set<number>();
  /** A symbolic link or a special file was changed, or put in the place of another: nothing of it can be synced by itself. */
  #isElsewhere = false;
  readonly #points: Point[] = [];

  constructor(objects: ReplicaObjects, pool: Pool, roots: readonly number[]) {
    this.#objects = objects;
    this.#pool = pool;
    this.#roots = roots;
    this.#syncs = new SyncQueue(pool, (_, errno) => this.#finished(errno));
  }

  /** True when no durable point is under way. */
  get idle(): boolean {
    return this.#points.length === 0;
  }

  /** An operation was applied. */
  note(frame: Frame): void {
    switch (frame.type) {
      case FrameType.ROOT:
      case FrameType.BIND:
      case FrameType.FORGET:
        return;
      case FrameType.RENAME:
        this.#ids.add(frame.parent).add(frame.toParent);
        return;
      case FrameType.UNLINK:
        this.#ids.add(frame.parent);
        return;
      case FrameType.CREATE:
      case FrameType.LINK:
        this.#ids.add(frame.parent).add(frame.id);
        return;
      default:
        this.#ids.add(frame.id);
        if (this.#objects.get(frame.id)?.pathOnly === true) this.#isElsewhere = true;
    }
  }

  /** Syncs all that was noted so far; `everything`: whatever else is on those disks too. `done` hears 0 or the first errno. Points end in the order begun. */
  sync(everything: boolean, done: (errno: number) => void): void {
    const whole = everything || this.#isElsewhere;
    this.#points.push({ everything: whole, ids: [...this.#ids], next: 0, running: 0, errno: 0, done });
    this.#ids = new Set();
    this.#isElsewhere = false;
    if (this.#points.length === 1) this.#begin();
  }

  /** Forgets what was noted; points under way end without being heard. */
  clear(): void {
    this.#ids.clear();
    this.#isElsewhere = false;
    for (const point of this.#points) {
      point.done = (): void => {};
      point.next = point.ids.length;
    }
  }

  /** Tries again what the full pool could not take. */
  retry(): void {
    this.#syncs.retry();
  }

  completed(_: number, result: number): void {
    this.#finished(result < 0 ? -result : 0);
  }

  #begin(): void {
    const point = this.#points[0]!;
    if (point.everything || point.ids.length > MOST_SINGLE_SYNCS) {
      point.next = point.ids.length;
      for (const fd of this.#roots) {
        point.running++;
        if (!this.#pool.submit(Job.SYNCFS, fd, 0, 0, 0, this, 0)) this.#finished(11);
      }
      return;
    }
    this.#feed(point);
  }

  #feed(point: Point): void {
    while (point.running < IN_FLIGHT && point.next < point.ids.length) {
      const id = point.ids[point.next++]!;
      const object = this.#objects.get(id);
      // Gone, or a new one that is neither file nor directory: what there is to say about it lies in its directory.
      if (object === undefined || object.pathOnly) continue;
      const fd = this.#objects.fd(id);
      if (fd < 0) continue;
      point.running++;
      this.#syncs.sync(id, fd, false, 0);
    }
    if (point.running === 0) {
      this.#points.shift();
      point.done(point.errno);
      if (this.#points.length > 0) this.#begin();
    }
  }

  #finished(errno: number): void {
    const point = this.#points[0];
    if (point === undefined) return;
    point.running--;
    if (point.errno === 0) point.errno = errno;
    this.#feed(point);
  }
}
