/**
 * Durable points on this node's disk: what was touched is synced, one after the other in the order begun.
 *
 * Object by object, since syncfs stalls everybody else on the disk (trap 3); but when many objects were touched, or one cannot be
 * reached, one syncfs is the smaller evil.
 */
import { type Completion, Job, type Pool } from "./pool.ts";
import { SyncQueue } from "./sync_queue.ts";

/** Above this many objects, whole file systems are synced. */
export const MOST_SINGLE_SYNCS = 512;
/** Few: the application's own syncs need threads of the pool, too. */
const IN_FLIGHT = 2;

/** How a durable point finds what was touched. */
export interface Reach {
  /** A descriptor to sync, good until `release`; null: the object needs no sync; -errno: it cannot be reached. */
  open(id: number): number | null;
  release(fd: number): void;
  /** The point is over. */
  end(): void;
}

/** One durable point under way. */
interface Point {
  everything: boolean;
  ids: number[];
  next: number;
  running: number;
  errno: number;
  failed: number[];
  done: PointDone;
}

/** Hears 0 or the first errno, and which objects the disk failed to sync; null: whole file systems were synced, it is not known which. */
export type PointDone = (errno: number, failed: readonly number[] | null) => void;

/** See the top of the file. */
export class PointSyncs implements Completion {
  readonly #reach: Reach;
  readonly #pool: Pool;
  readonly #roots: readonly number[];
  readonly #syncs: SyncQueue;
  readonly #points: Point[] = [];
  /** File systems whose sync the full pool could not take. */
  readonly #postponed: number[] = [];

  /** `roots`: a descriptor on each file system concerned; they stay the caller's. */
  constructor(reach: Reach, pool: Pool, roots: readonly number[]) {
    this.#reach = reach;
    this.#pool = pool;
    this.#roots = roots;
    this.#syncs = new SyncQueue(pool, (id, errno) => this.#finished(errno, id));
  }

  /** True when no durable point is under way. */
  get idle(): boolean {
    return this.#points.length === 0;
  }

  /** Syncs these objects, or everything that is on their disks. */
  sync(touched: Iterable<number> | "everything", done: PointDone): void {
    const ids = new Set<number>();
    let everything = touched === "everything";
    if (touched !== "everything") {
      for (const id of touched) {
        ids.add(id);
        if (ids.size > MOST_SINGLE_SYNCS) {
          everything = true;
          break;
        }
      }
    }
    const todo = everything ? [] : [...ids];
    this.#points.push({ everything, ids: todo, next: 0, running: 0, errno: 0, failed: [], done });
    if (this.#points.length === 1) this.#begin();
  }

  /** Points under way end without being heard. */
  clear(): void {
    for (const point of this.#points) {
      point.done = (): void => {};
      point.next = point.ids.length;
      point.everything = false;
    }
  }

  /** Tries again what the full pool could not take. Call once a turn. */
  retry(): void {
    this.#syncs.retry();
    if (this.#postponed.length === 0) return;
    for (const fd of this.#postponed.splice(0)) this.#syncFileSystem(fd);
  }

  completed(_: number, result: number): void {
    this.#finished(result < 0 ? -result : 0, 0);
  }

  #begin(): void {
    const point = this.#points[0]!;
    if (point.everything) this.#syncEverything(point);
    else this.#feed(point);
  }

  #syncEverything(point: Point): void {
    point.everything = true;
    point.next = point.ids.length;
    point.running += this.#roots.length;
    for (const fd of this.#roots) this.#syncFileSystem(fd);
  }

  #syncFileSystem(fd: number): void {
    if (!this.#pool.submit(Job.SYNCFS, fd, 0, 0, 0, this, 0)) this.#postponed.push(fd);
  }

  #syncObject(point: Point, id: number): void {
    const fd = this.#reach.open(id);
    if (fd === null) return;
    if (fd < 0) {
      this.#syncEverything(point);
      return;
    }
    point.running++;
    this.#syncs.sync(id, fd, false, id);
    this.#reach.release(fd);
  }

  #feed(point: Point): void {
    while (point.running < IN_FLIGHT && point.next < point.ids.length)
      this.#syncObject(point, point.ids[point.next++]!);
    // A sync that failed at once was counted while it was begun: this point may have ended inside the loop.
    if (point.running > 0 || this.#points[0] !== point) return;
    this.#points.shift();
    this.#reach.end();
    point.done(point.errno, point.everything ? null : point.failed);
    // Unless `done` began one: that one runs already.
    if (this.#points.length > 0 && this.#points[0]!.running === 0) this.#begin();
  }

  #finished(errno: number, id: number): void {
    const point = this.#points[0];
    if (point === undefined) return;
    point.running--;
    if (point.errno === 0) point.errno = errno;
    if (errno !== 0) point.failed.push(id);
    this.#feed(point);
  }
}
