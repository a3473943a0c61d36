/**
 * PRIM: whether a peer is connected, and what may be acknowledged. How far the peer is: follower.ts.
 *
 * The copy of a peer counts only between its durable word that it holds everything and the moment it falls silent. Between silence and
 * the daemon's word that this node is durably alone, whatever asks for stable storage waits (G3, G4).
 */
import type { Generations } from "../../failover/types.ts";
import { F_DUPFD_CLOEXEC } from "../../platform/linux/constants.ts";
import { check } from "../../platform/linux/errno.ts";
import { close, fcntl } from "../../platform/linux/libc.ts";
import { rejoin } from "../../replication/generations.ts";
import type { VerifyResult } from "../control.ts";
import type { ChangedBehind } from "../copy/changed_behind.ts";
import type { CopyRecord } from "../copy/copy_record.ts";
import type { MarksStore } from "../copy/marks_store.ts";
import type { Host } from "../host.ts";
import { monotonic } from "../loop/poll_loop.ts";
import type { KnownPlaces } from "../objects/known_places.ts";
import type { TreeRoot } from "../objects/source_tree.ts";
import type { Link, LinkOwner } from "../stream/link.ts";
import { StreamReader, StreamWriter } from "../stream/stream_buffers.ts";
import { DurablePoints } from "./durable_points.ts";
import { Follower, type Source } from "./follower.ts";
import { HoldBack } from "./hold_back.ts";
import { Outbound } from "./outbound.ts";
import { Listener } from "./prim_link.ts";

/** How long operations that nobody waits for go on without a peer's word, ms: what a crash may cost beyond a lone machine's. */
const GRACE = 1000;
/** How long a peer waits after this disk did not give what it lacks, ms: each time it would be sent the names and more again. */
const REST = 2000;

/** The source of a stream. */
export class Primary implements LinkOwner {
  readonly outbound: Outbound;
  /** Looks for what was changed while the module was stopped: until it is done, no copy can be told what it lacks. */
  behind: ChangedBehind | null = null;
  readonly #host: Host;
  readonly #store: MarksStore;
  readonly #roots: readonly TreeRoot[];
  readonly #writer = new StreamWriter();
  readonly #listener: Listener;
  #reader = new StreamReader();
  #generations: Generations;
  readonly #source: Source;
  #follower: Follower | null = null;
  /** The peer has as long to come at first as it has to come back. */
  #lostAt = monotonic();
  /** Until then no peer is greeted; 0: one may be. */
  #restsUntil = 0;
  readonly #holdBack: HoldBack;
  #now = 0;
  readonly #points: DurablePoints;

