/** SECOND's side of reintegration: takes what the source tells of what is dirty; target_names.ts makes the names so, target_content.ts the rest. */
import { S_IFDIR, S_IFMT } from "../../../platform/linux/constants.ts";
import { errnos, SystemError } from "../../../platform/linux/errno.ts";
import { close, linkat } from "../../../platform/linux/libc.ts";
import {
  type Announced,
  DT_REG,
  type Entry,
  KEEPS_OTHERS,
  LIMBO,
  Locations,
  limboName,
  reconciling,
} from "../../../replication/names.ts";
import { type Frame, FrameType } from "../../../replication/operation.ts";
import { EntryReader } from "../../../replication/packed.ts";
import { monotonic } from "../../loop/poll_loop.ts";
import type { NameFilter } from "../../objects/exclusion.ts";
import { readFlags, writeFlags } from "../../objects/flags.ts";
import { kernelName, modeOf, openObject, textName } from "../../objects/object_access.ts";
import type { Applier } from "../../replica/applier.ts";
import type { ReplicaRoots } from "../../replica/replica_identity.ts";
import type { ReplicaObjects } from "../../replica/replica_objects.ts";
import type { StreamWriter } from "../../stream/stream_buffers.ts";
import { emptyingDirectory } from "./limbo.ts";
import { TargetContent } from "./target_content.ts";
import { TargetNames } from "./target_names.ts";
import { TargetTree } from "./target_tree.ts";

/** See the top of the file. */
export class TargetCopy {
  /** What of this copy cannot be read, when that is why `take` or `goOn` failed: a sentence with its path. */
  failure: string | null = null;
  readonly #applier: Applier;
  readonly #objects: ReplicaObjects;
  readonly #roots: ReplicaRoots;
  readonly #tree: TargetTree;
  readonly #content: TargetContent;
  readonly #names: TargetNames;
  readonly #announced: Announced[] = [];
  #wanted: Entry[] = [];
  #making: Generator<undefined, number> | null = null;
  readonly #entries = new EntryReader();

  constructor(
    applier: Applier,
    objects: ReplicaObjects,
    roots: ReplicaRoots,
    filters: readonly (NameFilter | null)[],
    paths: readonly string[],
  ) {
    this.#applier = applier;
    this.#objects = objects;
    this.#roots = roots;
    this.#tree = new TargetTree(roots, filters, paths);
    this.#content = new TargetContent(applier, objects, roots, this.#tree);
    this.#names = new TargetNames(objects, roots, this.#tree);
  }

  /** Takes one frame of a reintegration. Returns 0 or -errno. */
  take(frame: Frame, writer: StreamWriter): number {
    return this.#attempt(() => this.#take(frame, writer));
  }

