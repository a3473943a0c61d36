/**
 * SECOND: dials the primary, tells what it holds, and applies the stream.
 *
 * The order of events on a connection: HELLO and marks to the source, its HELLO back; READY once the daemon let this copy be
 * changed; operations and reintegration in one stream; CAUGHT_UP, answered when everything is on this disk and the daemon
 * recorded it; IN_SYNC. Whatever goes wrong ends the connection, and the next one begins anew.
 */
import type { Generations } from "../../failover/types.ts";
import { errnoName, isDiskFault } from "../../platform/linux/errno.ts";
import { FrameType } from "../../replication/operation.ts";
import { ChangedBehind } from "../copy/changed_behind.ts";
import type { CopyRecord } from "../copy/copy_record.ts";
import type { MarksStore } from "../copy/marks_store.ts";
import { saveChanges } from "../copy/saved_copy.ts";
import type { Host } from "../host.ts";
import { coverReadOnly, uncover } from "../mounts/read_only_view.ts";
import { type NameFilter, nameFilter } from "../objects/exclusion.ts";
import { Applier } from "../replica/applier.ts";
import type { ReplicaRoots } from "../replica/replica_identity.ts";
import { ReplicaObjects } from "../replica/replica_objects.ts";
import { rememberPlaces, touch } from "../replica/second_marks.ts";
import { SecondSyncs } from "../replica/second_syncs.ts";
import { TouchedObjects } from "../replica/touched_objects.ts";
import { parseSourceHello } from "../stream/hello.ts";
import type { Link, LinkOwner } from "../stream/link.ts";
import { StreamReader } from "../stream/stream_buffers.ts";
import { VerifyAnswer } from "../verify/verify_answer.ts";
import { Answers } from "./answers.ts";
import { CopyStanding } from "./copy_standing.ts";
import { Dialer } from "./dialer.ts";
import { type FrameTaker, Intake } from "./intake.ts";
import { TargetCopy } from "./reintegration/target_copy.ts";
import { SecondPoints } from "./second_points.ts";
import { SourceGreeting } from "./source_greeting.ts";

/** A primary says something this often, ms. */
const PRIMARY_PINGS = 1000;

/** How far the present connection is. */
type Phase = "idle" | "greeting" | "waiting" | "following" | "catchingUp" | "inSync";

/** The target of a stream. */
export class Second implements LinkOwner, FrameTaker {
  phase: Phase = "idle";
  readonly #host: Host;
  readonly #store: MarksStore;
  readonly #record: CopyRecord;
  readonly #roots: ReplicaRoots;
  readonly #standing: CopyStanding;
  readonly #objects = new ReplicaObjects();
  readonly #applier: Applier;
  readonly #copy: TargetCopy;
  readonly #verify: VerifyAnswer;
  readonly #touched: TouchedObjects;
  readonly #points: SecondPoints;
  readonly #greeting: SourceGreeting;
  readonly #answers = new Answers();
  readonly #reader = new StreamReader();
  readonly #intake: Intake;
  readonly #syncs: SecondSyncs;
  readonly #filters: readonly (NameFilter | null)[];
  readonly #dialer: Dialer;
  #link: Link | null = null;
  #applied = 0;
  #caughtUpTicket = 0;
  #sealed: (() => void) | null = null;
  /** Looks for what was changed while the module was stopped: the source must hear of it first. */
  #behind: ChangedBehind | null = null;
  #stopped = false;
  #now = 0;

