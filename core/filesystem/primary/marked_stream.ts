/**
 * What a change means for the peer: it is marked as what may differ, and told whether the peer can apply it as it happens.
 *
 * Without a stream, it is dirty. While the peer is being brought up to date, the reintegration decides; in sync, it is touched until a
 * durable point has passed.
 */
import { Level } from "../../replication/marks.ts";
import { Decision, type Reintegration } from "../../replication/reintegration.ts";
import { OrderedStream } from "../stream/ordered_stream.ts";

/** See the top of the file. A base class, as `OrderedStream` is. */
export class MarkedStream extends OrderedStream {
  /** The peer applies operations as they are sent. */
  streaming = false;
  /** Decides what the peer can apply already, while it is being brought up to date. */
  reintegration: Reintegration | null = null;

  override reset(): void {
    super.reset();
    this.streaming = false;
    this.reintegration = null;
  }

  /** Marks a change of data; true when it is to be sent. */
  protected sendsData(id: number, offset: number, length: number): boolean {
    if (!this.streaming) this.marks.touchData(id, offset, length, Level.DIRTY);
    else if (this.reintegration === null) this.marks.touchData(id, offset, length, Level.TOUCHED);
    else if (this.reintegration.data(id, offset, length) !== Decision.SEND) return false;
    return this.streaming && this.knows(id);
  }

  /** The same for attributes; `size` is the new one, or -1. */
  protected sendsAttributes(id: number, size: number): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.attributes(id, size) === Decision.SEND && this.knows(id);
    }
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    if (size >= 0) this.marks.touchTail(id, size, level);
    else this.marks.touchAttributes(id, level);
    return this.streaming && this.knows(id);
  }

  protected sendsCreation(parent: number, id: number, directory: boolean): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.create(parent, id, directory) === Decision.SEND && this.knows(parent);
    }
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    this.marks.touchNames(parent, level);
    this.marks.created(id, directory, level);
    return this.streaming && this.knows(parent);
  }

  protected sendsLink(id: number, parent: number): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.link(id, this.places.get(id)?.parent ?? -1, parent) === Decision.SEND;
    }
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    const old = this.places.get(id)?.parent ?? 0;
    // The directory of the name that it was made from is where the peer would look for it.
    if (old !== 0 && !this.streaming) this.marks.touchNames(old, level);
    this.marks.touchNames(parent, level);
    return this.streaming;
  }

  protected sendsRemoval(parent: number, id: number, directory: boolean): boolean {
    if (this.streaming && this.reintegration !== null) {
      return this.reintegration.unlink(parent, id, directory) === Decision.SEND && this.knows(parent);
    }
    this.marks.touchNames(parent, this.streaming ? Level.TOUCHED : Level.DIRTY);
    return this.streaming && this.knows(parent);
  }

  protected sendsRename(from: number, to: number, replaced: number): boolean {
    if (this.streaming && this.reintegration !== null)
      return this.reintegration.rename(from, to, replaced) === Decision.SEND;
    const level = this.streaming ? Level.TOUCHED : Level.DIRTY;
    this.marks.touchNames(from, level);
    this.marks.touchNames(to, level);
    return this.streaming;
  }
}