  #attempt(act: () => number): number {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#making = null;
      this.failure = `${error.message}; mend, restore or remove it`;
      return -error.errno;
    }
  }

  #take(frame: Frame, writer: StreamWriter): number {
    switch (frame.type) {
      case FrameType.PLACE:
        this.#announced.push({
          id: frame.id,
          parent: frame.parent,
          name: frame.name.key(),
          dirty: frame.flags === 1,
        });
        return 0;
      case FrameType.PLACE_RANGE:
        this.#locations().announceRange(frame.id, frame.parent);
        return 0;
      case FrameType.PLACES_END:
        this.#making = this.#places();
        return this.#goOn(0);
      case FrameType.DIR_NAMES:
        if (frame.data.length === 0) this.#wanted = [];
        this.#entries.open(frame.data);
        while (this.#entries.next()) {
          const { id, type, hasOthers } = this.#entries;
          this.#wanted.push({ id, type, hasOthers, name: this.#entries.name.key() });
        }
        return 0;
      case FrameType.DIR_END:
        this.#making = this.#namesOf(frame, writer);
        return this.#goOn(0);
      case FrameType.OBJECT:
        return this.#content.begin(frame);
      case FrameType.DATA:
        return this.#content.data(frame);
      case FrameType.ZERO:
        return this.#content.zero(frame);
      case FrameType.OBJECT_END:
        return this.#content.end(frame);
      default:
        return -errnos.EINVAL;
    }
  }

  /** Is a directory only half made, are the announced ones still looked for, or is limbo not empty yet? Then `goOn` comes before the next frame. */
  get isBusy(): boolean {
    return this.#making !== null;
  }

  /** Makes or looks for more of that, until `end` in the loop's clock. Returns 0 or -errno. */
  goOn(end: number): number {
    return this.#attempt(() => this.#goOn(end));
  }

  #goOn(end: number): number {
    while (this.#making !== null) {
      const { done, value } = this.#making.next();
      if (done === true) {
        this.#making = null;
        return value;
      }
      if (monotonic() > end) return 0;
    }
    return 0;
  }

  /** A live operation is about to be applied: what loses a name and has others, which this copy may not have yet, is kept in limbo. Returns 0 or -errno. */
  keep(frame: Frame): number {
    const { locations } = this.#tree;
    if (frame.type !== FrameType.UNLINK || frame.flags !== KEEPS_OTHERS || locations === null) return 0;
    return this.#attempt(() => this.#keep(frame, locations));
  }

  #keep(frame: Frame, locations: Locations): number {
    const directory = this.#objects.fd(frame.parent);
    if (directory < 0 || locations.isInLimbo(frame.id)) return 0;
    const from = (): number => kernelName(frame.name.bytes, frame.name.at, frame.name.length);
    const fd = openObject(directory, from(), true);
    if (fd < 0) return 0;
    const type = modeOf(fd) >>> 12;
    close(fd);
    const limbo = this.#tree.limbo(this.#objects.get(frame.parent)!.root);
    const to = limboName(frame.id);
    // Where that fails, it will be copied: nothing is lost.
    if (linkat(directory, from(), limbo, textName(to, true), 0) >= 0)
      locations.added(frame.id, type, { parent: LIMBO, name: to });
    close(limbo);
    return 0;
  }

  /** A live operation was applied: names moved that a later step may look for. */
  follow(frame: Frame): void {
    const { locations } = this.#tree;
    if (frame.type === FrameType.ROOT) this.#tree.setTop(frame.ticket, frame.id);
    if (locations === null) return;
    const place = { parent: frame.parent, name: frame.name.key() };
    switch (frame.type) {
      case FrameType.CREATE:
        locations.added(frame.id, (frame.mode & S_IFMT) >>> 12, place);
        return;
      case FrameType.LINK:
        locations.added(frame.id, locations.typeOf(frame.id) ?? DT_REG, place);
        return;
      case FrameType.UNLINK:
        locations.removed(place);
        return;
      case FrameType.RENAME:
        locations.renamed(
          place,
          { parent: frame.toParent, name: frame.toName.key() },
          (frame.flags & 2) !== 0,
        );
        return;
      default:
    }
  }

  /** Everything is there: what is left in limbo was deleted on the source, and is removed before the next frame. Then `reset`. Returns 0 or -errno, as `goOn`. */
  finish(): number {
    this.#making = this.#emptyingLimbo();
    return this.goOn(0);
  }

  *#emptyingLimbo(): Generator<undefined, number> {
    let failed = 0;
    for (const [root, identities] of this.#roots.identities.entries()) {
      const limbo = this.#tree.limbo(root);
      try {
        const result = yield* emptyingDirectory(limbo, identities);
        if (result < 0) failed ||= result;
      } finally {
        close(limbo);
      }
    }
    return failed;
  }

  /** The connection is over, or the reintegration. */
  reset(): void {
    // What it holds open is closed by it.
    this.#making?.return(0);
    this.#making = null;
    this.failure = null;
    this.#tree.locations = null;
    this.#announced.length = 0;
    this.#wanted = [];
  }

  #locations(): Locations {
    this.#tree.locations ??= new Locations(this.#tree.tops, this.#tree);
    return this.#tree.locations;
  }

  /** Finds where the announced directories are here, a little at each step. */
  *#places(): Generator<undefined, number> {
    yield* this.#locations().announcing(this.#announced.splice(0));
    return 0;
  }

  /** Makes a directory hold the names that the source sent, one at each step. */
  *#namesOf(frame: Frame, writer: StreamWriter): Generator<undefined, number> {
    // The frame is another by the next step.
    const { id, parentSeconds, parentNanos, sequence } = frame;
    const wanted = this.#wanted;
    this.#wanted = [];
    const locations = this.#locations();
    const directory = this.#tree.open(id);
    if (typeof directory === "number") return directory;
    const listing = this.#tree.listing(directory, id);
    const flags = readFlags(directory.fd, S_IFDIR);
    if (flags !== 0) writeFlags(directory.fd, 0);
    try {
      const mine: Entry[] = [];
      for (let found = listing.next(); found !== null; found = listing.next()) {
        for (const entry of found) mine.push(entry);
        yield;
      }
      if (listing.failed !== 0) throw this.#tree.notListed(directory, id, listing.failed);
      for (const action of reconciling(id, wanted, mine, locations)) {
        const result = action === null ? 0 : this.#names.act(directory, id, action, writer, sequence);
        if (result < 0) return result;
        yield;
      }
      return this.#applier.parentTimes(directory.fd, parentSeconds, parentNanos);
    } finally {
      listing.close();
      if (flags !== 0) writeFlags(directory.fd, flags);
      close(directory.fd);
    }
  }
}
