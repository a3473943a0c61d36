/**
 * PRIM's side of reintegration, the names: directories are listed and their names sent, a little in each turn of the loop.
 *
 * What is sent must be the names of one moment of the stream. So a listing whose directory changed on the way is begun anew, and the
 * target forgets what it got of it. One that changes all the time is listed in one go in the end, however long that takes.
 */

import { errnos, isAbsent } from "../../../platform/linux/errno.ts";
import { nameBytes } from "../../../replication/name_text.ts";
import type { Entry } from "../../../replication/names.ts";
import { FrameType } from "../../../replication/operation.ts";
import { entryBytes, putEntry } from "../../../replication/packed.ts";
import type { Reintegration } from "../../../replication/reintegration.ts";
import { readAttributes } from "../../objects/attributes.ts";
import type { Listing } from "../../objects/listing.ts";
import type { BackingTree } from "../../objects/source_tree.ts";
import type { OrderedStream } from "../../stream/ordered_stream.ts";
import type { StreamWriter } from "../../stream/stream_buffers.ts";

const NAMES_PIECE = 128 << 10;
/** So many names are on their way at once, or one directory: until the target has made them, what came behind them would wait in its memory. */
const NAMES_AHEAD = 4096;
/** How often a directory is listed a little at a time, before it is in one go. */
const MOST_TRIES = 3;
/** What stands for a name in PLACE where there is none. */
const TOP_NAME = Uint8Array.of(116, 111, 112);
const piece = new Uint8Array(NAMES_PIECE);
const nothing = new Uint8Array(0);

/** See the top of the file. */
export class SourceNames {
  readonly #outbound: OrderedStream;
  readonly #writer: StreamWriter;
  readonly #tree: BackingTree;
  readonly #reintegration: Reintegration;
  readonly #unreadable: (id: number, result: number) => void;
  #rangesSent = false;
  #current: { directory: number; listing: Listing } | null = null;
  #tries = 0;
  readonly #sentAt = new Map<number, number>();
  /** Names since the target was waited for, and the number of the frame that it is to apply before more is sent. */
  #namesAhead = 0;
  #heldAt = 0;

  /** `unreadable` hears of a directory that is there and cannot be listed, and why not: -errno. */
  constructor(
    outbound: OrderedStream,
    writer: StreamWriter,
    tree: BackingTree,
    reintegration: Reintegration,
    unreadable: (id: number, result: number) => void,
  ) {
    this.#outbound = outbound;
    this.#writer = writer;
    this.#tree = tree;
    this.#reintegration = reintegration;
    this.#unreadable = unreadable;
  }

  /** Tells where the directories are that are to be sent. */
  announce(): void {
    const announced = this.#reintegration.takeAnnounced();
    if (announced.length === 0) return;
    const { frame } = this.#writer;
    if (!this.#rangesSent) {
      this.#rangesSent = true;
      for (const { from, to } of this.#reintegration.ranges) {
        frame.id = from;
        frame.parent = to;
        this.#outbound.send(FrameType.PLACE_RANGE);
      }
    }
    for (const { id, parent, name, dirty } of announced) {
      frame.id = id;
      frame.parent = parent;
      frame.flags = dirty ? 1 : 0;
      frame.name.set(parent === 0 ? TOP_NAME : nameBytes(name));
      this.#outbound.send(FrameType.PLACE);
    }
    this.#outbound.send(FrameType.PLACES_END);
    this.#hold();
  }

  /** Is the target still busy with names? Then nothing more is to be copied: it may take long, and live operations would come behind that. */
  get isHeld(): boolean {
    return this.#outbound.applied < this.#heldAt;
  }

  #hold(): void {
    this.#namesAhead = 0;
    this.#writer.frame.ticket = 0;
    this.#heldAt = this.#outbound.send(FrameType.PING);
  }

  /** For a step "list": a little of it. */
  list(directory: number): void {
    if (this.#further(directory, false)) this.#reintegration.listed(directory, []);
  }

  /** For a step "names": a little of it. */
  send(directory: number): void {
    if (this.#further(directory, true)) this.#end(directory);
  }

  /** Sends the names of a directory at this point of the stream. */
  sendAtOnce(directory: number): void {
    this.#abandon();
    this.#tries = MOST_TRIES;
    this.send(directory);
    this.#tries = 0;
  }

  /** The number of the frame that told a directory's names last; 0: none did. */
  sentAt(directory: number): number {
    return this.#sentAt.get(directory) ?? 0;
  }

  /** Lets go of what is open. */
  close(): void {
    this.#abandon();
  }

  #abandon(): void {
    this.#current?.listing.close();
    this.#current = null;
  }

  /** True when the end of the directory is reached. */
  #further(directory: number, sends: boolean): boolean {
    const isLast = this.#tries >= MOST_TRIES;
    if (this.#current?.directory !== directory || isLast) {
      this.#abandon();
      const listing = isLast ? this.#tree.listing(directory) : this.#tree.beginListing(directory);
      if (listing === -errnos.EAGAIN) return false;
      if (typeof listing === "number") return this.#cannot(directory, listing);
      this.#current = { directory, listing };
      this.#reintegration.watch(directory);
      if (sends) this.#sendPiece(directory, 0);
    }
    const { listing } = this.#current;
    for (;;) {
      const found = this.#tree.next(directory, listing);
      if (found === null) break;
      if (sends) this.#sendEntries(directory, found);
      else this.#reintegration.found(found);
      if (!isLast) return false;
    }
    this.#abandon();
    if (listing.failed !== 0) return this.#cannot(directory, listing.failed);
    if (this.#reintegration.watchedChanged) {
      this.#tries++;
      return false;
    }
    this.#tries = 0;
    return true;
  }

  /** Removed meanwhile, there is nothing to send of it; else the peer must not take what was sent for all of it. */
  #cannot(directory: number, result: number): false {
    if (isAbsent(result)) this.#reintegration.gone(directory);
    else this.#unreadable(directory, result);
    return false;
  }

  #sendEntries(directory: number, entries: readonly Entry[]): void {
    let filled = 0;
    for (const { id, type, name, hasOthers } of entries) {
      if (filled + entryBytes(name.length) > NAMES_PIECE) {
        this.#sendPiece(directory, filled);
        filled = 0;
      }
      filled = putEntry(piece, filled, id, type, nameBytes(name), hasOthers);
    }
    if (filled > 0) this.#sendPiece(directory, filled);
    this.#namesAhead += entries.length;
    this.#reintegration.placed(directory, entries);
  }

  /** An empty one makes the target forget what it got so far. */
  #sendPiece(directory: number, length: number): void {
    const { frame } = this.#writer;
    frame.id = directory;
    frame.data.set(length === 0 ? nothing : piece, 0, length);
    this.#outbound.send(FrameType.DIR_NAMES);
  }

  #end(directory: number): void {
    const opened = this.#tree.directory(directory);
    const { frame } = this.#writer;
    const result = typeof opened === "number" ? opened : readAttributes(opened.fd, frame);
    if (result < 0) {
      this.#cannot(directory, result);
      return;
    }
    frame.id = directory;
    frame.parentSeconds = frame.mtime;
    frame.parentNanos = frame.mtimeNanos;
    this.#sentAt.set(directory, this.#outbound.send(FrameType.DIR_END));
    this.#reintegration.namesSent(directory, []);
    if (this.#namesAhead > NAMES_AHEAD) this.#hold();
  }
}
