/**
 * SECOND's side of verify (verify.ts asks): compares what the source says of an object with this copy, at this point of the stream.
 *
 * A directory is listed a little in each turn, while the stream goes on. If it changes before the end it counts as different, and is asked
 * again.
 */
import { O_CLOEXEC, O_DIRECTORY, O_RDONLY, S_IFDIR, S_IFMT } from "../../platform/linux/constants.ts";
import { errnoName, isAbsent } from "../../platform/linux/errno.ts";
import { allocate, close, cString, openat } from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import { type Frame, FrameType } from "../../replication/operation.ts";
import { monotonic } from "../loop/poll_loop.ts";
import type { NameFilter } from "../objects/exclusion.ts";
import { Listing } from "../objects/listing.ts";
import { modeOf } from "../objects/object_access.ts";
import type { ReplicaRoots } from "../replica/replica_identity.ts";
import type { ReplicaObject, ReplicaObjects } from "../replica/replica_objects.ts";
import type { StreamWriter } from "../stream/stream_buffers.ts";
import { DirectoryDescription, describe, unreadable, unreadableParts } from "./object_description.ts";
import { HOLE, hashOf, isHole, LAST_TRY, readZone, ZONE, zoneName } from "./verify.ts";

const dot = cString(".").address;

/** Directories are looked at for so long in one turn, ms. */
const SLICE = 3;
/** Questions of a comparison do not come further apart than this, ms. */
const ASKED_LATELY = 2000;

/** A directory that is being looked at, or waits for that. */
interface Look {
  ticket: number;
  /** What the source says of it. */
  hash: Uint8Array;
  /** Our own. */
  fd: number;
  description: DirectoryDescription;
  listing: Listing;
  /** It changes all the time: it is listed in one go. */
  atOnce: boolean;
}

/** See the top of the file. */
export class VerifyAnswer {
  readonly #objects: ReplicaObjects;
  readonly #roots: ReplicaRoots;
  readonly #filters: readonly (NameFilter | null)[];
  readonly #writer: Pick<StreamWriter, "frame" | "add">;
  readonly #looks: Look[] = [];
  #zone: Memory | null = null;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(
    objects: ReplicaObjects,
    roots: ReplicaRoots,
    filters: readonly (NameFilter | null)[],
    writer: Pick<StreamWriter, "frame" | "add">,
  ) {
    this.#objects = objects;
    this.#roots = roots;
    this.#filters = filters;
    this.#writer = writer;
  }

  /** Are there directories to look at? Then `goOn` has work. */
  get isBusy(): boolean {
    return this.#looks.length > 0;
  }

  /** Is the source comparing both copies? */
  wasAskedLately(now: number): boolean {
    return now - this.#askedAt < ASKED_LATELY;
  }

  /** Takes a VERIFY: answers it, or begins to. */
  take(frame: Frame, now: number): void {
    this.#askedAt = now;
    const { id, length, offset, ticket } = frame;
    const hash = frame.data.copy();
    const fd = this.#objects.fd(id);
    if (fd < 0) this.#answer(ticket, hash, unopened(fd));
    else if (length > ZONE) this.#answer(ticket, hash, isHole(fd, offset, length) ? HOLE : "data");
    else if (length > 0) this.#answer(ticket, hash, this.#zoneOf(fd, length, offset));
    else if ((modeOf(fd) & S_IFMT) !== S_IFDIR) this.#answer(ticket, hash, describe(fd));
    else this.#begin(ticket, hash, fd, this.#objects.get(id)!, offset >= LAST_TRY);
  }

  /** Looks further, once a turn. */
  goOn(): void {
    this.#goOn(monotonic() + SLICE);
  }

  #goOn(end: number): void {
    for (let look = this.#looks[0]; look !== undefined; look = this.#looks[0]) {
      const found = look.listing.next();
      if (found !== null) look.description.add(found);
      else this.#finish(look);
      if (!look.atOnce && monotonic() > end) return;
    }
  }

  /** The connection is over. */
  clear(): void {
    for (const look of this.#looks.splice(0)) closeLook(look);
  }

  #begin(ticket: number, hash: Uint8Array, of: number, object: ReplicaObject, atOnce: boolean): void {
    const { root, parent } = object;
    // The object may be closed meanwhile.
    const fd = openat(of, dot, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
      this.#answer(ticket, hash, unopened(fd));
      return;
    }
    const listing = new Listing(of, this.#roots.identities[root]!, parent === 0, this.#filters[root] ?? null);
    const look = { ticket, hash, fd, listing, description: new DirectoryDescription(fd), atOnce };
    if (atOnce) this.#looks.unshift(look);
    else this.#looks.push(look);
    if (atOnce) this.#goOn(0);
  }

  #finish(look: Look): void {
    const { ticket, hash, description, listing, atOnce } = look;
    this.#looks.shift();
    if (description.isTorn && !atOnce) this.#answer(ticket, hash, "changed: while it was looked at");
    else this.#answer(ticket, hash, description.text(listing.failed));
    closeLook(look);
  }

  #zoneOf(fd: number, length: number, offset: number): Uint8Array | string {
    this.#zone ??= allocate(ZONE);
    const count = readZone(fd, this.#zone.address, Math.min(length, ZONE), offset);
    return count < 0 ? unreadable(zoneName(offset), count) : this.#zone.bytes.slice(0, count);
  }

  /** `mine`: this copy of what was asked, a description or the bytes of the zone. */
  #answer(ticket: number, theirs: Uint8Array, mine: string | Uint8Array): void {
    const bytes = typeof mine === "string" ? new TextEncoder().encode(mine) : mine;
    const { frame } = this.#writer;
    // What neither node can read is not equal.
    const isWhole = typeof mine !== "string" || unreadableParts(mine).length === 0;
    const isEqual = isWhole && Buffer.compare(hashOf(bytes), theirs) === 0;
    frame.type = FrameType.VERIFIED;
    frame.ticket = ticket;
    frame.errno = isEqual ? 0 : 1;
    frame.data.set(isEqual || typeof mine !== "string" ? new Uint8Array(0) : bytes.subarray(0, 1 << 20));
    this.#writer.add();
  }
}

function closeLook({ listing, fd }: Look): void {
  listing.close();
  close(fd);
}

const unopened = (result: number): string =>
  isAbsent(result) ? `missing: ${errnoName(result)}` : unreadable("all of it", result);