  constructor(
    host: Host,
    store: MarksStore,
    record: CopyRecord,
    roots: ReplicaRoots,
    generations: Generations,
    full: boolean,
    sacrifice: boolean,
  ) {
    this.#host = host;
    this.#dialer = new Dialer(host);
    this.#store = store;
    this.#record = record;
    this.#roots = roots;
    this.#standing = new CopyStanding(generations, full, sacrifice);
    this.#filters = host.config.paths.map(nameFilter);
    this.#applier = new Applier(this.#objects, roots);
    const paths = host.config.paths.map(({ path }) => path);
    this.#copy = new TargetCopy(this.#applier, this.#objects, roots, this.#filters, paths);
    this.#intake = new Intake(this.#reader, this.#copy, this, host.config.timeoutMs);
    this.#syncs = new SecondSyncs(host.pool, this.#objects, (ticket, errno) => {
      this.#synced(ticket, errno);
    });
    this.#touched = new TouchedObjects(this.#objects, host.pool, roots.fds);
    this.#points = new SecondPoints(host, this.#touched, record, () => {
      this.#link?.close("a durable point failed");
    });
    this.#greeting = new SourceGreeting(host, this.#standing, this.#points, this.#dialer, () => {
      saveChanges(host, roots.tops(this.#filters), store.marks);
    });
    this.#verify = new VerifyAnswer(this.#objects, roots, this.#filters, this.#answers);
  }

  /** Something is being copied, or both copies are being compared, or were until just now. */
  get isBusy(): boolean {
    const isCopying = this.phase !== "idle" && this.phase !== "inSync";
    return isCopying || this.#verify.wasAskedLately(this.#now);
  }

  /** Covers the directories and begins to dial. Throws when a directory cannot be covered. */
  start(): void {
    for (const { path } of this.#host.config.paths) {
      uncover(path);
      coverReadOnly(path);
    }
    this.#behind = ChangedBehind.begin(this.#host, this.#store, this.#roots.tops(this.#filters), null);
  }

  /** The daemon let this copy go on, after `reintegrating` or `caughtUp`. */
  proceed(after: "reintegrating" | "caughtUp"): void {
    if (this.phase === "waiting" && after === "reintegrating") {
      this.#standing.begin();
      this.#ready();
    } else if (this.phase === "catchingUp" && after === "caughtUp") {
      // Nothing of the past is owed any more.
      this.#standing.rejoin();
      this.#store.marks.clear();
      this.#store.flush();
      this.#answers.caughtUp(this.#caughtUpTicket);
    }
  }

  /** Refuses the stream from now on. Everything that was acknowledged is applied already; `done` is called when no sync runs any more. */
  seal(done: () => void): void {
    this.#stopped = true;
    rememberPlaces(this.#store.marks, this.#objects);
    this.#link?.close("this node takes over");
    this.#store.marks.peerGone();
    this.#store.rewrite();
    this.#sealed = done;
  }

  /** Removes the read-only view and closes everything. Only when sealed. */
  release(): void {
    this.#behind?.close();
    for (const { path } of this.#host.config.paths) uncover(path);
    this.#objects.clear();
    this.#reader.close();
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    this.#now = now;
    this.#syncs.retry();
    this.#touched.retry();
    if (this.#store.marks.wantsRewrite) this.#store.pump();
    if (this.#sealed !== null && this.#syncs.idle && this.#touched.idle) {
      const done = this.#sealed;
      this.#sealed = null;
      done();
    }
    if (this.#behind?.isDone === false) return this.#behind.step(now, true);
    if (this.#link === null) {
      if (this.#stopped) return Number.POSITIVE_INFINITY;
      this.#link = this.#dialer.dial(now, this);
      return this.#link?.proofDeadline ?? this.#dialer.dueAt;
    }
    if (!this.#link.isOpen) {
      if (now >= this.#link.proofDeadline) this.#link.close("the peer did not prove itself in time");
      return this.#link?.proofDeadline ?? now;
    }
    this.#intake.goOn(this.#link, now);
    if (this.#link === null) return now;
    if (this.#verify.isBusy) this.#verify.goOn();
    const due = this.#answers.acknowledge(this.#applied, now, this.#isPatient);
    this.#answers.flush(this.#link);
    if (this.#link?.isPaused !== false || this.#verify.isBusy) return now;
    return Math.min(due, this.#watch(this.#link, now));
  }

  /** Does the primary's application go on without this node's word, but for its syncs? */
  get #isPatient(): boolean {
    const { durability, close } = this.#host.config;
    return this.phase === "inSync" && durability === "fsync" && close === "ordered";
  }

  /** Gives up a primary whose pings stay away: its goodbye may be lost with the lan. Returns when to look again. */
  #watch(link: Link, now: number): number {
    const pinged = this.phase === "following" || this.phase === "catchingUp" || this.phase === "inSync";
    if (!pinged) return Number.POSITIVE_INFINITY;
    const deadline = link.heardAt + PRIMARY_PINGS + this.#host.config.timeoutMs;
    if (now < deadline) return deadline;
    link.close("the primary is silent");
    return this.#dialer.dueAt;
  }

  onOpen(link: Link): void {
    this.#dialer.opened();
    this.#host.connectedTo(link.name);
    this.phase = "greeting";
    this.#answers.hello(
      {
        ...this.#standing.hello(),
        paths: this.#host.config.paths.length,
        copy: this.#record.word,
      },
      this.#store.marks,
    );
  }

  onFrame(link: Link, plain: Uint8Array): void {
    this.#host.counters.bytesReceived += plain.length;
    this.#intake.take(link, plain);
  }

  onClosed(link: Link, why: string): void {
    this.#host.loop.remove(link);
    if (this.#link !== link) return;
    this.#link = null;
    if (link.bytesReceived > 0) this.#host.connectedTo(null);
    if (!this.#stopped && (this.phase !== "idle" || why.includes("key"))) {
      this.#host.log("warning", `the connection to the primary at ${link.name} ended: ${why}`);
    }
    this.phase = "idle";
    this.#answers.clear();
    this.#verify.clear();
    this.#reader.clear();
    rememberPlaces(this.#store.marks, this.#objects);
    this.#objects.clear();
    this.#copy.reset();
    this.#points.clear();
    this.#dialer.closed(this.#now);
  }

  /** Deals with the frame that was read. */
  take(link: Link): void {
    const { frame } = this.#reader;
    this.#objects.begin();
    if (Applier.knows(frame.type)) {
      this.#apply(link);
      return;
    }
    switch (frame.type) {
      case FrameType.HELLO:
        this.#greeted(link);
        return;
      case FrameType.PING:
        this.#applied = frame.sequence;
        this.#answers.hurryAcknowledgement();
        return;
      case FrameType.SYNC:
        this.#applied = frame.sequence;
        this.#host.counters.syncs++;
        this.#syncs.take(frame, this.#reader.isEmpty);
        return;
      case FrameType.VERIFY:
        this.#applied = frame.sequence;
        this.#verify.take(frame, this.#now);
        return;
      case FrameType.DURABLE_POINT:
        this.#applied = frame.sequence;
        if (frame.flags === 1) this.#forgiven();
        this.#store.marks.beginPoint();
        this.#points.make(frame.ticket, (ticket) => {
          this.#answers.durable(ticket);
        });
        return;
      case FrameType.SETTLED:
        this.#applied = frame.sequence;
        this.#store.marks.confirmPoint();
        return;
      case FrameType.CAUGHT_UP:
        this.#applied = frame.sequence;
        this.#standing.ends(parseSourceHello(frame.data.copy()));
        this.#caughtUpTicket = frame.ticket;
        this.made(link, this.#copy.finish());
        return;
      case FrameType.IN_SYNC:
        this.#applied = frame.sequence;
        this.#standing.inSync();
        this.#objects.isSettled = true;
        this.phase = "inSync";
        this.#host.progress(null);
        this.#host.report({ kind: "inSync" });
        return;
      default:
        this.#reintegrate(link);
    }
  }

  #apply(link: Link): void {
    const { frame } = this.#reader;
    if (this.phase !== "following" && this.phase !== "catchingUp" && this.phase !== "inSync") {
      link.close(`the primary sent operations before this node was ready (frame type ${frame.type})`);
      return;
    }
    this.#applier.dataAddress = this.#reader.memory.address;
    const kept = this.#copy.keep(frame);
    const result = kept < 0 ? kept : this.#applier.apply(frame);
    if (result < 0) this.#failed(link, result);
    else {
      this.#copy.follow(frame);
      this.#progressed();
    }
  }

  #progressed(): void {
    const { frame } = this.#reader;
    this.#applied = frame.sequence;
    this.#host.counters.operations++;
    this.#touched.note(frame);
    this.#syncs.applied(frame);
    touch(this.#store.marks, frame);
  }

  #reintegrate(link: Link): void {
    const { frame } = this.#reader;
    this.#applier.dataAddress = this.#reader.memory.address;
    this.made(link, this.#copy.take(frame, this.#answers));
  }

  /** A frame of a reintegration was dealt with, or a part of it. It stays the reader's until all is. */
  made(link: Link, result: number): void {
    if (this.#reader.frame.type === FrameType.CAUGHT_UP) {
      if (!this.#copy.isBusy) this.#endCopy(result);
    } else if (result < 0) this.#failed(link, result);
    else if (!this.#copy.isBusy) this.#progressed();
  }

  /** The source's marks tell all that this copy lacks; that its own do not is no reason any more to copy everything. */
  #forgiven(): void {
    if (!this.#store.marks.owesEverything) return;
    this.#store.marks.peerTells();
  }

  /** `result`: of emptying limbo. */
  #endCopy(result: number): void {
    if (result < 0) this.#host.log("warning", `.holdfast/limbo could not be emptied: ${errnoName(result)}`);
    this.#copy.reset();
    this.#points.makeEqual(this.#caughtUpTicket, () => {
      this.phase = "catchingUp";
      this.#host.report({ kind: "caughtUp", side: "target", generations: this.#standing.source });
    });
  }

  /** The copies differ from here on: says so, and stops following. */
  #failed(link: Link, result: number): void {
    const { frame } = this.#reader;
    const unreadable = this.#copy.failure;
    const detail =
      unreadable ??
      `operation ${frame.sequence} (type ${frame.type}, object ${frame.id.toString(16)}) failed on this copy: ${errnoName(result)}`;
    this.#answers.failed(frame, -result, detail);
    this.#answers.flush(link);
    this.#host.log("error", detail);
    this.#dialer.failed(this.#now);
    link.close(detail);
    if (unreadable !== null || isDiskFault(result)) this.#host.report({ kind: "diskFailed", detail });
  }

  #greeted(link: Link): void {
    const mode = this.#greeting.take(link, this.#reader.frame, this.#now);
    if (mode === null) return;
    this.phase = "waiting";
    if (mode === "equal") this.#ready();
    else this.#host.report({ kind: "reintegrating", side: "target", full: mode === "full" });
  }

  #ready(): void {
    this.phase = "following";
    this.#applied = 0;
    this.#answers.ready();
  }

  #synced(ticket: number, errno: number): void {
    if (errno !== 0)
      this.#host.report({ kind: "diskFailed", detail: `syncing on this copy failed: ${errnoName(errno)}` });
    if (this.#link?.isOpen) this.#answers.synced(ticket, errno);
  }

  /** The roots, for who serves next. */
  get roots(): ReplicaRoots {
    return this.#roots;
  }

  /** Ends an attempt to connect at once: for stop. */
  abandon(): void {
    this.#stopped = true;
    if (this.#link !== null) this.#link.close("stopped");
  }
}
