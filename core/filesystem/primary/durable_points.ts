/**
 * PRIM: the moments at which both disks hold everything, numbered and recorded on both copies (trap 3).
 *
 * The stream tells SECOND where a point is; both sync what was touched before it; when both have, PRIM records it, and what was
 * touched is clean. A connection that ends takes the point under way with it. One that failed on this disk comes again after a pause, but the
 * disk told only once what it did not keep: no later point vouches for that.
 */
import { FrameType } from "../../replication/operation.ts";
import type { CopyRecord } from "../copy/copy_record.ts";
import type { MarksStore } from "../copy/marks_store.ts";
import type { Host } from "../host.ts";
import { PointSyncs } from "../loop/point_syncs.ts";
import type { KnownPlaces } from "../objects/known_places.ts";
import type { TreeRoot } from "../objects/source_tree.ts";
import type { FollowerHello } from "../stream/hello.ts";
import type { StreamWriter } from "../stream/stream_buffers.ts";
import type { Outbound } from "./outbound.ts";
import { SourceReach } from "./source_reach.ts";

/** A durable point at least this often, ms, or after this many bytes. */
const POINT_INTERVAL = 5000;
const POINT_BYTES = 1 << 30;
/** What a durable point waits for: this disk, the peer's, and the record that both are there. */
const WITNESSES = 3;
/** The pause after a point that failed, ms: twice as long after each, since an application may be held until one does not. */
const FIRST_PAUSE = 2000;
const LONGEST_PAUSE = 30_000;

/** See the top of the file. */
export class DurablePoints {
  readonly #host: Host;
  readonly #store: MarksStore;
  readonly #record: CopyRecord;
  readonly #outbound: Outbound;
  readonly #writer: StreamWriter;
  readonly #syncs: PointSyncs;
  /** Which connection: what was begun for another is not heard. */
  #connection = 0;
  #peerId = "";
  #at = 0;
  #bytes = 0;
  #ticket = 0;
  #waits = 0;
  /** The point under way did not reach this disk. */
  #isFailed = false;
  /** Points that failed one after the other, and until when none is made; Infinity: the pause has still to begin. */
  #failures = 0;
  #restsUntil = 0;
  /** A whole disk failed to sync something: until it has synced everything, nothing that is copied is vouched for. */
  #doubtsAll = false;
  /** The peer hears with the next point that the last one is on both disks: after the last change it needs one more. */
  #peerSettled = false;
  /** The peer's copy is worth nothing until all is copied, in this connection or since an earlier one. */
  #copiesAll = false;
  /** This node's marks tell all that the peer lacks: it needs no full copy any more if this one is interrupted. */
  #tellsAll = false;
  /** The same, when the point under way began. */
  #pointTellsAll = false;

