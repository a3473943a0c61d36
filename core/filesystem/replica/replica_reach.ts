/** SECOND: how durable points reach what was touched. What is neither file nor directory is no more synced by itself than on PRIM (source_reach.ts). */
import { errnos } from "../../platform/linux/errno.ts";
import type { Reach } from "../loop/point_syncs.ts";
import type { ReplicaObjects } from "./replica_objects.ts";

/** What the stream introduced. */
export class ReplicaReach implements Reach {
  constructor(readonly objects: ReplicaObjects) {}

  open(id: number): number | null {
    const object = this.objects.get(id);
    // What lost its name is gone by now, or its directory says so. What has one was put aside to make room, and must be durable.
    if (object === undefined) return this.objects.isLeft(id) ? -errnos.ENOENT : null;
    const fd = this.objects.fd(id);
    return object.pathOnly ? null : fd;
  }

  release(): void {}
  end(): void {}
}
