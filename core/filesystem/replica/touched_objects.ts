/** SECOND: what was applied and is perhaps not on its disk yet. A durable point syncs it (point_syncs.ts). */
import { type Frame, FrameType } from "../../replication/operation.ts";
import { MOST_SINGLE_SYNCS, PointSyncs } from "../loop/point_syncs.ts";
import type { Pool } from "../loop/pool.ts";
import type { ReplicaObjects } from "./replica_objects.ts";
import { ReplicaReach } from "./replica_reach.ts";

/** See the top of the file. */
export class TouchedObjects {
  readonly #syncs: PointSyncs;
  /** More than can be synced one by one need not be known one by one. */
  readonly #ids = new Set<number>();

  constructor(objects: ReplicaObjects, pool: Pool, roots: readonly number[]) {
    this.#syncs = new PointSyncs(new ReplicaReach(objects), pool, roots);
  }

  /** True when no durable point is under way. */
  get idle(): boolean {
    return this.#syncs.idle;
  }

  /** An operation was applied. */
  note(frame: Frame): void {
    if (this.#ids.size > MOST_SINGLE_SYNCS) return;
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
    }
  }

  /** Syncs all that was noted so far; `everything`: whatever else is on those disks too. `done` hears 0 or the first errno. */
  sync(everything: boolean, done: (errno: number) => void): void {
    this.#syncs.sync(everything ? "everything" : this.#ids, done);
    this.#ids.clear();
  }

  /** Forgets what was noted; points under way end without being heard. */
  clear(): void {
    this.#ids.clear();
    this.#syncs.clear();
  }

  /** Tries again what the full pool could not take. */
  retry(): void {
    this.#syncs.retry();
  }
}