  /** `roots` stay the caller's. */
  constructor(
    host: Host,
    store: MarksStore,
    record: CopyRecord,
    outbound: Outbound,
    writer: StreamWriter,
    places: KnownPlaces,
    roots: readonly TreeRoot[],
  ) {
    this.#host = host;
    this.#store = store;
    this.#record = record;
    this.#outbound = outbound;
    this.#writer = writer;
    this.#syncs = new PointSyncs(
      new SourceReach(roots, places, store.marks),
      host.pool,
      roots.map(({ fd }) => fd),
    );
  }

  /** A point is under way. */
  get isUnderWay(): boolean {
    return this.#waits > 0;
  }

  /** The peer's copy: points go on from whatever either knows. `full`: all of it is copied, from the first name on. */
  greet({ copy, generations }: FollowerHello, full: boolean): void {
    const { word } = this.#record;
    this.#peerId = copy.id;
    this.#copiesAll = full || generations.current === "";
    this.#tellsAll = this.#copiesAll && !full;
    this.#ticket = Math.max(word.counter, word.peer?.counter ?? 0, copy.counter, copy.peer?.counter ?? 0);
  }

  /** The stream begins. */
  begin(now: number): void {
    this.#at = now + POINT_INTERVAL;
    this.#peerSettled = false;
  }

  /** All names were sent, and everything that the peer still lacks has a mark of its own. True when a point comes at once that records it. */
  tellAll(now: number): boolean {
    if (!this.#copiesAll || this.#tellsAll) return false;
    this.#tellsAll = true;
    this.#at = now;
    return true;
  }

  /** The connection is over. */
  end(): void {
    this.#waits = this.#failures = this.#restsUntil = 0;
    this.#connection++;
  }

  /** Nothing is heard of any more. */
  close(): void {
    this.#syncs.clear();
  }

  /** Tries again what the full pool could not take. Call once a turn. */
  retry(): void {
    this.#syncs.retry();
  }

  /** Makes all that this node has durable, and records it; `done` hears the point's number, `failed` what went wrong. Neither when it is of no use any more. */
  catchUp(done: (ticket: number) => void, failed: (detail: string) => void): void {
    this.#waits = this.#failures = this.#restsUntil = 0;
    this.#copiesAll = this.#tellsAll = this.#pointTellsAll = false;
    this.#outbound.settleTimes();
    this.#store.marks.beginPoint();
    this.#keepDoubts();
    const connection = this.#connection;
    const ticket = ++this.#ticket;
    const told = (errno: number): void => {
      if (this.#connection !== connection) return;
      if (errno === 0) done(ticket);
      else failed(`syncing the replicated directory failed (errno ${errno})`);
    };
    // Marks tell what this node changed since the last point, not what it had before it had a peer.
    this.#syncs.sync("everything", (errno) => {
      this.#doubtsAll = errno !== 0;
      if (errno === 0) this.#record.write(ticket, this.#record.word.peer, told);
      else told(errno);
    });
  }

  /** Records the point under way as reached by both copies. Neither is called when the peer goes meanwhile. */
  record(done: () => void, failed: (detail: string) => void): void {
    const connection = this.#connection;
    const counter = this.#ticket;
    const peer = { id: this.#peerId, counter };
    this.#record.write(counter, this.#pointTellsAll ? { ...peer, began: true } : peer, (errno) => {
      if (this.#connection !== connection) return;
      if (errno === 0) done();
      else failed(`a durable point cannot be recorded (errno ${errno})`);
    });
  }

  /** Begins a durable point when one is due, in sync or while a copy is under way. Returns when the next is; Infinity: after this one. */
  schedule(now: number, inSync: boolean): number {
    const { counters } = this.#host;
    const { marks } = this.#store;
    // What it waits for wakes the loop by itself.
    if (this.#waits > 0) return Number.POSITIVE_INFINITY;
    if (this.#restsUntil === Number.POSITIVE_INFINITY)
      this.#restsUntil = now + Math.min(FIRST_PAUSE * 2 ** (this.#failures - 1), LONGEST_PAUSE);
    if (now < this.#restsUntil) return this.#restsUntil;
    const due = now >= this.#at || counters.bytesSent - this.#bytes > POINT_BYTES || marks.wantsPoint;
    if (!due) return this.#at;
    this.#at = now + POINT_INTERVAL;
    this.#bytes = counters.bytesSent;
    this.#outbound.settleTimes();
    if (!marks.beginPoint()) return this.#at;
    this.#keepDoubts();
    const idle = marks.pointObjects().next().done === true && !marks.wantsPoint;
    if (idle && this.#peerSettled && inSync) {
      marks.confirmPoint();
      counters.durablePoints++;
      return this.#at;
    }
    this.#peerSettled = idle;
    this.#make(inSync);
    return this.#at;
  }

  #make(inSync: boolean): void {
    this.#waits = WITNESSES;
    this.#isFailed = false;
    this.#pointTellsAll = this.#tellsAll;
    this.#writer.frame.flags = this.#tellsAll ? 1 : 0;
    // The peer takes the next number to mean that the last point is on this disk.
    if (this.#failures === 0) this.#ticket++;
    this.#writer.frame.ticket = this.#ticket;
    this.#outbound.send(FrameType.DURABLE_POINT);
    const connection = this.#connection;
    // What is copied may lie in this node's cache since before it had a peer.
    this.#syncs.sync(inSync ? this.#touched() : "everything", (errno, failed) => {
      const isHeard = this.#connection === connection;
      if (errno !== 0) {
        this.#report(`a durable point failed on this copy (errno ${errno})`);
        this.#isFailed = true;
        this.#doubtsAll ||= failed === null && !(inSync && isHeard);
        this.#doubt(failed ?? this.#touched());
      }
      if (isHeard) this.reached();
    });
  }

  /** One of the two disks is done with the point under way. */
  reached(): void {
    if (this.#waits < WITNESSES - 1 || --this.#waits > WITNESSES - 2) return;
    // Not before the peer has answered: its word would count for the next point.
    if (this.#isFailed) {
      this.#again();
      return;
    }
    const counter = this.#ticket;
    this.record(
      () => {
        this.#waits = this.#failures = 0;
        this.#store.marks.confirmPoint();
        this.#host.counters.durablePoints++;
        // At once: what the peer believes unsettled is copied again after an interruption.
        this.#writer.frame.ticket = counter;
        this.#outbound.send(FrameType.SETTLED);
      },
      (detail) => {
        this.#report(detail);
        this.#again();
      },
    );
  }

  /** The point under way is given up; what it was about waits for the next. */
  #again(): void {
    this.#waits = 0;
    this.#failures++;
    this.#restsUntil = Number.POSITIVE_INFINITY;
    this.#peerSettled = false;
    this.#store.marks.failPoint();
  }

  /** A point has begun: what this disk failed to keep stays touched whatever comes of it. */
  #keepDoubts(): void {
    if (this.#doubtsAll) this.#doubt(this.#touched());
    this.#outbound.touchSuspect();
  }

  #doubt(ids: Iterable<number>): void {
    const { objects } = this.#store.marks;
    for (const id of [...ids]) if (objects.get(id)?.isGone !== true) this.#outbound.diskFailed(id);
  }

  /** The objects that the durable point under way is about. */
  *#touched(): Generator<number> {
    for (const { id } of this.#store.marks.pointObjects()) yield id;
  }

  #report(detail: string): void {
    this.#host.report({ kind: "diskFailed", detail });
  }
}
