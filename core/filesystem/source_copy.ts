/** PRIM's side of reintegration. */
import type { Marks } from "../replication/marks.ts";
import type { Frame } from "../replication/operation.ts";
import type { Host } from "./host.ts";
import type { KnownPlaces } from "./known_places.ts";
import type { Outbound } from "./outbound.ts";
import type { ServedRoot } from "./primary.ts";
import type { StreamWriter } from "./stream_buffers.ts";

/** See the top of the file. */
export class SourceCopy {
  isDone = false;
  readonly statistics: { bytes: number; files: number; startedAt: number; full: boolean };
  constructor(
    readonly host: Host,
    readonly outbound: Outbound,
    readonly marks: Marks,
    readonly places: KnownPlaces,
    readonly writer: StreamWriter,
    readonly roots: readonly ServedRoot[],
    now: number,
  ) {
    this.statistics = { bytes: 0, files: 0, startedAt: now, full: marks.everything };
  }
  hasNames(): boolean {
    return true;
  }
  hasObject(): boolean {
    return true;
  }
  onCreated(): void {}
  step(now: number, _queued: number): number {
    this.isDone = true;
    return now;
  }
  take(_: Frame): void {}
}
