/** SECOND's side of reintegration: makes the names and the bytes of what is dirty as the source says. */
import { errnos } from "../platform/linux/errno.ts";
import type { Frame } from "../replication/operation.ts";
import type { Applier } from "./applier.ts";
import type { ReplicaRoots } from "./replica_identity.ts";
import type { ReplicaObjects } from "./replica_objects.ts";
import type { StreamWriter } from "./stream_buffers.ts";

/** See the top of the file. */
export class TargetCopy {
  constructor(
    readonly applier: Applier,
    readonly objects: ReplicaObjects,
    readonly roots: ReplicaRoots,
  ) {}

  /** Takes one frame of a reintegration. Returns 0 or -errno. */
  take(_frame: Frame, _writer: StreamWriter): number {
    return -errnos.EINVAL;
  }

  /** The connection is over. */
  reset(): void {}
}