  /** `alone`: this generation is durably the only one; else the first sync waits for a peer. Throws when the marks cannot be written. */
  constructor(
    host: Host,
    store: MarksStore,
    record: CopyRecord,
    places: KnownPlaces,
    roots: readonly TreeRoot[],
    generations: Generations,
    alone: boolean,
  ) {
    this.#host = host;
    // Our own: a durable point may still run when the mount and its descriptors are gone.
    this.#roots = roots.map((root) => ({
      ...root,
      fd: check(fcntl(root.fd, F_DUPFD_CLOEXEC, 3), "cannot keep a replicated directory open"),
    }));
    this.#generations = generations;
    this.#store = store;
    this.outbound = new Outbound(this.#store.marks, this.#writer, places);
    this.outbound.alone = alone;
    this.outbound.isPatient = host.config.durability === "fsync" && host.config.close === "ordered";
    for (const { id } of roots) places.set(id, 0, "");
    this.outbound.unreachable = (id): void => {
      this.#follower?.link.close(
        `object ${id.toString(16)} has no known name: the copies are compared again`,
      );
    };
    this.#holdBack = new HoldBack(host.config.timeoutMs);
    this.#listener = new Listener(host, this, (now) => this.#holdBack.keepsOut(now, !this.outbound.alone));
    this.#points = new DurablePoints(host, store, record, this.outbound, this.#writer, places, this.#roots);
    this.#source = {
      host,
      store,
      record,
      places,
      roots: this.#roots,
      writer: this.#writer,
      outbound: this.outbound,
      points: this.#points,
    };
  }

  /** Both copies are equal, durably. */
  get inSync(): boolean {
    return this.#follower?.phase === "inSync";
  }

  /** Something is being copied, both copies are being compared, or the whole tree is looked at. */
  get isBusy(): boolean {
    if (this.behind !== null) return true;
    return this.#follower !== null && (!this.inSync || this.#follower.verifies);
  }

  /** This node is durably the only one, in this generation: releases what waited. */
  goAlone(generations: Generations): void {
    this.#generations = generations;
    this.#follower?.link.close("this node goes on alone");
    this.outbound.alone = true;
    this.outbound.held = false;
    this.outbound.settlement.settleAll();
    this.outbound.acknowledged = this.outbound.sequence;
  }

  /** The daemon recorded what `caughtUp` told: both copies are equal from here on. */
  proceed(): void {
    if (this.#follower?.phase !== "confirming") return;
    this.#follower.proceed();
    this.#generations = rejoin(this.#generations);
  }

  /** Compares both copies while they are served; `done` hears the result, or why there is none. */
  verify(done: (result: VerifyResult | string) => void): void {
    if (this.#follower?.phase === "inSync") this.#follower.verify(done);
    else done("there is no secondary in sync to compare with");
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    this.#now = now;
    let wake = this.#listener.afterTurn(now);
    if (this.behind !== null) wake = Math.min(wake, this.#lookBehind(this.behind, now));
    if (this.#restsUntil > 0) wake = Math.min(wake, this.#rest(now));
    this.#points.retry();
    this.#store.pump();
    if (this.#store.failure !== null) {
      this.#host.report({ kind: "diskFailed", detail: this.#store.failure });
      this.#store.failure = null;
    }
    if (this.#follower === null) {
      this.outbound.held = !this.outbound.alone && now - this.#lostAt > GRACE;
      const waits = !(this.outbound.alone || this.outbound.held);
      return waits ? Math.min(wake, this.#lostAt + GRACE + 1) : wake;
    }
    this.outbound.held = false;
    return Math.min(wake, this.#follower.step(now));
  }

  #lookBehind(behind: ChangedBehind, now: number): number {
    // Without a word of a peer the application is held anyway.
    const wake = behind.step(now, !this.outbound.alone);
    if (!behind.isDone) return wake;
    this.behind = null;
    if (this.#mayGreet) this.#follower?.allowGreeting();
    return now;
  }

  #rest(now: number): number {
    if (now < this.#restsUntil) return this.#restsUntil;
    this.#restsUntil = 0;
    if (this.#mayGreet) this.#follower?.allowGreeting();
    return now;
  }

  get #mayGreet(): boolean {
    return this.behind === null && this.#restsUntil === 0;
  }

  /** Gives the link what was queued since. Returns when to call `afterTurn`. */
  flush(): number {
    const wake = this.#follower?.flush(this.#now) ?? Number.POSITIVE_INFINITY;
    // The log must begin to sync what was just marked.
    return this.#store.pump() ? 0 : wake;
  }

  /** Ends everything. Nothing may be mounted any more. `done` is called when the peer has all, or cannot be told. */
  drain(done: () => void): void {
    this.#whenDrained = done;
    if (this.outbound.streaming) this.#follower?.ping();
    this.#checkDrained();
  }
  #whenDrained: (() => void) | null = null;
  /** This side ends the stream, on purpose: nobody is missing. */
  #closing = false;

  /** Closes connection and listener; the marks are on disk. The log must not be busy in the pool. */
  close(): void {
    this.#closing = true;
    this.behind?.close();
    this.#follower?.link.close("the primary stops");
    this.#listener.close();
    this.#points.close();
    for (const { fd } of this.#roots) close(fd);
    this.outbound.doubtUnreadable();
    this.#store.flush();
    // The map on disk may still call dirty what was copied since.
    this.#store.rewrite();
  }

  onOpen(link: Link): void {
    this.#follower?.link.close("the peer connected anew");
    this.#reader.close();
    this.#reader = new StreamReader();
    this.#writer.clear();
    this.outbound.reset();
    this.#follower = new Follower(this.#source, link, this.#generations, this.#mayGreet, this.#now);
  }

  onFrame(link: Link, plain: Uint8Array): void {
    this.#reader.push(plain);
    this.#host.counters.bytesReceived += plain.length;
    while (!link.isClosed && this.#reader.next()) this.#follower!.take(this.#reader.frame);
    this.#checkDrained();
  }

  onClosed(link: Link, why: string): void {
    this.#host.loop.remove(link);
    const follower = this.#follower;
    if (follower?.link !== link) return;
    const { isNew } = follower;
    if (follower.lacksSource) this.#restsUntil = this.#now + REST;
    this.#follower = null;
    follower.end();
    this.#points.end();
    this.#writer.clear();
    this.outbound.reset();
    this.#store.marks.peerGone();
    this.#lostAt = this.#now;
    this.#host.connectedTo(null);
    this.#host.progress(null);
    if (isNew) {
      if (!this.#closing)
        this.#host.log("warning", `a connection of the peer ended before it was of use: ${why}`);
      return;
    }
    if (this.#closing) return;
    if (follower.hangs(monotonic())) this.#keepOut();
    this.#host.report({ kind: "peerGone", cause: why, held: !this.outbound.alone });
    this.#checkDrained();
  }

  #keepOut(): void {
    const wait = this.#holdBack.hung(this.#now);
    this.#host.heldUntil(Date.now() + wait);
    const seconds = Math.ceil(wait / 1000);
    this.#host.log("warning", `the secondary hung: it is let in again after ${seconds} s, later each time`);
  }

  #checkDrained(): void {
    const done = this.#whenDrained;
    if (done === null) return;
    if (
      this.#follower !== null &&
      this.outbound.streaming &&
      this.outbound.acknowledged < this.outbound.sequence
    )
      return;
    this.#whenDrained = null;
    done();
  }
}
