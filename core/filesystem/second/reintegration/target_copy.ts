/** SECOND's side of reintegration: makes the names of what is dirty as the source says, and has target_content.ts do the rest. */
import { AT_REMOVEDIR, S_IFDIR, S_IFMT } from "../../../platform/linux/constants.ts";
import { errnos, SystemError } from "../../../platform/linux/errno.ts";
import {
  close,
  cString,
  linkat,
  mkdirat,
  mknodat,
  renameat2,
  symlinkat,
  unlinkat,
} from "../../../platform/linux/libc.ts";
import { nameBytes } from "../../../replication/name_text.ts";
import {
  type Announced,
  DT_DIR,
  type Entry,
  KEEPS_OTHERS,
  LIMBO,
  Locations,
  limboName,
  type NameAction,
  reconciling,
} from "../../../replication/names.ts";
import { type Frame, FrameType } from "../../../replication/operation.ts";
import { EntryReader } from "../../../replication/packed.ts";
import { monotonic } from "../../loop/poll_loop.ts";
import type { NameFilter } from "../../objects/exclusion.ts";
import { readFlags, writeFlags } from "../../objects/flags.ts";
import { kernelName, modeOf, openObject } from "../../objects/object_access.ts";
import type { Applier } from "../../replica/applier.ts";
import type { ReplicaRoots } from "../../replica/replica_identity.ts";
import type { ReplicaObjects } from "../../replica/replica_objects.ts";
import type { StreamWriter } from "../../stream/stream_buffers.ts";
import { emptyDirectory, emptyingDirectory } from "./limbo.ts";
import { TargetContent } from "./target_content.ts";
import { type TargetDirectory, TargetTree } from "./target_tree.ts";

const DT_REG = 8;
const DT_LNK = 10;
const placeholder = cString("?").address;
const name = (text: string, second = false): number => {
  const bytes = nameBytes(text);
  return kernelName(bytes, 0, bytes.length, second);
};

/** See the top of the file. */
export class TargetCopy {
  /** What of this copy cannot be read, when that is why `take` or `goOn` failed: a sentence with its path. */
  failure: string | null = null;
  readonly #applier: Applier;
  readonly #objects: ReplicaObjects;
  readonly #roots: ReplicaRoots;
  readonly #tree: TargetTree;
  readonly #content: TargetContent;
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
        this.#making = this.#names(frame, writer);
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
    if (linkat(directory, from(), limbo, name(to, true), 0) >= 0)
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
  *#names(frame: Frame, writer: StreamWriter): Generator<undefined, number> {
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
        const result = action === null ? 0 : this.#act(directory, id, action, writer, sequence);
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

  #act(
    directory: TargetDirectory,
    id: number,
    action: NameAction,
    writer: StreamWriter,
    sequence: number,
  ): number {
    switch (action.do) {
      case "toLimbo":
        return this.#toLimbo(directory, id, action.name, action.limboName, action.id);
      case "remove": {
        this.#detach(id, action.name);
        const result = unlinkat(directory.fd, name(action.name), 0);
        if (result !== -errnos.EPERM || !this.#unlock(directory, action.name)) return result;
        return unlinkat(directory.fd, name(action.name), 0);
      }
      case "take":
      case "link":
        return this.#bring(directory, id, action);
      case "make":
        return this.#make(directory, id, action, writer, sequence);
    }
  }

  #toLimbo(directory: TargetDirectory, parent: number, from: string, to: string, id: number): number {
    this.#detach(parent, from);
    const limbo = this.#tree.limbo(directory.root);
    let result = renameat2(directory.fd, name(from), limbo, name(to, true), 0);
    if (
      result === -errnos.ENOTEMPTY ||
      result === -errnos.EEXIST ||
      result === -errnos.ENOTDIR ||
      result === -errnos.EISDIR
    ) {
      // What a former reintegration left there under the same identity is of no use any more.
      const bytes = nameBytes(to);
      const old = openObject(limbo, kernelName(bytes, 0, bytes.length), true);
      if (old >= 0 && modeOf(old) >>> 12 === DT_DIR)
        emptyDirectory(old, this.#roots.identities[directory.root]!);
      if (old >= 0) close(old);
      if (unlinkat(limbo, name(to), 0) < 0) unlinkat(limbo, name(to), AT_REMOVEDIR);
      result = renameat2(directory.fd, name(from), limbo, name(to, true), 0);
    }
    close(limbo);
    if (result === -errnos.EPERM)
      return this.#unlock(directory, from) ? this.#toLimbo(directory, parent, from, to, id) : result;
    return result;
  }

  /** Takes immutable and append-only flags away, which would forbid a change that the source made. True if there were any. */
  #unlock(directory: Pick<TargetDirectory, "fd">, at: string): boolean {
    const fd = openObject(directory.fd, name(at), true);
    if (fd < 0) return false;
    const locked = readFlags(fd, modeOf(fd)) !== 0 && writeFlags(fd, 0) >= 0;
    close(fd);
    return locked;
  }

  #bring(
    directory: TargetDirectory,
    parent: number,
    action: Extract<NameAction, { do: "take" | "link" }>,
  ): number {
    const source =
      action.from.parent === LIMBO
        ? { fd: this.#tree.limbo(directory.root), root: directory.root }
        : this.#tree.open(action.from.parent);
    if (typeof source === "number") return source;
    const bring = (): number =>
      action.do === "take"
        ? renameat2(source.fd, name(action.from.name), directory.fd, name(action.name, true), 0)
        : linkat(source.fd, name(action.from.name), directory.fd, name(action.name, true), 0);
    let result = bring();
    if (result === -errnos.EPERM && this.#unlock(source, action.from.name)) result = bring();
    close(source.fd);
    const object = this.#objects.get(action.id);
    if (result >= 0 && object !== undefined) this.#objects.move(object, parent, nameBytes(action.name));
    return result;
  }

  /** Makes an empty object and asks for the rest. */
  #make(
    directory: TargetDirectory,
    parent: number,
    action: Extract<NameAction, { do: "make" }>,
    writer: StreamWriter,
    sequence: number,
  ): number {
    const { fd, root } = directory;
    const { type } = action;
    const made =
      type === DT_DIR
        ? mkdirat(fd, name(action.name), 0o700)
        : type === DT_LNK
          ? symlinkat(placeholder, fd, name(action.name))
          : mknodat(fd, name(action.name), (type << 12) | 0o600, 0);
    if (made < 0) return made;
    const object = openObject(fd, name(action.name));
    if (object < 0) return object;
    const pathOnly = type !== DT_DIR && type !== DT_REG;
    const result = this.#roots.write(root, object, pathOnly, action.id);
    if (result < 0 || this.#objects.get(action.id) === undefined) close(object);
    else {
      // This copy lost its last name of it, and the source knows nothing of that: what it sends before it hears of the need is for this one.
      const known = this.#objects.introduce(action.id, parent, nameBytes(action.name), object);
      known.root = root;
      known.pathOnly = pathOnly;
    }
    if (result < 0) return result;
    writer.frame.type = FrameType.NEED;
    writer.frame.id = action.id;
    writer.frame.flags = type === DT_DIR ? 1 : 0;
    writer.frame.sequence = sequence;
    writer.add();
    return 0;
  }

  /** What was introduced by this name is about to lose it. */
  #detach(parent: number, text: string): void {
    const object = this.#objects.named(parent, nameBytes(text));
    if (object !== undefined) this.#objects.detach(object);
  }
}
