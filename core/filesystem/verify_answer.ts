/** SECOND's side of verify (verify.ts asks): compares what the source says of an object with this copy, at this point of the stream. */
import { errnoName, isAbsent } from "../platform/linux/errno.ts";
import { allocate } from "../platform/linux/libc.ts";
import type { Memory } from "../platform/linux/memory.ts";
import { type Frame, FrameType } from "../replication/operation.ts";
import type { NameFilter } from "./exclusion.ts";
import { describe, unreadable, unreadableParts } from "./object_description.ts";
import type { ReplicaRoots } from "./replica_identity.ts";
import type { ReplicaObjects } from "./replica_objects.ts";
import { hashOf, readZone, ZONE, zoneName } from "./verify.ts";

/** See the top of the file. */
export class VerifyAnswer {
  readonly #objects: ReplicaObjects;
  readonly #roots: ReplicaRoots;
  readonly #filters: readonly (NameFilter | null)[];
  #zone: Memory | null = null;

  constructor(objects: ReplicaObjects, roots: ReplicaRoots, filters: readonly (NameFilter | null)[]) {
    this.#objects = objects;
    this.#roots = roots;
    this.#filters = filters;
  }

  /** Makes `out` the answer to the VERIFY in `frame`. */
  fill(out: Frame, frame: Frame): void {
    const fd = this.#objects.fd(frame.id);
    const mine = fd < 0 ? unopened(fd) : this.#own(fd, frame);
    // What neither node can read is not equal.
    const isWhole = typeof mine !== "string" || (fd >= 0 && unreadableParts(mine).length === 0);
    const hash = typeof mine === "string" ? hashOf(new TextEncoder().encode(mine)) : hashOf(mine);
    out.type = FrameType.VERIFIED;
    out.ticket = frame.ticket;
    out.errno = isWhole && Buffer.compare(hash, frame.data.copy()) === 0 ? 0 : 1;
    out.data.set(
      out.errno === 0 || typeof mine !== "string"
        ? new Uint8Array(0)
        : new TextEncoder().encode(mine.slice(0, 1 << 20)),
    );
  }

  /** This copy of what a VERIFY is about: its description, or the bytes of the zone. */
  #own(fd: number, { id, length, offset }: Frame): string | Uint8Array {
    if (length === 0) {
      const object = this.#objects.get(id)!;
      const filter = this.#filters[object.root] ?? null;
      return describe(fd, this.#roots.identities[object.root]!, object.parent === 0, filter);
    }
    this.#zone ??= allocate(ZONE);
    const count = readZone(fd, this.#zone.address, Math.min(length, ZONE), offset);
    return count < 0 ? unreadable(zoneName(offset), count) : this.#zone.bytes.slice(0, count);
  }
}

const unopened = (result: number): string =>
  isAbsent(result) ? `missing: ${errnoName(result)}` : unreadable("all of it", result);
